//! This node's numbers along the way from a request of memory to each of the scenarios, as far as they can be read.
//!
//! Of all that a [survey](crate::node::survey) reads it needs little: `/proc/meminfo`, `vm.overcommit_memory`, and the cgroups of pods.

use std::{fs, path::Path};

use serde::Serialize;

use crate::{
    event::{Level, Pressure, Scenario},
    node::{cgroup_path::CgroupIdentity, fact::Fact, hierarchy::Hierarchy, memory, names::cgroups},
    sink::{BOLD, DIM, PLAIN, Page, YELLOW, size},
};

/// From this share of a limit on, it is near.
const NEAR_PERCENT: u64 = 90;

/// A step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// Who decides at this step, and by what.
    pub(crate) what: String,
    /// What can come of it.
    pub(crate) scenarios: Vec<Scenario>,
    /// What was read here; `null` where nothing could be.
    pub(crate) now: Option<String>,
    /// Whether it can happen here: `false` where it cannot, `null` where that is not known.
    pub(crate) can_happen: Option<bool>,
    /// Whether it is near.
    pub(crate) near: bool,
}

/// What is read of this node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Here {
    pub(crate) node: Option<Pressure>,
    pub(crate) overcommit: Option<String>,
    /// The cgroup that all pods are in.
    pub(crate) kubepods: Option<Pressure>,
    /// The container, and the pod, that are nearest to their limits.
    pub(crate) container: Option<Pressure>,
    pub(crate) pod: Option<Pressure>,
}

impl Here {
    /// Reads this node, by the cgroups that are mounted there.
    pub(crate) fn read(cgroup_root: &Path) -> Self {
        let hierarchy = Hierarchy::find(cgroup_root).ok();
        let mut here = Self {
            node: memory::of_node(hierarchy.as_ref()).ok(),
            overcommit: fs::read_to_string("/proc/sys/vm/overcommit_memory").ok().map(|text| text.trim().to_owned()),
            ..Self::default()
        };
        let cgroups =
            hierarchy.iter().flat_map(|found| cgroups::walk(found.root()).into_iter().map(move |fact| (found, fact)));
        for (hierarchy, fact) in cgroups {
            let Fact::Cgroup { path, .. } = fact else { continue };
            let identity = CgroupIdentity::parse(&path);
            // What a container made inside itself is its own matter.
            if identity.nested.is_some() {
                continue;
            }
            let read = || memory::of_cgroup(hierarchy, &path).ok().flatten();
            match identity.level {
                Level::Kubepods if here.kubepods.is_none() => here.kubepods = read(),
                Level::Pod => nearer(&mut here.pod, read()),
                Level::Container => nearer(&mut here.container, read()),
                _ => {}
            }
        }
        here
    }

    /// The node's memory, which the kubelet takes for its capacity.
    pub(crate) fn capacity_bytes(&self) -> Option<u64> {
        self.node.as_ref()?.limit_bytes
    }

    /// The way, with what was read at each step.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let overcommit = self.overcommit.as_deref().map(|mode| {
            let meaning = match mode {
                "0" => "single requests far beyond RAM and swap are refused",
                "1" => "no request is refused, as the kubelet wants it",
                "2" => "requests beyond the commit limit are refused",
                _ => "unknown",
            };
            format!("vm.overcommit_memory is {mode}: {meaning}")
        });
        let no_pods = self.kubepods.is_none() && self.pod.is_none() && self.container.is_none();
        let of_pods = |step: Step| if no_pods { Step { now: None, can_happen: Some(false), ..step } } else { step };
        let kubepods_limit = self.kubepods.as_ref().map(|read| read.limit_bytes.is_some());
        let node = self.node.as_ref();
        let signal = node.and_then(|node| Some(node.limit_bytes?.saturating_sub(node.working_set_bytes?)));
        let available = node.and_then(|node| node.available_bytes);
        vec![
            Step {
                what: "The request: the kernel (overcommit, ulimit), or the program's own heap limit".to_owned(),
                scenarios: vec![Scenario::RuntimeRefused],
                now: overcommit,
                can_happen: None,
                near: false,
            },
            of_pods(limited(
                "The charge to the container: its own limit (the nearest to it is shown)",
                Scenario::ContainerLimit,
                self.container.as_ref(),
            )),
            of_pods(limited(
                "The charge to the pod: its limit (the nearest to it is shown)",
                Scenario::PodLimit,
                self.pod.as_ref(),
            )),
            of_pods(Step {
                can_happen: kubepods_limit,
                ..limited(
                    "The charge to kubepods: what all pods together may use",
                    Scenario::AllocatableOom,
                    self.kubepods.as_ref(),
                )
            }),
            of_pods(Step {
                what: "The kubelet's pass, every 10 s: its thresholds, which its configuration has".to_owned(),
                scenarios: vec![Scenario::NodePressureEvicted, Scenario::AllocatableEvicted],
                now: signal.map(|bytes| {
                    let whole = node.and_then(|node| node.limit_bytes);
                    format!("memory.available, as the kubelet computes it, is {} of {}", size(Some(bytes)), size(whole))
                }),
                can_happen: None,
                near: false,
            }),
            Step {
                what: "The node: no free page".to_owned(),
                scenarios: vec![Scenario::SystemOom],
                now: available.map(|bytes| {
                    let whole = node.and_then(|node| node.limit_bytes);
                    format!("MemAvailable is {} of {}", size(Some(bytes)), size(whole))
                }),
                can_happen: node.map(|_| true),
                near: share(node.map(|node| (node.usage_bytes, node.limit_bytes)))
                    .is_some_and(|percent| percent >= NEAR_PERCENT),
            },
        ]
    }
}

/// A step at which a cgroup's limit decides.
fn limited(what: &str, scenario: Scenario, read: Option<&Pressure>) -> Step {
    let percent = share(read.map(|read| (read.usage_bytes, read.limit_bytes)));
    let now = read.and_then(|read| {
        let path = read.cgroup.as_ref()?.path.as_deref()?;
        let of = match (read.limit_bytes, percent) {
            (Some(limit), Some(percent)) => format!(" of {}, {percent} %", size(Some(limit))),
            _ => ", without a limit".to_owned(),
        };
        Some(format!("{path} uses {}{of}", size(read.usage_bytes)))
    });
    Step {
        what: what.to_owned(),
        scenarios: vec![scenario],
        now,
        can_happen: read.map(|read| read.limit_bytes.is_some()),
        near: percent.is_some_and(|percent| percent >= NEAR_PERCENT),
    }
}

/// How much of the second the first is, in percent.
fn share(of: Option<(Option<u64>, Option<u64>)>) -> Option<u64> {
    let (used, whole) = of?;
    let (used, whole) = (u128::from(used?), u128::from(whole?));
    u64::try_from((used * 100).checked_div(whole)?).ok()
}

/// Keeps the one that has used more of its limit.
fn nearer(kept: &mut Option<Pressure>, read: Option<Pressure>) {
    let of = |read: &Pressure| share(Some((read.usage_bytes, read.limit_bytes)));
    let Some(read) = read else { return };
    if kept.as_ref().is_none_or(|kept| of(kept) < of(&read)) {
        *kept = Some(read);
    }
}

/// The steps, for people.
pub(super) fn print(steps: &[Step], page: &mut Page) {
    const HANG: usize = 6;
    if steps.is_empty() {
        return;
    }
    page.paragraph(&[("  On this node, from the request of memory on:", BOLD)], HANG, PLAIN, "");
    for (number, step) in (1..).zip(steps) {
        let names: Vec<&str> = step.scenarios.iter().map(|scenario| scenario.name()).collect();
        page.paragraph(
            &[(&format!("  {number}. "), PLAIN)],
            HANG,
            PLAIN,
            &format!("{} -> {}", step.what, names.join(", ")),
        );
        let (style, mark) = match (step.can_happen, step.near) {
            (Some(false), _) => (DIM, "cannot happen here now: "),
            (_, true) => (YELLOW, "near: "),
            _ => (PLAIN, ""),
        };
        let now = match (&step.now, step.can_happen) {
            (Some(now), _) => format!("{mark}{now}"),
            (None, Some(false)) => "cannot happen here now: no pods' cgroups were found".to_owned(),
            (None, _) => "could not be read here".to_owned(),
        };
        page.paragraph(&[("     ", PLAIN)], HANG, style, &now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Cgroup, sink::Look};

    const MIB: u64 = 1 << 20;

    fn read(path: &str, usage: u64, limit: Option<u64>) -> Pressure {
        Pressure {
            cgroup: Some(Cgroup { path: Some(path.to_owned()), ..Cgroup::default() }),
            usage_bytes: Some(usage * MIB),
            limit_bytes: limit.map(|limit| limit * MIB),
            ..Pressure::default()
        }
    }

    #[test]
    fn each_step_says_what_was_read_and_whether_it_is_near() {
        let node = Pressure {
            usage_bytes: Some(1000 * MIB),
            limit_bytes: Some(4096 * MIB),
            working_set_bytes: Some(1500 * MIB),
            available_bytes: Some(3096 * MIB),
            ..Pressure::default()
        };
        let here = Here {
            node: Some(node),
            overcommit: Some("1".to_owned()),
            kubepods: Some(read("/kubepods.slice", 800, None)),
            container: Some(read("/kubepods.slice/a", 250, Some(256))),
            pod: None,
        };
        let mut page = Page::new(Look::plain());
        print(&here.steps(), &mut page);
        let text = page.finish();
        for words in [
            "1. The request: the kernel (overcommit, ulimit), or the program's own heap limit -> runtime_refused\n     vm.overcommit_memory is 1",
            "near: /kubepods.slice/a uses 250 MiB of 256 MiB, 97 %",
            "-> pod_limit\n     could not be read here",
            "cannot happen here now: /kubepods.slice uses 800 MiB, without a limit",
            "memory.available, as the kubelet computes it, is 2.5 GiB of 4 GiB",
            "MemAvailable is 3 GiB of 4 GiB",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn where_nothing_can_be_read_each_step_says_so() {
        let steps = Here::default().steps();
        assert!(steps.iter().all(|step| step.now.is_none() && !step.near), "{steps:?}");
        assert_eq!(steps.iter().filter(|step| step.can_happen == Some(false)).count(), 4, "{steps:?}");
    }
}
