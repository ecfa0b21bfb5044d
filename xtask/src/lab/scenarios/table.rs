//! The scenarios: how each comes about, and what it is about.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{PATIENCE, churn, compare::Expected, pods::Pods, stage::Stage, steady};
use crate::lab::{NODE, Settings};

/// What matters of the node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) capacity_bytes: u64,
    pub(super) available_bytes: u64,
    /// The kubelet's, as `(1, 20)`.
    pub(super) version: (u32, u32),
    pub(super) cgroup_v2: bool,
}

impl Node {
    /// Whether the kubelet has all processes of a container killed at once.
    fn kills_groups(&self) -> bool {
        self.cgroup_v2 && self.version >= (1, 28)
    }
}

/// A scenario. Its manifest is `deploy/scenarios/NAME.yaml`.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// How the kubelet has to be configured for it; such a scenario has the node to itself.
    pub(super) settings: Option<fn(&Node) -> Settings>,
    /// Whether it needs the node to itself for another reason.
    pub(super) alone: bool,
    /// Why it cannot happen on this node.
    pub(super) impossible: fn(&Node) -> Option<&'static str>,
    /// Makes it happen, and waits until it has.
    pub(super) act: fn(&Stage<'_>) -> Result<()>,
    pub(super) expected: fn(&Node) -> Expected,
    /// Whether it belongs to `all`.
    pub(super) of_all: bool,
}

/// One that shares the node, and is about a kill in a container.
const fn kill(name: &'static str, act: fn(&Stage<'_>) -> Result<()>, expected: fn(&Node) -> Expected) -> Scenario {
    Scenario { name, settings: None, alone: false, impossible: |_| None, act, expected, of_all: true }
}

/// One that shares the node, and is about nothing.
const fn nothing(name: &'static str, act: fn(&Stage<'_>) -> Result<()>) -> Scenario {
    kill(name, act, |_| Expected::Nothing)
}

/// One that has the node to itself, and is about an eviction.
const fn eviction(
    name: &'static str,
    settings: fn(&Node) -> Settings,
    impossible: fn(&Node) -> Option<&'static str>,
    expected: fn(&Node) -> Expected,
) -> Scenario {
    Scenario { name, settings: Some(settings), alone: true, impossible, act: ends, expected, of_all: true }
}

const MIB: u64 = 1 << 20;
/// What pods may take where they are to meet the limit of kubepods.
const FOR_PODS: u64 = 768 * MIB;

const ONE_CONTAINER: Expected = Expected::Kills {
    scenario: &["container_limit"],
    modifiers: &[("invisible", false), ("innocent", false), ("bystander", false)],
};
const IN_A_GROUP: Expected =
    Expected::Kills { scenario: &["container_limit"], modifiers: &[("invisible", false), ("group_kill", true)] };
/// The first process lives on, unless the kubelet has the kernel kill them all.
const A_CHILD: fn(&Node) -> Expected = |node| {
    if node.kills_groups() {
        IN_A_GROUP
    } else {
        Expected::Kills { scenario: &["container_limit"], modifiers: &[("invisible", true), ("group_kill", false)] }
    }
};
const ALLOCATABLE_EVICTED: fn(&Node) -> Expected = |_| Expected::Evicted { scenario: &["allocatable_evicted"] };

/// One of each kind.
pub(super) const SHORT: [&str; 11] = [
    "container-limit",
    "child",
    "group-kill",
    "pod-limit",
    "crash-loop",
    "steady",
    "restart",
    "delete",
    "liveness",
    "allocatable-evicted",
    "system-oom",
];

pub(super) const ALL: &[Scenario] = &[
    kill("container-limit", ends, |_| ONE_CONTAINER),
    kill("init-container", ends, |_| ONE_CONTAINER),
    kill("sidecar", one_kill, |_| ONE_CONTAINER),
    kill("child", child, A_CHILD),
    kill("group-kill", ends, |_| IN_A_GROUP),
    kill("pod-limit", pod_limit, |_| Expected::Kills { scenario: &["pod_limit"], modifiers: &[("invisible", false)] }),
    kill("tmpfs", again, |_| Expected::Kills {
        scenario: &["container_limit", "pod_limit"],
        modifiers: &[("invisible", false)],
    }),
    kill("job", ends, |_| ONE_CONTAINER),
    kill("crash-loop", crash_loop, |_| ONE_CONTAINER),
    kill("exec", exec, A_CHILD),
    kill("runtime-refused", ends, |_| Expected::GaveUp { scenario: &["runtime_refused"] }),
    kill("heap-limit", ends, |_| Expected::GaveUp { scenario: &["runtime_refused", "crashed"] }),
    nothing("steady", steady::act),
    nothing("delete", delete),
    nothing("rollout", rollout),
    nothing("liveness", liveness),
    nothing("preemption", preemption),
    kill("disk-eviction", disk_eviction, |_| Expected::NotMemory),
    Scenario { alone: true, ..kill("restart", restart, |_| ONE_CONTAINER) },
    Scenario { alone: true, ..nothing("drain", drain) },
    Scenario { alone: true, ..nothing("short-pods", short_pods) },
    eviction("allocatable-evicted", slowly, |_| None, ALLOCATABLE_EVICTED),
    eviction("eviction-kill", slowly, |_| None, ALLOCATABLE_EVICTED),
    eviction("node-pressure-evicted", node_pressure, node_memory_is_not_read, |_| Expected::Evicted {
        // Without reservations both thresholds are one line, and the kubelet blames either.
        scenario: &["node_pressure_evicted", "allocatable_evicted"],
    }),
    Scenario {
        act: ends_in_its_grace_period,
        ..eviction("soft-eviction", soft, node_memory_is_not_read, |_| Expected::Evicted {
            scenario: &["node_pressure_evicted"],
        })
    },
    Scenario {
        settings: Some(fast),
        alone: true,
        ..kill("allocatable-oom", ends, |_| Expected::Kills {
            scenario: &["allocatable_oom"],
            modifiers: &[("invisible", false), ("bystander", false)],
        })
    },
    Scenario {
        alone: true,
        ..kill("system-oom", system_oom, |_| Expected::Kills {
            scenario: &["system_oom"],
            modifiers: &[("invisible", false), ("bystander", false)],
        })
    },
    Scenario { alone: true, ..kill("node-shutdown", node_shutdown, |_| Expected::NotMemory) },
    Scenario {
        alone: true,
        of_all: false,
        ..kill("churn", churn::act, |_| Expected::Kills {
            scenario: &["container_limit"],
            modifiers: &[("invisible", false)],
        })
    },
];

fn quantity(bytes: u64) -> String {
    format!("{}Ki", bytes / 1024)
}

/// Pods may take [`FOR_PODS`] before the kernel kills; the kubelet evicts at this much less.
fn reserved(node: &Node, threshold: &str) -> Settings {
    let mut settings = Settings::default();
    let reserved = node.capacity_bytes.saturating_sub(FOR_PODS);
    settings.kube_reserved.insert("memory".to_owned(), quantity(reserved));
    settings.eviction_hard.insert("memory.available".to_owned(), threshold.to_owned());
    settings
}

fn slowly(node: &Node) -> Settings {
    reserved(node, "256Mi")
}

/// The kubelet has nearly no chance to see the threshold crossed before the limit is.
fn fast(node: &Node) -> Settings {
    reserved(node, "1Mi")
}

fn node_pressure(node: &Node) -> Settings {
    let mut settings = Settings::default();
    let threshold = quantity(node.available_bytes.saturating_sub(300 * MIB));
    settings.eviction_hard.insert("memory.available".to_owned(), threshold);
    settings
}

fn soft(node: &Node) -> Settings {
    let mut settings = Settings::default();
    let threshold = quantity(node.available_bytes.saturating_sub(300 * MIB));
    settings.eviction_soft.insert("memory.available".to_owned(), threshold);
    settings.eviction_soft_grace_period.insert("memory.available".to_owned(), "20s".to_owned());
    settings.eviction_max_pod_grace_period = 5;
    settings
}

fn node_memory_is_not_read(node: &Node) -> Option<&'static str> {
    // cAdvisor 0.38 finds no memory.current in the root cgroup of v2, and takes the node's use for 0.
    (node.cgroup_v2 && node.version < (1, 22)).then_some(
        "this kubelet reads no use of the node's memory on cgroup v2: memory.available is always all there is",
    )
}

/// A 1.20 kubelet calls the pod evicted before it ends it, and says so in its log afterwards; then it may be restarted.
fn ends_in_its_grace_period(stage: &Stage<'_>) -> Result<()> {
    ends(stage)?;
    std::thread::sleep(Duration::from_secs(20));
    Ok(())
}

fn ends(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_ends()
}

/// The node's matter: the Event is on the node as well.
fn system_oom(stage: &Stage<'_>) -> Result<()> {
    ends(stage)?;
    if let Some(events) = stage.events_of(&["node", NODE], "SystemOOM")? {
        println!("{events}");
    }
    Ok(())
}

fn one_kill(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_kills(1)?;
    // Where the container ended, that is seen a moment later.
    std::thread::sleep(Duration::from_secs(6));
    Ok(())
}

/// A kill of which Kubernetes shows nothing, asked about by kubectl; but for the Event that oomtrace writes on the pod.
fn child(stage: &Stage<'_>) -> Result<()> {
    one_kill(stage)?;
    let why = stage.why("child")?;
    println!("{why}");
    let says = ["container app: uses", "Nearest limit: ", "OOM kill", "The kernel killed"];
    let missing: Vec<_> = says.into_iter().filter(|says| !why.contains(says)).collect();
    ensure!(missing.is_empty(), "`kubectl oomtrace why` does not say {missing:?}");
    ensure!(stage.why("nobody").is_err(), "`kubectl oomtrace why` knows of a pod that never was");
    let Some(events) = stage.events_of(&["pod", "child"], "ContainerLimit")? else { return Ok(()) };
    println!("{events}");
    let event = stage.kubectl(&[
        "get",
        "events.v1.events.k8s.io",
        "--field-selector=reason=ContainerLimit",
        "--output=jsonpath={.items[0]}",
    ])?;
    let event: serde_json::Value = serde_json::from_str(&event)?;
    ensure!(event["regarding"]["fieldPath"] == "spec.containers{app}", "the Event names no container");
    ensure!(event["reportingInstance"] == NODE, "the Event names no node");
    let note = event["note"].as_str().unwrap_or_default();
    ensure!(note.contains("64 MiB") && note.len() <= 1024, "the Event does not say why");
    Ok(())
}

fn pod_limit(stage: &Stage<'_>) -> Result<()> {
    one_kill(stage)?;
    stage.wait("the killed container has ended", PATIENCE, |pods| {
        pods.existing()
            .flat_map(|pod| pod.containers.values())
            .any(|container| container.lives.values().flatten().any(|end| end.exit_code == 137))
    })
}

/// Killed, and killed again or not even started once the kubelet tries again.
fn again(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_kills(1)?;
    stage.wait("it has been started again", PATIENCE, |pods| restarts(pods) >= 2)
}

fn crash_loop(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_kills(3)?;
    stage.wait("the third kill is seen", PATIENCE, |pods| {
        let killed = |container: &&super::pods::Container| container.lives.values().flatten().count() >= 3;
        pods.existing()
            .flat_map(|pod| pod.containers.values())
            .any(|container| killed(&container) && !container.running)
    })
}

fn restarts(pods: &Pods) -> u64 {
    pods.existing()
        .flat_map(|pod| pod.containers.values())
        .map(|container| container.restarts)
        .max()
        .unwrap_or_default()
}

fn exec(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_running(1)?;
    let status = stage.exec("exec", &["oomtrace", "leak", "--mmap", "--block=8Mi", "--every=100ms", "--max=512Mi"])?;
    ensure!(status != 0, "what was started by kubectl exec was not killed");
    stage.wait_for_kills(1)
}

/// The kill comes when oomtrace is gone, or loads its probes.
fn restart(stage: &Stage<'_>) -> Result<()> {
    stage.kill_oomtrace()?;
    ends(stage)?;
    // The kubelet has noticed by then that the container is not there.
    std::thread::sleep(Duration::from_secs(15));
    stage.wait_for_oomtrace()
}

fn delete(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_running(3)?;
    stage.kubectl(&["delete", "pods", "--all", "--wait=false"])?;
    stage.wait("the pods are gone", PATIENCE, |pods| pods.existing().count() == 0)
}

fn rollout(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_running(2)?;
    stage.kubectl(&["rollout", "restart", "deployment/rollout"])?;
    stage.wait("the old pods are gone", PATIENCE, |pods| {
        pods.0.len() >= 4 && pods.existing().count() == 2 && pods.running() == 2
    })
}

fn drain(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_running(2)?;
    let drained = stage.drain("app=drain");
    stage.uncordon()?;
    drained?;
    stage.wait("new pods run", PATIENCE, |pods| pods.0.len() >= 4 && pods.running() == 2)
}

fn liveness(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait("the container has been restarted", PATIENCE, |pods| restarts(pods) >= 1 && pods.running() == 1)
}

fn preemption(stage: &Stage<'_>) -> Result<()> {
    stage.apply(Some("turn=first"))?;
    stage.wait_for_running(1)?;
    stage.apply(Some("turn=second"))?;
    stage.wait("the second pod has the first one's place", PATIENCE, |pods| {
        pods.existing().count() == 1 && pods.existing().all(|pod| pod.name == "preemptor") && pods.running() == 1
    })
}

fn disk_eviction(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait("the pod is evicted", PATIENCE, |pods| pods.existing().any(|pod| pod.reason == "Evicted"))?;
    let pods = stage.look()?;
    ensure!(pods.existing().all(|pod| !pod.was_evicted_for_memory()), "it was evicted for memory");
    Ok(())
}

fn node_shutdown(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait_for_running(2)?;
    stage.reboot()?;
    stage.wait("the pods run again", PATIENCE, |pods| pods.running() == 2)
}

fn short_pods(stage: &Stage<'_>) -> Result<()> {
    stage.apply(None)?;
    stage.wait("all 50 pods have ended well", PATIENCE * 2, |pods| {
        pods.existing().filter(|pod| pod.phase == "Succeeded").count() >= 50
    })
}

#[cfg(test)]
mod tests {
    use super::{super::stage::manifest, *};

    const OLD: Node = Node { capacity_bytes: 2 << 30, available_bytes: 1 << 30, version: (1, 20), cgroup_v2: true };

    #[test]
    fn every_scenario_but_the_churn_has_a_manifest_and_every_manifest_a_scenario() {
        for scenario in ALL.iter().filter(|scenario| scenario.name != "churn") {
            assert!(manifest(scenario.name).exists(), "{} has none", scenario.name);
        }
        assert!(SHORT.iter().all(|name| ALL.iter().any(|scenario| scenario.name == *name && scenario.of_all)));
        let folder = manifest("x").parent().expect("a folder").read_dir().expect("readable");
        let names = folder.map(|entry| entry.expect("an entry").path());
        for path in names.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
            let name = path.file_stem().and_then(std::ffi::OsStr::to_str).expect("a name").to_owned();
            assert!(ALL.iter().any(|scenario| scenario.name == name), "{name} is in no scenario");
        }
    }

    #[test]
    fn the_kubelet_is_configured_so_that_pods_meet_the_threshold_before_or_after_the_limit() {
        assert_eq!(slowly(&OLD).kube_reserved["memory"], "1310720Ki");
        assert_eq!(slowly(&OLD).eviction_hard["memory.available"], "256Mi");
        assert_eq!(fast(&OLD).eviction_hard["memory.available"], "1Mi");
        assert_eq!(node_pressure(&OLD).eviction_hard["memory.available"], "741376Ki");
    }

    #[test]
    fn an_old_kubelet_on_cgroup_v2_never_sees_the_node_short_of_memory() {
        assert!(node_memory_is_not_read(&OLD).is_some());
        assert!(node_memory_is_not_read(&Node { version: (1, 36), ..OLD }).is_none());
        assert!(node_memory_is_not_read(&Node { cgroup_v2: false, ..OLD }).is_none());
    }
}
