//! Verdicts on kills by the kernel's OOM killer.

pub(super) mod limit;
pub(super) mod usage;

use std::collections::BTreeMap;

use oomtrace_model::{
    Candidate, Cause, Confidence, Container, ContainerId, ContainerRole, Event, Incident, KnownBy, Level, Limit,
    OomKill, Scenario, Verdict, Victim, snapshot::ContainerRecord,
};

use self::usage::{Fill, Users};
use super::{
    super::{evidence::Kill, names::SANDBOX_SCORE, windows::NOTICED, words},
    Context,
    case::Case,
    eviction, named,
    sentences::{
        missing::Missing,
        oom::{Left, Summary},
        oom_advice::Advice,
    },
    shown,
};

/// What the pod's other containers are known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Siblings {
    None,
    Some,
    Unknown,
}

pub(super) fn judge(case: &Case<'_>, context: &Context<'_>, signal: Option<&eviction::Crossed>) -> Incident {
    // The report of one kill in a crash loop may have been left out by the kernel's rate limit.
    let Some(kill) = case.kills.iter().find(|kill| kill.reported.limit.is_some()).or(case.kills.first()) else {
        return Incident::default();
    };
    let mut missing = Vec::new();
    let (scenario, mut confidence) = scenario(case, context, kill, &mut missing);
    confidence = confidence.min(unseen(kill, context, &mut missing)).min(known_by_statistics(kill, &mut missing));
    let evicted = case.evicted.map(|_| signal.map_or(Scenario::NodePressureEvicted, eviction::Crossed::scenario));
    let (scenario, also) = match evicted {
        Some(evicted) if case.evicted_first() => (evicted, Some(scenario)),
        evicted => (scenario, evicted),
    };
    let (pod, container) = (named(context, case.pod.as_ref()), case.container(context));
    let limit = kill.reported.limit.clone();
    let group = group(case);
    let invisible = invisible(case, context);
    let outside = is_outside(case, context);
    let users = Users::of(kill, scenario);
    let bystander = bystander(scenario, case, users.as_ref());
    if invisible.is_none() && container.is_some() {
        missing.push(if outside { Missing::LivedOnOutside } else { Missing::LivedOn }.text());
    }
    if pod.as_ref().is_some_and(|pod| pod.name.is_none()) {
        missing.push(Missing::PodName.text());
    }
    if let (true, Some(signal)) = (case.evicted_first(), signal) {
        confidence = confidence.min(signal.confidence);
        missing.extend(signal.missing.clone());
    }
    let (kubernetes_shows, kubernetes_shows_seen) =
        if outside { (Vec::new(), false) } else { shown::of_kills(case, context, invisible) };
    let specified = specified(case, context);
    let summary = Summary {
        pod: pod.as_ref(),
        container: container.as_ref(),
        scenario,
        users: users.as_ref(),
        specified,
        lives_on: (invisible == Some(true)).then_some(kubernetes_shows_seen),
        outside,
        at_least: !context.node.losses.between(case.began(), case.last_kill()).is_empty(),
    };
    let advice = Advice {
        container: container.as_ref(),
        scenario,
        users: users.as_ref(),
        fill: Fill::of(kill, case, context),
        specified,
        specified_sum: specified_sum(case, context),
        outside,
        anywhere: !outside && !context.node.heard.kubernetes && case.pod.is_none(),
    };
    let (suggested_limit_bytes, suggested_limit_basis) = limit::suggested(case, context, scenario, confidence).unzip();
    let verdict = Verdict {
        scenario,
        heading: heading(scenario, kill).to_owned(),
        also,
        invisible,
        group_kill: group,
        innocent: if scenario == Scenario::Killed { None } else { innocent(&kill.reported) },
        bystander,
        summary: summary.text(case, kill),
        advice: advice.text(case, kill),
        suggested_limit_bytes,
        suggested_limit_basis,
        confidence,
        missing,
        evidence: case.kills.iter().take(8).filter_map(|kill| kill.lines.first()).map(|(_, line)| line.seq).collect(),
        kubernetes_shows,
        kubernetes_shows_seen,
        signal: signal.and_then(|signal| signal.signal.clone()),
        signal_from: signal.and_then(|signal| signal.from),
        threshold_bytes: signal.and_then(|signal| signal.threshold_bytes),
        available_bytes: signal.and_then(|signal| signal.available_bytes),
        amounts_from: signal.and_then(|signal| signal.amounts_from),
        threshold_from: signal.and_then(|signal| signal.threshold_from),
        ..Verdict::default()
    };
    let first = case.kills.first().map_or(kill, |first| first);
    Incident {
        containers: shown::affected(case, context),
        pod,
        container,
        cgroup: kill.reported.cgroup.clone(),
        verdict,
        limit_level: limit.as_ref().and_then(|limit| limit.level),
        limit_bytes: limit.as_ref().and_then(|limit| limit.limit_bytes),
        limit,
        kills: case.kills.len() as u64,
        processes_killed: case.kills.iter().map(|kill| 1 + kill.reported.members.len() as u64).sum(),
        deaths: case.deaths.len() as u64,
        group,
        evicted: case.evicted.is_some(),
        victim_comm: first.reported.victim.task.comm.clone(),
        victim: Some(victim(first, context)),
        ..Incident::default()
    }
}

/// Where the scenario alone does not say what happened; else nothing.
fn heading(scenario: Scenario, kill: &Kill) -> &'static str {
    match scenario {
        Scenario::SystemOom if Left::of(kill).is_some() => words::DESPITE_MEMORY,
        Scenario::AllocatableOom if kill.reported.limit.as_ref().and_then(qos_class).is_some() => words::OF_QOS_CLASS,
        _ => "",
    }
}

/// What the kernel's log lacks of a kill, and how sure it is without.
fn unseen(kill: &Kill, context: &Context<'_>, missing: &mut Vec<String>) -> Confidence {
    let mut confidence = Confidence::High;
    if kill.reported.time_unknown {
        let printed = context.known.statuses_alone;
        missing.push(if printed { Missing::TimeOfPrinting } else { Missing::TimeOfKill }.text());
        confidence = Confidence::Medium;
    }
    let (what, most) = match kill.reported.known_by {
        None => return confidence,
        Some(KnownBy::Choice) => (Missing::VictimOfChoice, Confidence::Medium),
        Some(KnownBy::Reaper) => (Missing::KillLine, Confidence::Low),
        Some(KnownBy::Limit) => (Missing::VictimOfLimit, Confidence::Medium),
    };
    missing.push(what.text());
    confidence.min(most)
}

/// How sure it is whose limit it was, where statistics of a cgroup are all that names it: to 5.2 the kernel's report has those of
/// every cgroup below the one over its limit, too, and the first lines of this one are missing.
fn known_by_statistics(kill: &Kill, missing: &mut Vec<String>) -> Confidence {
    let reported = &kill.reported;
    let named = reported.limit.as_ref().is_some_and(|limit| limit.cgroup.is_some() && limit.limit_bytes.is_none());
    if !(named && reported.cgroup.is_none() && reported.cgroup_memory.is_some()) {
        return Confidence::High;
    }
    missing.push(Missing::LimitAbove.text());
    Confidence::Medium
}

/// The victim of a kill, with all that is known of its names.
fn victim(kill: &Kill, context: &Context<'_>) -> Victim {
    let mut victim = kill.reported.victim.clone();
    victim.task.pod = named(context, kill.pod.as_ref()).or(victim.task.pod);
    if let Some(id) = &kill.container {
        let seen = context.names.container(id).map(|seen| seen.container.clone());
        let known = seen.or(victim.task.container).or_else(|| kill.reported.container.clone());
        victim.task.container = Some(Container { id: Some(id.clone()), ..known.unwrap_or_default() });
    }
    victim
}

fn scenario(case: &Case<'_>, context: &Context<'_>, kill: &Kill, missing: &mut Vec<String>) -> (Scenario, Confidence) {
    // No limit was hit: a person asked for it.
    if kill.reported.cause == Some(Cause::Sysrq) {
        return (Scenario::Killed, Confidence::High);
    }
    let Some(limit) = kill.reported.limit.as_ref().filter(|limit| limit.level.is_some()) else {
        return without_a_report(kill, missing);
    };
    match limit.level {
        Some(Level::Container) if kill.hit_limit_around() => (Scenario::OtherLimit, Confidence::High),
        Some(Level::Container) => (Scenario::ContainerLimit, Confidence::High),
        Some(Level::Pod) => match siblings(case, context, kill) {
            Siblings::None => (Scenario::ContainerLimit, Confidence::High),
            Siblings::Some if own_limit_is_the_pods(case, context, limit) => {
                (Scenario::ContainerLimit, Confidence::High)
            }
            Siblings::Some => (Scenario::PodLimit, Confidence::High),
            Siblings::Unknown => {
                missing.push(Missing::Containers.text());
                (Scenario::ContainerLimit, Confidence::Medium)
            }
        },
        Some(Level::Qos | Level::Kubepods) => (Scenario::AllocatableOom, Confidence::High),
        // A person's SysRq-f, a cpuset and a memory policy end in the same line; only the report tells them apart.
        Some(Level::Node) if kill.reported.constraint.is_none() => {
            let old = kill.reported.gfp_mask.is_some();
            missing.push(if old { Missing::PartOfOldNode } else { Missing::PartOfNode }.text());
            (Scenario::SystemOom, Confidence::Medium)
        }
        Some(Level::Node) if Left::of(kill).is_some() => {
            missing.push(Missing::WhyFailed.text());
            (Scenario::SystemOom, Confidence::Medium)
        }
        // The line that says that it was the node is the same where a person asked for it.
        Some(Level::Node) if kill.reported.order.is_none() && kill.reported.constraint.as_deref() == Some("NONE") => {
            missing.push(Missing::Asked.text());
            (Scenario::SystemOom, Confidence::Medium)
        }
        Some(Level::Node) => (Scenario::SystemOom, Confidence::High),
        Some(Level::Other) => (Scenario::OtherLimit, Confidence::High),
        None => (Scenario::UnknownLimit, Confidence::Low),
    }
}

/// Where the kernel's report is missing, its line of the kill alone may still say that it was the node; of a limit it does
/// not say whose.
fn without_a_report(kill: &Kill, missing: &mut Vec<String>) -> (Scenario, Confidence) {
    if kill.lines.iter().all(|(_, line)| !matches!(line.event, Event::OomKill(_))) {
        missing.push(Missing::KernelLog.text());
        return (Scenario::UnknownLimit, Confidence::Low);
    }
    missing.push(Missing::Report.text());
    let reported = &kill.reported;
    let of_node = reported.message.as_deref().is_some_and(|message| message.starts_with("Out of memory"))
        || reported.constraint.as_deref().is_some_and(|constraint| constraint != "MEMCG");
    if of_node { (Scenario::SystemOom, Confidence::Medium) } else { (Scenario::UnknownLimit, Confidence::Low) }
}

/// Whether it is known not to be in Kubernetes: where it was is known, and nothing on this node is of Kubernetes.
fn is_outside(case: &Case<'_>, context: &Context<'_>) -> bool {
    let placed = |kill: &Kill| {
        let of_limit = kill.reported.limit.as_ref().is_some_and(|limit| limit.cgroup.is_some());
        of_limit || kill.reported.cgroup.as_ref().is_some_and(|cgroup| cgroup.path.is_some() || cgroup.unit.is_some())
    };
    !context.node.heard.kubernetes && case.pod.is_none() && case.kills.iter().any(|kill| placed(kill))
}

/// Whether the pod had more containers than the victim's. Files and the kubelet's log tell; else the kernel's list of
/// cgroups, or of processes: each container's have an `oom_score_adj` that its own request makes (`pkg/kubelet/qos/policy.go`), the
/// sandbox's -998.
fn siblings(case: &Case<'_>, context: &Context<'_>, kill: &Kill) -> Siblings {
    let Some(pod) = &case.pod else { return Siblings::Unknown };
    let container = case.container(context);
    // Init containers run one at a time.
    if container.is_some_and(|container| container.role == Some(ContainerRole::Init)) {
        return Siblings::None;
    }
    if let Some(count) = context.names.containers_at(pod, kill.at) {
        return if count > 1 { Siblings::Some } else { Siblings::None };
    }
    if let Some(count) = kill.reported.containers_charged {
        return if count > 1 { Siblings::Some } else { Siblings::None };
    }
    let Some(candidates) = &kill.reported.candidates else { return Siblings::Unknown };
    let in_pod: Vec<_> = candidates.iter().filter(|candidate| !is_sandbox(candidate)).collect();
    let complete = kill.reported.candidates_weighed.is_none_or(|weighed| weighed as usize <= candidates.len());
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

fn own_limit_is_the_pods(case: &Case<'_>, context: &Context<'_>, limit: &Limit) -> bool {
    let own = own_record(case, context).and_then(|record| record.limit_bytes);
    own.is_some() && own == limit.limit_bytes
}

/// The container's limit by its specification, where that is known: `Some(None)` where it has none.
#[expect(clippy::option_option, reason = "whether it is known, and whether there is one")]
fn specified(case: &Case<'_>, context: &Context<'_>) -> Option<Option<u64>> {
    let own = own_record(case, context)?.limit_bytes;
    let complete = || case.pod.as_ref().and_then(|pod| context.names.record(pod)).is_some_and(|record| record.complete);
    (own.is_some() || complete()).then_some(own)
}

/// The limits of all containers of the pod that run at one time, where each has one.
fn specified_sum(case: &Case<'_>, context: &Context<'_>) -> Option<u64> {
    let record = context.names.record(case.pod.as_ref()?).filter(|record| record.complete)?;
    let lasting =
        |container: &&ContainerRecord| !matches!(container.role, Some(ContainerRole::Init | ContainerRole::Ephemeral));
    record.containers.values().filter(lasting).map(|container| container.limit_bytes).sum()
}

/// What the files have of the container.
fn own_record<'a>(case: &Case<'_>, context: &Context<'a>) -> Option<&'a ContainerRecord> {
    let name = case.container(context).and_then(|container| container.name);
    context.names.container_record(case.pod.as_ref(), name.as_deref())
}

fn group(case: &Case<'_>) -> Option<bool> {
    let said = |kill: &Kill| kill.reported.group.or((!kill.reported.members.is_empty()).then_some(true));
    let any = case.kills.iter().any(|kill| said(kill) == Some(true));
    let all_known = case.kills.iter().all(|kill| said(kill).is_some());
    if any { Some(true) } else { all_known.then_some(false) }
}

/// Whether Kubernetes will see nothing of the kills: every one left the container's first process alive.
fn invisible(case: &Case<'_>, context: &Context<'_>) -> Option<bool> {
    if case.evicted.is_some() || !case.deaths.is_empty() {
        return Some(false);
    }
    let mut last: BTreeMap<&ContainerId, i64> = BTreeMap::new();
    for (id, kill) in case.kills.iter().filter_map(|kill| Some((kill.container.as_ref()?, kill))) {
        last.entry(id).and_modify(|last| *last = (*last).max(kill.at)).or_insert(kill.at);
    }
    let each: Vec<_> = case.kills.iter().map(|kill| survived(kill, &last, context)).collect();
    if each.contains(&Some(false)) {
        Some(false)
    } else if each.iter().all(|survived| *survived == Some(true)) {
        Some(true)
    } else {
        None
    }
}

/// Whether the container outlived a kill in it; `last` has the times of the last kills in each.
fn survived(kill: &Kill, last: &BTreeMap<&ContainerId, i64>, context: &Context<'_>) -> Option<bool> {
    let id = kill.container.as_ref()?;
    let init = kill.reported.victim.task.container_init;
    if init == Some(true) || kill.reported.members.iter().any(|member| member.container_init == Some(true)) {
        return Some(false);
    }
    if last.get(id).is_some_and(|last| *last > kill.at + NOTICED) {
        return Some(true);
    }
    // The whole container's cgroup is killed, unless the group is one that was made inside it.
    if kill.reported.group == Some(true) && kill.reported.limit.as_ref().is_none_or(|limit| limit.nested.is_none()) {
        return Some(false);
    }
    if let Some(death) = context.evidence.death_of(id) {
        return Some(!super::explains(context, kill, death));
    }
    if init == Some(false) || context.evidence.kubelet_covers(kill.at, NOTICED) {
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

fn bystander(scenario: Scenario, case: &Case<'_>, users: Option<&Users>) -> Option<bool> {
    match scenario {
        Scenario::ContainerLimit => Some(false),
        Scenario::Killed | Scenario::UnknownLimit => None,
        _ if case.kills.is_empty() => None,
        _ => users.map(|users| !users.victim_is_most),
    }
}

/// Whether the victim is the runtime's own process that becomes the container's first (`libcontainer`'s `nsexec.c` names its
/// stages `runc:[0:PARENT]`, `runc:[1:CHILD]`, `runc:[2:INIT]`): the container's program was not running yet.
pub(super) fn is_starting(kill: &Kill) -> bool {
    kill.reported.victim.task.comm.as_deref().is_some_and(|comm| comm.starts_with("runc:["))
}

/// The class of pods whose limit was hit, as their statuses name it (`qosClass`).
pub(super) fn qos_class(limit: &Limit) -> Option<&'static str> {
    let path = limit.cgroup.as_deref().filter(|_| limit.level == Some(Level::Qos))?;
    let last = path.rsplit('/').next()?;
    [("burstable", "Burstable"), ("besteffort", "BestEffort")]
        .into_iter()
        .find_map(|(name, class)| last.contains(name).then_some(class))
}
