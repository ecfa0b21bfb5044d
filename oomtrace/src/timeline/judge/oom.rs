//! Verdicts on kills by the kernel's OOM killer.

mod told;

use std::collections::BTreeMap;

use self::told::Told;
use super::{
    super::{evidence::Kill, names::SANDBOX_SCORE, windows::NOTICED, words::place},
    Court,
    case::Case,
    eviction, named, shown,
};
use crate::{
    event::{
        Candidate, Cause, Confidence, Container, ContainerId, ContainerRole, Event, Incident, Level, Limit, Memory,
        OomKill, Scenario, Verdict, Victim,
    },
    node::snapshot::ContainerRecord,
};

/// What the pod's other containers are known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Siblings {
    None,
    Some,
    Unknown,
}

pub(super) fn judge(case: &Case<'_>, court: &Court<'_>, signal: Option<&eviction::Crossed>) -> Incident {
    // The report of one kill in a crash loop may have been left out by the kernel's rate limit.
    let Some(kill) = case.kills.iter().find(|kill| kill.told.limit.is_some()).or(case.kills.first()) else {
        return Incident::default();
    };
    let mut missing = Vec::new();
    let (scenario, mut confidence) = scenario(case, court, kill, &mut missing);
    let evicted = case.evicted.map(|_| signal.map_or(Scenario::NodePressureEvicted, eviction::Crossed::scenario));
    let (scenario, also) = match evicted {
        Some(evicted) if case.evicted_first() => (evicted, Some(scenario)),
        evicted => (scenario, evicted),
    };
    let (pod, container) = (named(court, case.pod.as_ref()), case.container(court));
    let limit = kill.told.limit.clone();
    let group = group(case);
    let invisible = invisible(case, court);
    let eaters = Eaters::of(kill, scenario);
    let bystander = bystander(scenario, case, eaters.as_ref());
    if invisible.is_none() && container.is_some() {
        missing.push("whether the container lived on: the kubelet's log from after the kill".to_owned());
    }
    if pod.as_ref().is_some_and(|pod| pod.name.is_none()) {
        missing.push("the pod's name: --pods, or the kubelet's log".to_owned());
    }
    if let (true, Some(signal)) = (case.evicted_first(), signal) {
        confidence = confidence.min(signal.confidence);
        missing.extend(signal.missing.clone());
    }
    let (kubernetes_shows, kubernetes_shows_seen) = shown::of_kills(case, court, invisible);
    let names = Told { pod: pod.as_ref(), container: container.as_ref(), scenario, eaters: eaters.as_ref() };
    let verdict = Verdict {
        scenario,
        also,
        invisible,
        group_kill: group,
        innocent: if scenario == Scenario::Killed { None } else { innocent(&kill.told) },
        bystander,
        summary: names.summary(case, kill, invisible, kubernetes_shows_seen),
        advice: names.advice(case, kill),
        confidence,
        missing,
        missing_omitted: 0,
        evidence: case.kills.iter().take(8).filter_map(|kill| kill.lines.first()).map(|(_, line)| line.seq).collect(),
        evidence_omitted: 0,
        kubernetes_shows,
        kubernetes_shows_omitted: 0,
        kubernetes_shows_seen,
        signal: signal.map(|signal| signal.signal.clone()),
        signal_from: signal.map(|signal| signal.from),
        threshold_bytes: signal.and_then(|signal| signal.threshold_bytes),
        available_bytes: signal.and_then(|signal| signal.available_bytes),
        amounts_from: signal.and_then(|signal| signal.amounts_from),
        threshold_from: signal.and_then(|signal| signal.threshold_from),
    };
    let first = case.kills.first().map_or(kill, |first| first);
    Incident {
        containers: shown::affected(case, court),
        pod,
        container,
        cgroup: kill.told.cgroup.clone(),
        verdict,
        limit_level: limit.as_ref().and_then(|limit| limit.level),
        limit_bytes: limit.as_ref().and_then(|limit| limit.limit_bytes),
        limit,
        kills: case.kills.len() as u64,
        processes_killed: case.kills.iter().map(|kill| 1 + kill.told.members.len() as u64).sum(),
        deaths: case.deaths.len() as u64,
        group,
        evicted: case.evicted.is_some(),
        victim_comm: first.told.victim.task.comm.clone(),
        victim: Some(victim(first, court)),
        ..Incident::default()
    }
}

/// The victim of a kill, with all that is known of its names.
fn victim(kill: &Kill, court: &Court<'_>) -> Victim {
    let mut victim = kill.told.victim.clone();
    victim.task.pod = named(court, kill.pod.as_ref()).or(victim.task.pod);
    if let Some(id) = &kill.container {
        let seen = court.names.container(id).map(|seen| seen.container.clone());
        let known = seen.or(victim.task.container).or_else(|| kill.told.container.clone());
        victim.task.container = Some(Container { id: Some(id.clone()), ..known.unwrap_or_default() });
    }
    victim
}

fn scenario(case: &Case<'_>, court: &Court<'_>, kill: &Kill, missing: &mut Vec<String>) -> (Scenario, Confidence) {
    // No limit was hit: a person asked for it.
    if kill.told.cause == Some(Cause::Sysrq) {
        return (Scenario::Killed, Confidence::High);
    }
    let Some(limit) = &kill.told.limit else {
        if kill.lines.iter().all(|(_, line)| !matches!(line.event, Event::OomKill(_))) {
            missing.push("whose limit was hit: the kernel's log (--kernel-log)".to_owned());
            // What has no limit cannot have hit it.
            let scenario = if is_unlimited(case, court) { Scenario::SystemOom } else { Scenario::ContainerLimit };
            return (scenario, Confidence::Low);
        }
        missing.push(
            "whose limit was hit: the kernel left its report out (10 in 5 s), or its beginning is not in the log"
                .to_owned(),
        );
        let by_cgroup = kill.told.message.as_deref().is_none_or(|message| message.starts_with("Memory cgroup"));
        let by_cgroup = by_cgroup && kill.told.constraint.as_deref().is_none_or(|constraint| constraint == "MEMCG");
        return (if by_cgroup { Scenario::ContainerLimit } else { Scenario::SystemOom }, Confidence::Low);
    };
    match limit.level {
        Some(Level::Container) if kill.hit_limit_around() => (Scenario::OtherLimit, Confidence::High),
        Some(Level::Container) => (Scenario::ContainerLimit, Confidence::High),
        Some(Level::Pod) => match siblings(case, court, kill) {
            Siblings::None => (Scenario::ContainerLimit, Confidence::High),
            Siblings::Some if own_limit_is_the_pods(case, court, limit) => (Scenario::ContainerLimit, Confidence::High),
            Siblings::Some => (Scenario::PodLimit, Confidence::High),
            Siblings::Unknown => {
                missing.push(
                    "how many containers the pod has: --pods, or the kubelet's log from when it started".to_owned(),
                );
                (Scenario::ContainerLimit, Confidence::Medium)
            }
        },
        Some(Level::Qos | Level::Kubepods) => (Scenario::AllocatableOom, Confidence::High),
        Some(Level::Node) => (Scenario::SystemOom, Confidence::High),
        Some(Level::Other) => (Scenario::OtherLimit, Confidence::High),
        None => {
            missing.push("whose limit was hit".to_owned());
            (Scenario::ContainerLimit, Confidence::Low)
        }
    }
}

/// Whether the pod had more containers than the victim's. Files and the kubelet's log tell; else the kernel's list of
/// processes: each container's have an `oom_score_adj` that its own request makes (`pkg/kubelet/qos/policy.go`), the
/// sandbox's -998.
fn siblings(case: &Case<'_>, court: &Court<'_>, kill: &Kill) -> Siblings {
    let Some(pod) = &case.pod else { return Siblings::Unknown };
    let container = case.container(court);
    // Init containers run one at a time.
    if container.is_some_and(|container| container.role == Some(ContainerRole::Init)) {
        return Siblings::None;
    }
    if let Some(count) = court.names.containers_at(pod, kill.at) {
        return if count > 1 { Siblings::Some } else { Siblings::None };
    }
    let Some(candidates) = &kill.told.candidates else { return Siblings::Unknown };
    let in_pod: Vec<_> = candidates.iter().filter(|candidate| !is_sandbox(candidate)).collect();
    let complete = kill.told.candidates_weighed.is_none_or(|weighed| weighed as usize <= candidates.len());
    let ids: Option<Vec<&ContainerId>> =
        in_pod.iter().map(|candidate| candidate.task.container.as_ref()?.id.as_ref()).collect();
    let score = |candidate: &Candidate| candidate.task.oom_score_adj;
    let differ = match &ids {
        Some(ids) => ids.iter().any(|id| Some(*id) != ids.first().copied()),
        // A program that gives its processes scores of their own, as Chrome does, leaves none to tell containers by.
        None if in_pod
            .iter()
            .any(|one| in_pod.iter().any(|other| is_same_program(one, other) && score(one) != score(other))) =>
        {
            return Siblings::Unknown;
        }
        None => in_pod.iter().any(|candidate| Some(score(candidate)) != in_pod.first().map(|first| score(first))),
    };
    match (differ, complete && (ids.is_some() || in_pod.len() == 1)) {
        (true, _) => Siblings::Some,
        (false, true) => Siblings::None,
        (false, false) => Siblings::Unknown,
    }
}

fn is_same_program(one: &Candidate, other: &Candidate) -> bool {
    one.task.comm.is_some() && one.task.comm == other.task.comm
}

fn is_sandbox(candidate: &Candidate) -> bool {
    candidate.task.oom_score_adj == Some(SANDBOX_SCORE)
}

fn own_limit_is_the_pods(case: &Case<'_>, court: &Court<'_>, limit: &Limit) -> bool {
    let own = own_record(case, court).and_then(|record| record.limit_bytes);
    own.is_some() && own == limit.limit_bytes
}

/// Whether the container is known to have no limit of its own.
fn is_unlimited(case: &Case<'_>, court: &Court<'_>) -> bool {
    let specified = case.pod.as_ref().and_then(|pod| court.names.record(pod)).is_some_and(|record| record.complete);
    specified && own_record(case, court).is_some_and(|own| own.limit_bytes.is_none())
}

/// What the files have of the container.
fn own_record<'a>(case: &Case<'_>, court: &Court<'a>) -> Option<&'a ContainerRecord> {
    let name = case.container(court).and_then(|container| container.name);
    court.names.container_record(case.pod.as_ref(), name.as_deref())
}

fn group(case: &Case<'_>) -> Option<bool> {
    let said = |kill: &Kill| kill.told.group.or((!kill.told.members.is_empty()).then_some(true));
    let any = case.kills.iter().any(|kill| said(kill) == Some(true));
    let all_known = case.kills.iter().all(|kill| said(kill).is_some());
    if any { Some(true) } else { all_known.then_some(false) }
}

/// Whether Kubernetes will see nothing of the kills: every one left the container's first process alive.
fn invisible(case: &Case<'_>, court: &Court<'_>) -> Option<bool> {
    if case.evicted.is_some() || !case.deaths.is_empty() {
        return Some(false);
    }
    let mut last: BTreeMap<&ContainerId, i64> = BTreeMap::new();
    for (id, kill) in case.kills.iter().filter_map(|kill| Some((kill.container.as_ref()?, kill))) {
        last.entry(id).and_modify(|last| *last = (*last).max(kill.at)).or_insert(kill.at);
    }
    let each: Vec<_> = case.kills.iter().map(|kill| survived(kill, &last, court)).collect();
    if each.contains(&Some(false)) {
        Some(false)
    } else if each.iter().all(|survived| *survived == Some(true)) {
        Some(true)
    } else {
        None
    }
}

/// Whether the container outlived a kill in it; `last` has the times of the last kills in each.
fn survived(kill: &Kill, last: &BTreeMap<&ContainerId, i64>, court: &Court<'_>) -> Option<bool> {
    let id = kill.container.as_ref()?;
    let init = kill.told.victim.task.container_init;
    if init == Some(true) || kill.told.members.iter().any(|member| member.container_init == Some(true)) {
        return Some(false);
    }
    if last.get(id).is_some_and(|last| *last > kill.at + NOTICED) {
        return Some(true);
    }
    // The whole container's cgroup is killed, unless the group is one that was made inside it.
    if kill.told.group == Some(true) && kill.told.limit.as_ref().is_none_or(|limit| limit.nested.is_none()) {
        return Some(false);
    }
    if let Some(death) = court.evidence.death_of(id) {
        return Some(!super::explains(court, kill, death));
    }
    if init == Some(false) || court.evidence.kubelet_covers(kill.at, NOTICED) {
        return Some(true);
    }
    None
}

/// Whether the victim is another process than the one whose allocation could not be met.
fn innocent(kill: &OomKill) -> Option<bool> {
    let (trigger, victim) = (&kill.trigger, &kill.victim.task);
    match (trigger.tgid, victim.tgid) {
        (Some(trigger), Some(victim)) => Some(trigger != victim),
        _ => match (trigger.pid, victim.pid) {
            (Some(trigger), Some(victim)) if trigger == victim => Some(false),
            // A thread has an id of its own.
            (Some(trigger_pid), Some(_)) => {
                let is_process = |pid| {
                    kill.candidates
                        .iter()
                        .flatten()
                        .any(|other| other.task.tgid == Some(pid) || other.task.pid == Some(pid))
                };
                (is_process(trigger_pid) || trigger.comm != victim.comm).then_some(true)
            }
            _ => None,
        },
    }
}

/// Who used how much of the limit that was hit.
struct Eaters {
    /// The one with the most, in words.
    most: String,
    most_bytes: u64,
    victim_bytes: u64,
    victim_is_most: bool,
}

impl Eaters {
    /// By pod where all pods share the limit, by container where a pod's do, by process where the log does not tell.
    fn of(kill: &Kill, scenario: Scenario) -> Option<Self> {
        let candidates = kill.told.candidates.as_ref()?;
        let by_pod = matches!(scenario, Scenario::AllocatableOom | Scenario::SystemOom);
        let group = |candidate: &Candidate| -> Option<String> {
            let task = &candidate.task;
            if by_pod && let Some(uid) = task.pod.as_ref().and_then(|pod| pod.uid.as_ref()) {
                return Some(uid.to_string());
            }
            if let Some(id) = task.container.as_ref().and_then(|container| container.id.as_ref()) {
                return Some(id.to_string());
            }
            task.tgid.or(task.pid).map(|pid| format!("process {pid}"))
        };
        let mut groups: BTreeMap<String, (u64, &Candidate, u64)> = BTreeMap::new();
        for candidate in candidates {
            let bytes = used(&candidate.memory);
            let entry = groups.entry(group(candidate)?).or_insert((0, candidate, 0));
            entry.0 += bytes;
            if bytes > entry.2 {
                (entry.1, entry.2) = (candidate, bytes);
            }
        }
        let victim = kill.told.victim.task.tgid.or(kill.told.victim.task.pid)?;
        let victims =
            candidates.iter().find(|other| other.task.tgid.or(other.task.pid) == Some(victim)).and_then(group)?;
        let (victim_bytes, ..) = *groups.get(&victims)?;
        let (most, (most_bytes, largest, _)) =
            groups.iter().max_by_key(|(name, (bytes, ..))| (*bytes, std::cmp::Reverse(name.as_str())))?;
        let comm = largest.task.comm.as_deref().unwrap_or("?");
        let inside = place(largest.task.pod.as_ref(), largest.task.container.as_ref());
        let inside = if inside == "the node" { String::new() } else { format!(" in {inside}") };
        Some(Self {
            most: format!("{comm}{inside}"),
            most_bytes: *most_bytes,
            victim_bytes,
            victim_is_most: *most == victims || *most_bytes == victim_bytes,
        })
    }
}

fn used(memory: &Memory) -> u64 {
    [memory.rss_anon_bytes, memory.rss_file_bytes, memory.rss_shmem_bytes].into_iter().flatten().sum()
}

fn bystander(scenario: Scenario, case: &Case<'_>, eaters: Option<&Eaters>) -> Option<bool> {
    match scenario {
        Scenario::ContainerLimit => Some(false),
        Scenario::Killed => None,
        _ if case.kills.is_empty() => None,
        _ => eaters.map(|eaters| !eaters.victim_is_most),
    }
}
