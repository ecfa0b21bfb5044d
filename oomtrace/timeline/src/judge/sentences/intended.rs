//! What is said of ends that Kubernetes brought about as intended.

use oomtrace_model::{EndReason, SenderRole};

use super::{
    super::{
        super::{evidence::FirstExit, words::one_line},
        intended::Intended,
    },
    capital,
};

/// Who ended it, how and why, in a sentence.
pub(in super::super) fn message(end: &Intended<'_>, who: &str) -> String {
    let code = end.death.exit_code.map_or_else(String::new, |code| format!(" with {code}"));
    let by = match end.signal.map(|signal| (signal.what.sender.role, &signal.what)) {
        Some((SenderRole::Kubelet, signal)) => format!(" by {} from the kubelet", signal.signal),
        Some((SenderRole::Runtime, signal)) => format!(" by {} from the container runtime", signal.signal),
        Some((SenderRole::SameContainer, signal)) => format!(" by {} from a process in it", signal.signal),
        Some((_, signal)) => format!(" by {}", signal.signal),
        None => String::new(),
    };
    let words = end.said.and_then(|said| said.what.message.as_deref()).map(one_line);
    let words = words.map_or_else(String::new, |words| format!(" ({words})"));
    let why = match end.reason {
        EndReason::Sandbox => "the runtime ends a sandbox with SIGKILL when its pod has ended".to_owned(),
        EndReason::PodDeleted => "its pod was deleted".to_owned(),
        EndReason::Probe => format!("a probe failed, and the kubelet starts it anew{words}"),
        EndReason::Evicted => match end.evicted.and_then(|evicted| evicted.memory) {
            Some(true) => "its pod was evicted for memory".to_owned(),
            Some(false) => "its pod was evicted, not for memory".to_owned(),
            None => "its pod was evicted".to_owned(),
        },
        EndReason::Preempted => format!("its pod made room for a critical one{words}"),
        EndReason::NodeShutdown => "the node is shutting down".to_owned(),
        EndReason::Restarted => format!("the kubelet starts it anew{words}"),
        EndReason::Unknown => match (end.said, end.signal, end.death.exit) {
            (Some(_), ..) => "the kubelet asked for it, and its log does not say why".to_owned(),
            (None, Some(_), _) => "the kubelet's log does not say that it asked for it".to_owned(),
            (None, None, Some(FirstExit::Status)) => "it exited with that status by itself".to_owned(),
            (None, None, _) => "nothing says who ended it, or why".to_owned(),
        },
    };
    format!("{} ended{code}{by}: {why}.", capital(who))
}
