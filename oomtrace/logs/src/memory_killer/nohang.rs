//! nohang's lines: the victim stands in lines of its own, before the one that says that a signal is sent.
//!
//! | line | in it |
//! |---|---|
//! | `  PID: 903309, name: mysqld, badness: 849` (`Name:` before 0.2) | who is chosen |
//! | `  cgroup_v1: /…`, `  cgroup_v2: /…` | where that process is |
//! | `  Sending SIGTERM to the victim` (`  Send SIGTERM to the victim; total response time: 13 ms` before 0.2) | the signal |
//!
//! (`fast_find_victim`, `find_victim_info`, `implement_corrective_action` of nohang's `src/nohang`.) Between the second and the
//! third it looks at the node's memory again, and may leave it at that.

use oomtrace_model::{Signal, Task, cgroup_path::CgroupIdentity};

use super::{NOHANG, number_of, sender};

/// The process that nohang chose last.
#[derive(Debug, Default)]
pub(super) struct Victim {
    pid: Option<u32>,
    comm: Option<String>,
    /// The path of its cgroup, in which it may be a container's.
    cgroup: Option<String>,
}

impl Victim {
    /// Takes a line in; gives the signal where it says that one is sent.
    pub(super) fn read(&mut self, text: &str, pid: Option<u32>) -> Option<Signal> {
        let text = text.trim();
        if let Some((pid, comm)) = chosen(text) {
            *self = Self { pid: Some(pid), comm: Some(comm.to_owned()), cgroup: None };
            return None;
        }
        let cgroup = text.strip_prefix("cgroup_v1: ").or_else(|| text.strip_prefix("cgroup_v2: "));
        if let Some(path) = cgroup {
            let names_container = CgroupIdentity::parse(path).container().is_some();
            if names_container || self.cgroup.is_none() {
                self.cgroup = Some(path.to_owned());
            }
            return None;
        }
        let signal = sent(text)?;
        let Self { pid: victim, comm, cgroup } = std::mem::take(self);
        let identity = cgroup.as_deref().map(CgroupIdentity::parse);
        let (pod, container) = identity.map_or((None, None), |identity| (identity.pod(), identity.container()));
        let target =
            Task { pid: victim, tgid: victim, comm, pod: pod.clone(), container: container.clone(), ..Task::default() };
        Some(Signal {
            pod,
            container,
            cgroup: None,
            signal: signal.to_owned(),
            signal_number: number_of(signal),
            sender: sender(NOHANG, pid),
            target,
        })
    }
}

/// Whether a line says that a signal is sent.
pub(super) fn says_sent(text: &str) -> bool {
    sent(text.trim()).is_some()
}

fn sent(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("Sending ").or_else(|| text.strip_prefix("Send "))?;
    let (signal, rest) = rest.split_once(" to the victim")?;
    let whole = rest.is_empty() || rest.starts_with(';');
    (whole && number_of(signal).is_some()).then_some(signal)
}

fn chosen(text: &str) -> Option<(u32, &str)> {
    let (pid, rest) = text.strip_prefix("PID: ")?.split_once(", ")?;
    let rest = rest.strip_prefix("name: ").or_else(|| rest.strip_prefix("Name: "))?;
    let (name, _) = rest.rsplit_once(", badness: ")?;
    Some((pid.trim().parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(lines: &[&str]) -> Option<Signal> {
        let mut victim = Victim::default();
        lines.iter().filter_map(|line| victim.read(line, Some(530))).last()
    }

    #[test]
    fn the_victim_is_the_process_that_was_chosen_before() {
        // hakavlad/nohang#132, and #20 for the older words.
        let signal = last(&[
            "TOP printed in 1ms; process with highest badness:",
            "  PID: 903309, name: mysqld, badness: 849",
            "Recheck memory levels...",
            "  cgroup_v1: ",
            "  cgroup_v2: /system.slice/mysql.service",
            "Implementing a corrective action:",
            "  Sending SIGTERM to the victim",
        ])
        .expect("a signal");
        assert_eq!((signal.target.pid, signal.target.comm.as_deref()), (Some(903_309), Some("mysqld")));
        assert_eq!((signal.signal.as_str(), signal.signal_number), ("SIGTERM", Some(15)));
        assert!(signal.pod.is_none() && signal.container.is_none());
        let old = last(&[
            "  PID: 12297, Name: tail, badness: 727",
            "  Send SIGKILL to the victim; total response time: 7 ms",
        ]);
        assert_eq!(old.map(|signal| (signal.target.pid, signal.signal_number)), Some((Some(12_297), Some(9))));
    }

    #[test]
    fn the_cgroup_says_which_container_it_is_in() {
        let id = "c0ffee".repeat(11)[..64].to_owned();
        let path = format!(
            "  cgroup_v2: /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f0e9c1a_5b7d_4c2e_9a61_0d8f7b6c5e4d.slice/cri-containerd-{id}.scope"
        );
        let signal = last(&["  PID: 7, name: a, b, badness: 9", &path, "  Sending SIGKILL to the victim"]);
        let signal = signal.expect("a signal");
        assert_eq!(signal.target.comm.as_deref(), Some("a, b"));
        assert_eq!(signal.container.and_then(|container| container.id).map(|id| id.to_string()), Some(id));
        assert!(signal.pod.is_some_and(|pod| pod.uid.is_some()));
    }

    #[test]
    fn a_choice_without_a_signal_is_none() {
        assert!(last(&["  PID: 7, name: a, badness: 9", "Thresholds is not exceeded now"]).is_none());
        assert!(last(&["  Sending a letter to the victim"]).is_none());
    }

    #[test]
    fn that_a_signal_is_sent_is_known() {
        assert!(says_sent("  Sending SIGTERM to the victim"));
        assert!(says_sent("Send SIGKILL to the victim; total response time: 7 ms"));
        assert!(!says_sent("Sending a mail to the victim"));
        assert!(!says_sent("Sending SIGTERM to the victims"));
    }
}
