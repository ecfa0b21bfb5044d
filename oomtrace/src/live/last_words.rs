//! What a container's log says of memory, read right after the container ended by itself.
//!
//! The runtime writes what was in its pipe when the process ended; a moment later the log is complete.

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    event::snapshot::Words,
    event::{Container, Event, Moment, Observation, OutOfMemoryLog, Pod, ProcessExit, Source},
    node::names::Host,
    source::container_log,
};

/// So long after its end a container's log is read.
const AFTER: Duration = Duration::from_secs(1);
/// Ends that may wait: in a storm of them the others are passed over.
const MOST: usize = 64;
/// An older line is not about this end.
const RECENT: SignedDuration = SignedDuration::from_secs(60);

/// Reads the ends of logs, each once.
pub struct LastWords {
    host: Option<Host>,
    waiting: VecDeque<(Instant, Pod, Container)>,
}

impl LastWords {
    /// Below the node's root folder; without one nothing is read.
    #[must_use]
    pub fn new(host: Option<Host>) -> Self {
        Self { host, waiting: VecDeque::new() }
    }

    /// Notes the end of a container that nobody asked for.
    pub(super) fn note(&mut self, event: &Event, now: Instant) {
        let Event::ProcessExit(exit) = event else { return };
        if let Some((pod, container)) = gave_up(exit)
            && self.host.is_some()
            && self.waiting.len() < MOST
        {
            self.waiting.push_back((now + AFTER, pod.clone(), container.clone()));
        }
    }

    /// When the next log is to be read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(deadline, ..)| *deadline)
    }

    /// Reads the logs whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Observation> {
        let mut reported = Vec::new();
        while self.deadline().is_some_and(|deadline| deadline <= now)
            && let Some((_, pod, container)) = self.waiting.pop_front()
        {
            let words = self.host.as_ref().and_then(|host| read(host, &pod, &container));
            let recent = |words: &Words| Timestamp::now().duration_since(words.at).abs() <= RECENT;
            if let Some(words) = words.filter(recent) {
                let log = OutOfMemoryLog {
                    pod: Some(pod),
                    container: Some(container),
                    runtime: Some(words.runtime.to_owned()),
                    message: Some(words.text),
                };
                let (at, event) = (Moment::Wall(words.at), Event::OutOfMemoryLog(Box::new(log)));
                reported.push(Observation { source: Source::Cri, at, event });
            }
        }
        reported
    }
}

/// Who ended with a code of its own, or by a fault: not as it was asked to, and not by the OOM killer.
pub(super) fn gave_up(exit: &ProcessExit) -> Option<(&Pod, &Container)> {
    let code = exit.container_exit_code.filter(|code| !matches!(code, 0 | 137 | 143))?;
    (code != 0 && !exit.oom_victim).then_some(exit.pod.as_ref().zip(exit.container.as_ref())).flatten()
}

fn read(host: &Host, pod: &Pod, container: &Container) -> Option<Words> {
    let (namespace, name) = (pod.namespace.as_deref()?, pod.name.as_deref()?);
    let folder = format!("/var/log/pods/{namespace}_{name}_{}/{}", pod.uid.as_ref()?, container.name.as_deref()?);
    let log = match container.restart_count {
        Some(count) => format!("{folder}/{count}.log"),
        None => format!("{folder}/{}", latest(&host.path(&folder))?),
    };
    // Where the log cannot be reached, nothing is known of what it says.
    container_log::last_words(&container_log::tail(&host.path(log)).ok()?)
}

/// The name of the log of the last start: `<restart count>.log`.
fn latest(folder: &Path) -> Option<String> {
    let files = fs::read_dir(folder).ok()?.flatten();
    let counts = files.filter_map(|file| file.file_name().to_str()?.strip_suffix(".log")?.parse::<u32>().ok());
    Some(format!("{}.log", counts.max()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Task;

    #[test]
    fn a_container_that_gave_up_is_heard_and_one_that_was_killed_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let uid = "11111111-2222-4333-8444-555555555555";
        let logs = folder.path().join(format!("var/log/pods/team-a_web-0_{uid}/app"));
        fs::create_dir_all(&logs).expect("folders");
        let line = format!("{} stderr F java.lang.OutOfMemoryError: Java heap space\n", Timestamp::now());
        fs::write(logs.join("0.log"), "").expect("a log");
        fs::write(logs.join("1.log"), line).expect("a log");
        let exit = |code| {
            let pod = Pod {
                namespace: Some("team-a".to_owned()),
                name: Some("web-0".to_owned()),
                uid: uid.parse().ok(),
                ..Pod::default()
            };
            Event::ProcessExit(Box::new(ProcessExit {
                pod: Some(pod),
                container: Some(Container { name: Some("app".to_owned()), ..Container::default() }),
                cgroup: None,
                task: Task::default(),
                exit_code: Some(code),
                signal: None,
                signal_number: None,
                core_dumped: false,
                container_exit_code: Some(code),
                oom_victim: false,
                since_mark_ms: None,
                mark_to_reaped_ms: None,
                heap_settings: Vec::new(),
            }))
        };
        let mut words = LastWords::new(Some(Host::at(folder.path())));
        let now = Instant::now();
        words.note(&exit(137), now);
        assert!(words.deadline().is_none());
        words.note(&exit(3), now);
        assert!(words.due(now).is_empty(), "the log may not be complete yet");
        let reported = words.due(now + AFTER);
        assert!(
            matches!(&reported[..], [Observation { event: Event::OutOfMemoryLog(log), .. }] if log.runtime.as_deref() == Some("Java")),
            "{reported:?}"
        );
        assert!(words.due(now + AFTER).is_empty(), "once");
    }
}
