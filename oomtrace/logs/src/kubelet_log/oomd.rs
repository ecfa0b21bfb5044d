//! What systemd-oomd says of its kills (`src/oom/oomd-manager.c`, 247 on): `Killed <cgroup> due to memory pressure for …` or `… due
//! to memory used (…) …`, in later versions `Marked <cgroup> for killing due to …`.

use oomtrace_model::{Cgroup, Sender, SenderRole, Signal, Task, cgroup_path::CgroupIdentity};

pub(super) const IDENTIFIER: &str = "systemd-oomd";

/// A kill in a pod, by the daemon with process id `pid`. It sends SIGKILL to all processes of the cgroup.
pub(super) fn read(text: &str, pid: Option<u32>) -> Option<Signal> {
    let (path, _) = match text.strip_prefix("Killed ") {
        Some(rest) => rest.split_once(" due to memory ")?,
        None => text.strip_prefix("Marked ")?.split_once(" for killing due to memory ")?,
    };
    let identity = CgroupIdentity::parse(path);
    let (pod, container) = (identity.pod(), identity.container());
    // Whether that one is in a cgroup of its own within the container, the path does not tell.
    let container_init = (container.is_some() && identity.nested.is_none()).then_some(true);
    let target = Task { container_init, pod: pod.clone(), container: container.clone(), ..Task::default() };
    let sender = Task { pid, tgid: pid, comm: Some(IDENTIFIER.to_owned()), ..Task::default() };
    (pod.is_some() || container.is_some()).then(|| Signal {
        pod,
        container,
        cgroup: Some(Cgroup { path: Some(path.to_owned()), ..Cgroup::default() }),
        signal: "SIGKILL".to_owned(),
        signal_number: Some(9),
        sender: Sender { role: SenderRole::Oomd, task: sender, unit: Some(format!("{IDENTIFIER}.service")) },
        target,
    })
}
