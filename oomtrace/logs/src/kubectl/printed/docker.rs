//! Lines of `docker events`: `<time> container oom <id> (image=…, name=…)`, and `container die` with the exit code.
//!
//! dockerd of Kubernetes to 1.23 has the names of pods among the labels that follow.

use jiff::Timestamp;
use oomtrace_model::Pod;

use super::super::{
    Snapshot,
    objects::{container_id, entry},
};

/// Takes in an event of a container that ended, or in which the OOM killer killed.
pub(super) fn event(line: &str, into: &mut Snapshot) -> bool {
    let Some((at, rest)) = line.trim().split_once(" container ") else { return false };
    let Ok(at) = at.parse::<Timestamp>() else { return false };
    let mut words = rest.splitn(3, ' ');
    let (Some(action), Some(id), labels) = (words.next(), words.next(), words.next().unwrap_or_default()) else {
        return false;
    };
    let Some(id) = container_id(id).filter(|_| matches!(action, "oom" | "die")) else { return false };
    let label = |name: &str| {
        let (_, rest) = labels.split_once(&format!("{name}="))?;
        rest.split([',', ')']).next().map(str::to_owned).filter(|value| !value.is_empty())
    };
    let pod = Pod {
        namespace: label("io.kubernetes.pod.namespace"),
        name: label("io.kubernetes.pod.name"),
        uid: label("io.kubernetes.pod.uid").and_then(|uid| uid.parse().ok()),
        ..Pod::default()
    };
    let own = || {
        let own = labels.split(", ").filter_map(|label| label.trim_start_matches('(').strip_prefix("name="));
        own.last().map(|name| name.trim_end_matches(')').to_owned())
    };
    let name = label("io.kubernetes.container.name").or_else(own).unwrap_or_default();
    // A sandbox.
    if name == "POD" {
        return true;
    }
    let container = entry(into, pod).containers.entry(name).or_default();
    container.add_id(id.clone(), None);
    let end = container.ends.entry(id).or_default();
    if action == "oom" {
        end.reason = Some("OOMKilled".to_owned());
        end.ended = end.ended.or(Some(at));
    } else {
        end.exit_code = label("exitCode").and_then(|code| code.parse().ok());
        end.ended = Some(at);
    }
    true
}
