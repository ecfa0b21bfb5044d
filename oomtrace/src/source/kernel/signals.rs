//! Signals into containers, and what their senders are.

use oomtrace_common::record::{self, ABSENT_I32};

use super::{
    machine::{reported, task},
    paths::Paths,
};
use crate::event::{
    Event, Observation, Sender, SenderRole, Signal, Task,
    programs::{KUBELETS, MEMORY_KILLERS, RUNTIMES},
    signal_name,
};

/// Where systemd keeps login sessions: `systemd.special(7)`.
const SESSIONS: &str = "/user.slice/";

/// A signal as an event; nothing where its target is in no container.
pub(super) fn tell(signal: &record::Signal, paths: &Paths) -> Option<Observation> {
    let target = task(&signal.target, paths.path(signal.target.cgroup_id));
    target.container.as_ref()?;
    let sender = task(&signal.sender, paths.path(signal.sender.cgroup_id));
    let by_kernel = signal.by_kernel == 1 || signal.code > 0 && signal.code != ABSENT_I32;
    let event = Signal {
        pod: target.pod.clone(),
        container: target.container.clone(),
        cgroup: paths.cgroup(signal.target.cgroup_id),
        signal: signal_name(signal.signal),
        signal_number: Some(signal.signal),
        sender: Sender {
            role: role(&sender, &target, by_kernel, paths.path(signal.sender.cgroup_id)),
            unit: paths.cgroup(signal.sender.cgroup_id).and_then(|cgroup| cgroup.unit),
            task: sender,
        },
        target,
    };
    Some(reported(signal.header.boot_ns, Event::Signal(Box::new(event))))
}

fn role(sender: &Task, target: &Task, by_kernel: bool, path: Option<&str>) -> SenderRole {
    if by_kernel {
        return SenderRole::Kernel;
    }
    if sender.container.is_some() {
        let same = sender.container == target.container;
        return if same { SenderRole::SameContainer } else { SenderRole::OtherContainer };
    }
    let comm = sender.comm.as_deref().unwrap_or_default();
    if KUBELETS.has_process(comm) {
        SenderRole::Kubelet
    } else if RUNTIMES.has_process(comm) {
        SenderRole::Runtime
    } else if MEMORY_KILLERS.has_process(comm) {
        SenderRole::Oomd
    } else if comm == "systemd" && sender.tgid == Some(1) {
        SenderRole::Systemd
    } else if path.is_some_and(|path| path.starts_with(SESSIONS)) {
        SenderRole::Person
    } else {
        SenderRole::Process
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Container;

    fn process(comm: &str, container: Option<char>) -> Task {
        let id = container.and_then(|digit| digit.to_string().repeat(64).parse().ok());
        let container = id.map(|id| Container { id: Some(id), ..Container::default() });
        let comm = Some(comm.to_owned());
        Task {
            pid: None,
            tgid: Some(1),
            comm,
            uid: None,
            oom_score_adj: None,
            container_init: None,
            pod: None,
            container,
            cgroup_id: None,
        }
    }

    #[test]
    fn a_sender_is_reported_by_where_it_runs_and_only_on_the_node_by_its_name() {
        let target = process("app", Some('a'));
        for (sender, by_kernel, expected) in [
            (process("kubelet", None), false, SenderRole::Kubelet),
            (process("kubelite", None), false, SenderRole::Kubelet),
            (process("containerd-shim", None), false, SenderRole::Runtime),
            (process("systemd-oomd", None), false, SenderRole::Oomd),
            (process("systemd", None), false, SenderRole::Systemd),
            (process("bash", None), false, SenderRole::Process),
            (process("bash", None), true, SenderRole::Kernel),
            (process("kubelet", Some('a')), false, SenderRole::SameContainer),
            (process("kubelet", Some('b')), false, SenderRole::OtherContainer),
        ] {
            assert_eq!(role(&sender, &target, by_kernel, Some("/system.slice/x.service")), expected, "{sender:?}");
        }
        let path = Some("/user.slice/user-0.slice/session-3.scope");
        assert_eq!(role(&process("bash", None), &target, false, path), SenderRole::Person);
    }
}
