//! Verdicts where a limit was hit and nothing was killed for it: cgroup v1's `oom_kill_disable` lets a container wait, nobody in
//! it may be killed, and `vm.panic_on_oom` ends the whole node.

use std::collections::BTreeMap;

use oomtrace_model::{Confidence, Incident, Level, Limit, PanicOnOom, Scenario, UnderOom, Verdict};

use super::{
    super::{
        evidence::{Cause, unkillable::LeftAlone},
        windows::{CRASH_LOOP, SECOND},
        words::place,
    },
    Context,
    case::{Case, Ending, Subject},
    named,
    sentences::{self, missing::Missing},
};

/// Makes cases of them.
pub(super) fn add<'a>(context: &Context<'a>, cases: &mut Vec<Case<'a>>) {
    let evidence = context.evidence;
    for (subject, frozen) in chains(context, &evidence.frozen, |_| true, |frozen| frozen.limit.as_ref()) {
        let pod = frozen.first().and_then(|first| first.pod.clone());
        cases.push(Case::of_stop(subject, pod, Ending::Frozen(frozen)));
    }
    let is_left = |left: &Cause<LeftAlone>| !was_killed(context, left);
    for (subject, left) in chains(context, &evidence.unkillable, is_left, |left| left.limit.as_ref()) {
        let pod = left.first().and_then(|first| first.pod.clone());
        cases.push(Case::of_stop(subject, pod, Ending::LeftAlone(left)));
    }
    for panic in &context.evidence.panics {
        let subject = match (&panic.pod, &panic.container) {
            (None, None) => Subject::Cgroup(path(panic.what.limit.as_ref())),
            (pod, container) => Subject::of(pod.as_ref(), container.as_ref(), context.names),
        };
        cases.push(Case::of_stop(subject, panic.pod.clone(), Ending::Panic(panic)));
    }
}

/// Those that are about the same container or cgroup, one soon after the other.
fn chains<'a, T>(
    context: &Context<'a>,
    causes: &'a [Cause<T>],
    wanted: impl Fn(&Cause<T>) -> bool,
    limit: impl Fn(&T) -> Option<&Limit>,
) -> Vec<(Subject, Vec<&'a Cause<T>>)> {
    let mut open: BTreeMap<Subject, Vec<&'a Cause<T>>> = BTreeMap::new();
    let mut chains = Vec::new();
    for cause in causes.iter().filter(|cause| wanted(cause)) {
        let subject = match (&cause.pod, &cause.container) {
            (None, None) => Subject::Cgroup(path(limit(&cause.what))),
            (pod, container) => Subject::of(pod.as_ref(), container.as_ref(), context.names),
        };
        let chain = open.entry(subject.clone()).or_default();
        if chain.last().is_some_and(|last| cause.at - last.at > CRASH_LOOP) {
            chains.push((subject, std::mem::take(chain)));
        }
        chain.push(cause);
    }
    chains.extend(open);
    chains
}

/// Whether somebody was killed for a limit in the time in which nobody seemed to be: then the kernel had found somebody.
fn was_killed(context: &Context<'_>, left: &Cause<LeftAlone>) -> bool {
    let Some(since) = left.what.inferred_since else { return false };
    let cgroup = left.what.limit.as_ref().and_then(|limit| limit.cgroup.as_ref());
    context.evidence.kills.iter().any(|kill| {
        (since - SECOND..=left.at + SECOND).contains(&kill.at)
            && kill.reported.limit.as_ref().is_none_or(|limit| limit.cgroup.as_ref() == cgroup)
    })
}

fn path(limit: Option<&Limit>) -> String {
    limit.and_then(|limit| limit.cgroup.clone()).unwrap_or_default()
}

fn scenario(limit: Option<&Limit>) -> Scenario {
    match limit.and_then(|limit| limit.level) {
        Some(Level::Container) => Scenario::ContainerLimit,
        Some(Level::Pod) => Scenario::PodLimit,
        Some(Level::Qos | Level::Kubepods) => Scenario::AllocatableOom,
        Some(Level::Other) => Scenario::OtherLimit,
        Some(Level::Node) => Scenario::SystemOom,
        None => Scenario::UnknownLimit,
    }
}

pub(super) fn frozen(case: &Case<'_>, context: &Context<'_>, frozen: &[&Cause<UnderOom>]) -> Incident {
    let Some(first) = frozen.first() else { return Incident::default() };
    stopped(case, context, first.what.limit.clone(), sentences::stopped::frozen(&inside(case, context), frozen))
}

pub(super) fn left_alone(case: &Case<'_>, context: &Context<'_>, left: &[&Cause<LeftAlone>]) -> Incident {
    let Some(first) = left.first() else { return Incident::default() };
    let said = sentences::stopped::left_alone(&inside(case, context), left);
    let mut incident = stopped(case, context, first.what.limit.clone(), said);
    if left.iter().all(|left| left.what.inferred_since.is_some()) {
        incident.verdict.confidence = Confidence::Medium;
        incident.verdict.missing.push(Missing::NoneKillable.text());
    }
    incident
}

pub(super) fn panic(case: &Case<'_>, context: &Context<'_>, panic: &Cause<PanicOnOom>) -> Incident {
    let limit = panic.what.limit.clone();
    let said = sentences::stopped::panic(&inside(case, context), scenario(limit.as_ref()), &panic.what);
    stopped(case, context, limit, said)
}

fn inside(case: &Case<'_>, context: &Context<'_>) -> String {
    place(named(context, case.pod.as_ref()).as_ref(), case.container(context).as_ref())
}

fn stopped(
    case: &Case<'_>,
    context: &Context<'_>,
    limit: Option<Limit>,
    sentences::stopped::Said { heading, summary, advice }: sentences::stopped::Said,
) -> Incident {
    let evidence = match &case.ending {
        Some(Ending::Frozen(frozen)) => frozen.iter().take(8).map(|frozen| frozen.line.seq).collect(),
        Some(Ending::LeftAlone(left)) => left.iter().take(8).map(|left| left.line.seq).collect(),
        Some(Ending::Panic(panic)) => vec![panic.line.seq],
        _ => Vec::new(),
    };
    let of_kubernetes = context.node.heard.kubernetes || case.pod.is_some();
    let verdict = Verdict {
        scenario: scenario(limit.as_ref()),
        invisible: Some(true),
        group_kill: Some(false),
        heading: heading.to_owned(),
        summary,
        advice: advice.to_owned(),
        evidence,
        kubernetes_shows: of_kubernetes.then(|| "nothing".to_owned()).into_iter().collect(),
        ..Verdict::default()
    };
    Incident {
        containers: super::shown::affected(case, context),
        pod: named(context, case.pod.as_ref()),
        container: case.container(context),
        verdict,
        limit_level: limit.as_ref().and_then(|limit| limit.level),
        limit_bytes: limit.as_ref().and_then(|limit| limit.limit_bytes),
        limit,
        ..Incident::default()
    }
}
