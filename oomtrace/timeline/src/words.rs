//! Words for summaries and advice. Names are as they were chosen outside: the printer escapes them.

use std::time::Duration;

pub(super) use oomtrace_model::quantity::size;
use oomtrace_model::{Confidence, Container, ContainerRole, Incident, Pod, Scenario, Severity};

/// What happened, in a few words: a guess is not stated as a fact. `constraint` is what the allocation was bound to.
pub(super) fn heading(incident: &Incident, constraint: Option<&str>) -> &'static str {
    let verdict = &incident.verdict;
    let guessed = verdict.confidence == Confidence::Low;
    match verdict.scenario {
        Scenario::SystemOom if constraint == Some("CPUSET") => "OOM kill: no memory left on the nodes of a cpuset",
        Scenario::SystemOom if constraint == Some("MEMORY_POLICY") => {
            "OOM kill: no memory left on the nodes of a memory policy"
        }
        Scenario::AllocatableEvicted | Scenario::NodePressureEvicted if guessed => {
            "Evicted for memory: the node's or all pods' is not known"
        }
        Scenario::OtherLimit if verdict.kubernetes_shows.is_empty() => "OOM kill: over the limit of a cgroup",
        Scenario::Killed if guessed && !incident.evicted => "Ended with 137: who killed it is not known",
        Scenario::Killed if incident.evicted => "Evicted: not for memory",
        Scenario::Killed if incident.severity == Severity::Memory => "Killed by a user-space OOM killer",
        scenario => heading_of(scenario),
    }
}

/// A heading where the node had memory when an allocation failed.
pub(super) const DESPITE_MEMORY: &str = "OOM kill: an allocation failed on the node, which had memory free";

/// A heading where the limit was that of one class of pods.
pub(super) const OF_QOS_CLASS: &str = "OOM kill: the pods of a QoS class together over its limit";

/// What happened, by the scenario alone.
#[must_use]
pub fn heading_of(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::ContainerLimit => "OOM kill: over the container's own limit",
        Scenario::PodLimit => "OOM kill: over the pod's limit",
        Scenario::AllocatableEvicted => "Evicted: pods used too much of what is allocatable",
        Scenario::NodePressureEvicted => "Evicted: the node was short of memory",
        Scenario::AllocatableOom => "OOM kill: all pods together over what is allocatable",
        Scenario::RuntimeRefused => "Gave up: memory was refused",
        Scenario::SystemOom => "OOM kill: the node ran out of memory",
        Scenario::UnknownLimit => "OOM kill: whose limit is not known",
        Scenario::Evicted => "Evicted: the resource is not known",
        Scenario::OtherLimit => "OOM kill: over a limit that is not Kubernetes'",
        Scenario::Killed => "Killed by a process, not by the OOM killer",
        Scenario::Crashed => "Crashed",
    }
}

/// `default/web`, or as much as is known.
pub(super) fn pod_name(pod: Option<&Pod>) -> Option<String> {
    let pod = pod?;
    match (&pod.namespace, &pod.name, &pod.uid) {
        (Some(namespace), Some(name), _) => Some(format!("{namespace}/{name}")),
        (None, Some(name), _) => Some(name.clone()),
        (_, None, Some(uid)) => Some(uid.to_string()),
        (_, None, None) => None,
    }
}

/// A container's name, or as much of its id as other tools print.
pub(super) fn container_name(container: &Container) -> Option<String> {
    let id = || Some(format!("{:.12}", container.id.as_ref()?.as_str()));
    container.name.clone().or_else(id)
}

/// `container app of pod default/web`, `the sandbox of pod default/web`.
pub(super) fn place(pod: Option<&Pod>, container: Option<&Container>) -> String {
    known_place(pod, container).unwrap_or_else(|| "the node".to_owned())
}

/// The same, where anything of it has a name.
pub(super) fn known_place(pod: Option<&Pod>, container: Option<&Container>) -> Option<String> {
    let container = container.and_then(|container| match container.role {
        Some(ContainerRole::Sandbox) => Some("the sandbox".to_owned()),
        _ => Some(format!("container {}", container_name(container)?)),
    });
    match (container, pod_name(pod)) {
        (Some(container), Some(pod)) => Some(format!("{container} of pod {pod}")),
        (Some(container), None) => Some(container),
        (None, Some(pod)) => Some(format!("pod {pod}")),
        (None, None) => None,
    }
}

/// What a systemd unit is called whose cgroup is `path`, or has it inside: one of a user's manager by its own name.
pub(super) fn unit_name(unit: &str, path: Option<&str>) -> String {
    let inner = path.and_then(|path| path.split_once(&format!("/{unit}/"))).and_then(|(_, below)| {
        let is_unit = |name: &&str| matches!(name.rsplit_once('.'), Some((_, "service" | "scope")));
        below.split('/').find(is_unit)
    });
    match inner {
        Some(inner) if unit.starts_with("user@") => format!("unit {inner} of {unit}"),
        _ => format!("unit {unit}"),
    }
}

/// The beginning of words of several lines, as of a program that a probe ran.
pub(super) fn one_line(text: &str) -> String {
    const MOST: usize = 200;
    let words = text.split_whitespace().take(MOST).collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// `once`, `3 times`.
pub(super) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

/// `within 12 s`, `within a second`, `within 14 min`.
pub(super) fn within(seconds: i64) -> String {
    match seconds {
        ..=1 => "within a second".to_owned(),
        2..600 => format!("within {seconds} s"),
        600..6000 => format!("within {} min", (seconds + 59) / 60),
        seconds => format!("within {} h", (seconds + 3599) / 3600),
    }
}

/// `a, b and c`.
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A length of time, as people say it: `9 s`, `12 min`, `3 h 10 min`, `5 days`.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => "less than a second".to_owned(),
        1..100 => format!("{seconds} s"),
        100..6000 => format!("{} min", seconds / 60),
        6000..172_800 if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        6000..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_and_less_is_no_number_of_seconds() {
        assert_eq!(
            (within(0), within(1), within(12)),
            ("within a second".into(), "within a second".into(), "within 12 s".into())
        );
        assert_eq!((within(819), within(7201)), ("within 14 min".into(), "within 3 h".into()));
    }

    #[test]
    fn a_unit_of_a_users_manager_has_its_own_name() {
        let of = |unit: &str, path: &str| unit_name(unit, Some(path));
        let manager = "user@1000.service";
        let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-p7.scope";
        assert_eq!(of(manager, path), "unit run-p7.scope of user@1000.service");
        assert_eq!(of(manager, "/user.slice/user-1000.slice/user@1000.service/init"), "unit user@1000.service");
        assert_eq!(of("a.service", "/system.slice/a.service/b.scope"), "unit a.service");
    }

    #[test]
    fn an_id_is_cut_and_a_name_is_not() {
        let (name, id) = ("a-long-cluster-control-plane", "a".repeat(64));
        let known = Container { id: id.parse().ok(), ..Container::default() };
        assert_eq!(container_name(&known), Some("a".repeat(12)));
        assert_eq!(container_name(&Container { name: Some(name.to_owned()), ..known }).as_deref(), Some(name));
        assert_eq!(container_name(&Container::default()), None);
    }
}
