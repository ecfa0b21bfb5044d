//! Ends of processes, and signals.

use super::{
    page::Page,
    words::{escape, place, who},
};
use crate::event::{Mark, ProcessExit, SenderRole, Signal, Task};

pub(super) fn write_exit(page: &mut Page, ts: &str, exit: &ProcessExit) {
    let how = match (&exit.signal, exit.exit_code) {
        (Some(signal), _) => format!("by {}", escape(signal)),
        (None, Some(code)) => format!("with status {code}"),
        (None, None) => "in an unknown way".to_owned(),
    };
    let after = exit.since_mark_ms.map_or_else(String::new, |ms| format!(", {ms:.1} ms after its mark"));
    let reaped =
        exit.mark_to_reaped_ms.map_or_else(String::new, |ms| format!(" (its memory was taken after {ms:.1} ms)"));
    let container =
        exit.container_exit_code.map_or_else(String::new, |code| format!("; the container's exit code is {code}"));
    let place = place(exit.pod.as_ref(), exit.container.as_ref());
    let text = format!("process end: {} in {place} {how}{after}{reaped}{container}", who(&exit.task));
    page.event(ts, Mark::Exit, &text);
}

pub(super) fn write_signal(page: &mut Page, ts: &str, signal: &Signal) {
    let sender = match signal.sender.role {
        SenderRole::Kernel => "the kernel".to_owned(),
        SenderRole::SameContainer => format!("{} of the same container", who(&signal.sender.task)),
        SenderRole::OtherContainer => {
            let Task { pod, container, .. } = &signal.sender.task;
            format!("{} of {}", who(&signal.sender.task), place(pod.as_ref(), container.as_ref()))
        }
        SenderRole::Kubelet => format!("the kubelet, {}", who(&signal.sender.task)),
        SenderRole::Runtime => format!("the container runtime, {}", who(&signal.sender.task)),
        SenderRole::Oomd => format!("a user-space OOM killer, {}", who(&signal.sender.task)),
        SenderRole::Systemd => format!("systemd, {}", who(&signal.sender.task)),
        SenderRole::Person => format!("{} of a login session", who(&signal.sender.task)),
        SenderRole::Process => who(&signal.sender.task),
    };
    let place = place(signal.pod.as_ref(), signal.container.as_ref());
    let text = format!("{} to {} in {place}, sent by {sender}", escape(&signal.signal), who(&signal.target));
    page.event(ts, Mark::Signal, &text);
}
