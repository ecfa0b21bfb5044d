//! What Docker prints of containers that ended.
//!
//! | printed | a line |
//! |---|---|
//! | `docker events` | `<time> container oom <id> (image=…, name=…)`, and `container die` with the exit code |
//! | `docker ps -a` | `5f4e3d2c1b0a   app:1   "serve"   3 hours ago   Exited (137) 2 hours ago   web` |
//! | `docker compose up` | `web-1 exited with code 137` |
//!
//! dockerd of Kubernetes to 1.23 has the names of pods among the labels of an event.

use jiff::Timestamp;
use oomtrace_model::{Pod, snapshot::EndRecord};

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

/// Takes in a row of `docker ps -a`, or a line of `docker compose up`, with the end of a container.
pub(super) fn end(line: &str, into: &mut Snapshot) -> bool {
    let Some((name, code)) = of_compose(line).or_else(|| of_ps(line)) else { return false };
    let container = entry(into, Pod::default()).containers.entry(name.to_owned()).or_default();
    let end = EndRecord { exit_code: Some(code), ..EndRecord::default() };
    if !container.unnamed_ends.contains(&end) {
        container.unnamed_ends.push(end);
    }
    true
}

fn of_compose(line: &str) -> Option<(&str, i32)> {
    let (name, code) = line.trim().split_once(" exited with code ")?;
    let code = code.split_whitespace().next()?.parse().ok()?;
    let name = name.strip_prefix("ERROR: ").unwrap_or(name).trim();
    let name = name.strip_prefix("container ").unwrap_or(name);
    (!name.is_empty() && !name.contains([' ', '|', ':'])).then_some((name, code))
}

fn of_ps(line: &str) -> Option<(&str, i32)> {
    let (id, _) = line.trim().split_once(' ')?;
    let (_, rest) = line.split_once(" Exited (")?;
    let code = rest.split_once(')')?.0.parse().ok()?;
    let is_id = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = rest.split_whitespace().last()?;
    is_id.then_some((name, code))
}
