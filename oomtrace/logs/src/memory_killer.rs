//! What user-space OOM killers log of their kills: systemd-oomd, Meta's oomd, earlyoom, nohang, Koordinator's koordlet, and
//! Talos' OOM controller.

pub(crate) mod koordlet;
mod nohang;

use oomtrace_model::{Cgroup, Pod, Sender, SenderRole, Signal, Task, cgroup_path::CgroupIdentity};
use serde::Deserialize;

const SYSTEMD_OOMD: &str = "systemd-oomd";
const OOMD: &str = "oomd";
const EARLYOOM: &str = "earlyoom";
const NOHANG: &str = "nohang";
/// The same program with settings for desktops.
const NOHANG_DESKTOP: &str = "nohang-desktop";
const KOORDLET: &str = "koordlet";
/// Talos' first process, of which the OOM controller is a part.
const TALOS: &str = "machined";

/// Whether a line in the journal says that a signal is sent: `identifier` is that of the killer.
pub(crate) fn says_sent(identifier: &str, text: &str) -> bool {
    match identifier {
        NOHANG | NOHANG_DESKTOP => nohang::says_sent(text),
        _ => KillerReader::default().read(identifier, text, None).is_some(),
    }
}

/// Whether a text without any name before it can be of one killer alone: of earlyoom, as it prints on a terminal.
pub(crate) fn is_bare(text: &str) -> bool {
    earlyoom(text, None).is_some()
}

/// A kill by a killer that is known by its text alone.
pub(crate) fn read_bare(text: &str) -> Option<Signal> {
    earlyoom(text, None)
}

/// Reads a killer's lines, of which it may take several to say whom it killed.
#[derive(Debug, Default)]
pub(crate) struct KillerReader {
    nohang: nohang::Victim,
    /// The pod that koordlet named last: at V(5) it logs each eviction twice.
    evicted: Option<Pod>,
}

impl KillerReader {
    /// A kill, as the journal has it: `identifier` is that of the killer, `pid` its process id.
    pub(crate) fn read(&mut self, identifier: &str, text: &str, pid: Option<u32>) -> Option<Signal> {
        match identifier {
            SYSTEMD_OOMD => Some(of_cgroup(SYSTEMD_OOMD, pid, systemd_oomd(text)?)),
            OOMD => Some(of_cgroup(OOMD, pid, oomd(text)?)),
            EARLYOOM => earlyoom(text, pid),
            NOHANG | NOHANG_DESKTOP => self.nohang.read(text, pid),
            _ => None,
        }
    }

    /// A kill, as koordlet logs it, behind klog's head.
    pub(crate) fn read_koordlet(&mut self, message: &str) -> Option<Signal> {
        let signal = koordlet::read(message)?;
        if self.evicted == signal.pod {
            self.evicted = None;
            return None;
        }
        self.evicted.clone_from(&signal.pod);
        Some(signal)
    }
}

/// Whether a text of the kernel's log may be of such a killer, which writes as a process.
pub(crate) fn may_be_kmsg(text: &str) -> bool {
    text.starts_with("[talos] Sending ") || text.starts_with("oomd kill: ")
}

/// A kill, by a killer that writes into the kernel's log itself, with the text's facility `user`.
pub(crate) fn read_kmsg(text: &str) -> Option<Signal> {
    match text.strip_prefix("[talos] ") {
        Some(text) => Some(of_cgroup(TALOS, Some(1), &talos(text)?)),
        None => Some(of_cgroup(OOMD, None, oomd(text)?)),
    }
}

/// `Killed <cgroup> due to memory pressure for …` or `… due to memory used (…) …`, in later versions `Marked <cgroup> for killing
/// due to …` (systemd, `src/oom/oomd-manager.c`).
fn systemd_oomd(text: &str) -> Option<&str> {
    let (path, _) = match text.strip_prefix("Killed ") {
        Some(rest) => rest.split_once(" due to memory ")?,
        None => text.strip_prefix("Marked ")?.split_once(" for killing due to memory ")?,
    };
    Some(path)
}

/// `oomd kill: 19.93 11.49 3.78 <cgroup> <bytes> ruleset:[…] …` (oomd, `BaseKillPlugin::logKill`).
fn oomd(text: &str) -> Option<&str> {
    let mut words = text.strip_prefix("oomd kill: ")?.split(' ');
    for _ in 0..3 {
        words.next()?.parse::<f64>().ok()?;
    }
    words.next().filter(|path| !path.is_empty())
}

/// `Sending SIGKILL to cgroup {"component": …, "controller": "runtime.OOMController", "cgroup": "/sys/fs/cgroup/…"}` (Talos,
/// `controllers/runtime/oom.go`, from 1.12).
fn talos(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Fields {
        cgroup: String,
    }
    let fields: Fields = serde_json::from_str(text.strip_prefix("Sending SIGKILL to cgroup ")?).ok()?;
    Some(fields.cgroup)
}

/// SIGKILL to all processes of a cgroup.
fn of_cgroup(killer: &str, pid: Option<u32>, path: &str) -> Signal {
    let path = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
    let path = format!("/{}", path.trim_start_matches('/'));
    let identity = CgroupIdentity::parse(&path);
    let (pod, container) = (identity.pod(), identity.container());
    // Whether that one is in a cgroup of its own within the container, the path does not say.
    let container_init = (container.is_some() && identity.nested.is_none()).then_some(true);
    let target = Task { container_init, pod: pod.clone(), container: container.clone(), ..Task::default() };
    Signal {
        pod,
        container,
        cgroup: Some(Cgroup { path: Some(path), ..Cgroup::default() }),
        signal: "SIGKILL".to_owned(),
        signal_number: Some(9),
        sender: sender(killer, pid),
        target,
    }
}

/// `sending SIGTERM to process 12006 uid 1000 "python3": badness 209, VmRSS 2891 MiB` (earlyoom, `kill.c`; without `uid` before
/// 1.5, and `oom_score` for `badness` from 1.9); to 1.2 `killing process 27541 "bash" with signal 15: badness 550, …`, to 1.0
/// `Killing process 'bash' with signal 15, pid: 5874, badness: 538, …`.
fn earlyoom(text: &str, pid: Option<u32>) -> Option<Signal> {
    let (signal, id, uid, name) = if let Some(rest) = text.strip_prefix("sending ") {
        let (signal, rest) = rest.split_once(" to process ")?;
        let (id, rest) = rest.split_once(' ')?;
        // The name may have quotes and all else in it.
        let (before, rest) = rest.split_once('"')?;
        let name = ["\": badness ", "\": oom_score "].iter().find_map(|end| rest.rsplit_once(end))?.0;
        let uid = before.trim().strip_prefix("uid ").and_then(|uid| uid.parse().ok());
        (signal, id, uid, name)
    } else {
        let (signal, id, name) = earlyoom_before_1_3(text)?;
        (signal, id, None, name)
    };
    let signal_number = number_of(signal)?;
    let id: u32 = id.parse().ok()?;
    let target = Task { pid: Some(id), tgid: Some(id), uid, comm: Some(name.to_owned()), ..Task::default() };
    Some(Signal {
        pod: None,
        container: None,
        cgroup: None,
        signal: signal.to_owned(),
        signal_number: Some(signal_number),
        sender: sender(EARLYOOM, pid),
        target,
    })
}

/// The signal, the process and its name.
fn earlyoom_before_1_3(text: &str) -> Option<(&str, &str, &str)> {
    let of_number = |number: &str| match number {
        "9" => Some("SIGKILL"),
        "15" => Some("SIGTERM"),
        _ => None,
    };
    if let Some(rest) = text.strip_prefix("Killing process '") {
        let (rest, id) = rest.rsplit_once(", pid: ")?;
        let (name, number) = rest.rsplit_once("' with signal ")?;
        return Some((of_number(number)?, id.split(',').next()?, name));
    }
    let (id, rest) = text.strip_prefix("killing process ")?.split_once(' ')?;
    let (name, rest) = rest.strip_prefix('"')?.rsplit_once("\" with signal ")?;
    let (number, _) = rest.split_once(": badness ")?;
    Some((of_number(number)?, id, name))
}

/// The number of a signal that such killers send.
fn number_of(signal: &str) -> Option<u32> {
    match signal {
        "SIGKILL" => Some(9),
        "SIGTERM" => Some(15),
        _ => None,
    }
}

fn sender(killer: &str, pid: Option<u32>) -> Sender {
    let task = Task { pid, tgid: pid, comm: Some(killer.to_owned()), ..Task::default() };
    let unit = (killer != TALOS && killer != KOORDLET).then(|| format!("{killer}.service"));
    Sender { role: SenderRole::Oomd, task, unit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(signal: &Signal) -> Option<&str> {
        signal.cgroup.as_ref()?.path.as_deref()
    }

    #[test]
    fn talos_names_the_cgroup_by_where_it_is_mounted() {
        // siderolabs/talos#12526.
        let text = r#"[talos] Sending SIGKILL to cgroup {"component": "controller-runtime", "controller": "runtime.OOMController", "cgroup": "/sys/fs/cgroup/kubepods/burstable/pod77f06c5c-4593-43e9-b970-987f6ecb825b"}"#;
        let signal = read_kmsg(text).expect("a kill");
        assert_eq!(path(&signal), Some("/kubepods/burstable/pod77f06c5c-4593-43e9-b970-987f6ecb825b"));
        assert_eq!(
            signal.pod.and_then(|pod| pod.uid).expect("a uid").to_string(),
            "77f06c5c-4593-43e9-b970-987f6ecb825b"
        );
        assert!(read_kmsg("[talos] OOM controller triggered {}").is_none());
        assert!(read_kmsg("[talos] Sending SIGKILL to cgroup {\"component\": \"contro").is_none(), "torn");
    }

    #[test]
    fn a_killer_that_is_part_of_another_program_has_no_unit_of_its_own() {
        let unit = |killer| sender(killer, Some(7)).unit;
        assert_eq!(unit(SYSTEMD_OOMD).as_deref(), Some("systemd-oomd.service"));
        assert_eq!([TALOS, KOORDLET].map(unit), [None, None]);
    }

    #[test]
    fn oomd_names_it_relative_to_the_root() {
        let text = "oomd kill: 19.93 11.49 3.78 system.slice/chef.service 5829050368 ruleset:[protection] detectorgroup:[d] killer:[k] v2";
        let signal = read_kmsg(text).expect("a kill");
        assert_eq!(path(&signal), Some("/system.slice/chef.service"));
        assert!(signal.pod.is_none());
    }

    #[test]
    fn earlyoom_names_a_process() {
        // rfjakob/earlyoom#309, #131, #321.
        for (text, pid, uid, comm, number) in [
            (
                "sending SIGTERM to process 29410 uid 1000 \"cluster\": badness 1264, VmRSS 23964 MiB",
                29410,
                Some(1000),
                "cluster",
                15,
            ),
            ("sending SIGKILL to process 12006 \"python3\": badness 209, VmRSS 2891 MiB", 12006, None, "python3", 9),
            ("sending SIGTERM to process 7 uid 0 \"a\": \"b\": oom_score 9, VmRSS 1 MiB", 7, Some(0), "a\": \"b", 15),
            ("killing process 741 \"sh\" with signal 15: badness 550, VmRSS 7609 MiB", 741, None, "sh", 15),
            ("Killing process 'a, b' with signal 9, pid: 58, badness: 538, VmRSS: 3160 MiB", 58, None, "a, b", 9),
        ] {
            let signal = KillerReader::default().read(EARLYOOM, text, Some(1)).expect("a kill");
            let Task { pid: process, uid: user, comm: name, .. } = signal.target;
            assert_eq!((process, user, name.as_deref()), (Some(pid), uid, Some(comm)), "{text}");
            assert_eq!(signal.signal_number, Some(number), "{text}");
        }
        assert!(
            KillerReader::default()
                .read(EARLYOOM, "sending SIGTERM when mem <= 10.00% and swap <= 10.00%,", None)
                .is_none()
        );
    }
}
