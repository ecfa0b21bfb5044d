//! Containers that do not start.

use oomtrace_model::{Container, ContainerAction as Action, ContainerChange, Pod};

use super::{Said, id_of};

/// runc's words where its own process in the container is killed for the limit, which is not enough to start at all
/// (`libcontainer/process_linux.go`, from 1.1 on).
const INIT_KILLED: &str = "container init was OOM-killed";

/// `failed to "StartContainer" for "c" with CrashLoopBackOff: "back-off 10s restarting failed container=c pod=…"`, or `… with
/// RunContainerError: "…"`.
pub(super) fn failed(pod: Pod, error: &str) -> Option<Said> {
    if let Some((before, rest)) = error.split_once(" with CrashLoopBackOff: ") {
        return Some(Said::Change(Box::new(ContainerChange {
            pod: Some(pod),
            container: Some(of_start(before)?),
            reason: Some("CrashLoopBackOff".to_owned()),
            message: Some(rest.trim_matches('"').to_owned()),
            ..ContainerChange::new(Action::BackOff)
        })));
    }
    let (before, _) = error.split_once(INIT_KILLED)?;
    Some(Said::NotStarted(pod, of_start(before)?))
}

/// The container that was to be started last.
fn of_start(text: &str) -> Option<Container> {
    let (name, _) = text.rsplit_once("\"StartContainer\" for \"")?.1.split_once('"')?;
    Some(Container { name: Some(name.to_owned()), ..Container::default() })
}

/// The runtime's word on the start of a container, by its id.
pub(super) fn killed(id: &str, error: &str) -> Option<Said> {
    error.contains(INIT_KILLED).then(|| id_of(id)).flatten().map(Said::StartKilled)
}
