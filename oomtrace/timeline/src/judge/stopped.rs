//! Verdicts where a limit was hit and nothing was killed for it: cgroup v1's `oom_kill_disable` lets a container wait, and
//! `vm.panic_on_oom` ends the whole node.

use std::collections::BTreeMap;

use oomtrace_model::{Incident, Level, Limit, PanicOnOom, Scenario, UnderOom, Verdict};

use super::{
    super::{evidence::Cause, windows::CRASH_LOOP, words::place},
    Context,
    case::{Case, Ending, Subject},
    named, sentences,
};

/// Makes cases of them.
pub(super) fn add<'a>(context: &Context<'a>, cases: &mut Vec<Case<'a>>) {
    let mut open: BTreeMap<Subject, Vec<&'a Cause<UnderOom>>> = BTreeMap::new();
    let close = |subject: Subject, frozen: Vec<&'a Cause<UnderOom>>| {
        let pod = frozen.first().and_then(|first| first.pod.clone());
        Case::of_stop(subject, pod, Ending::Frozen(frozen))
    };
    for frozen in &context.evidence.frozen {
        let subject = match (&frozen.pod, &frozen.container) {
            (None, None) => Subject::Cgroup(path(frozen.what.limit.as_ref())),
            (pod, container) => Subject::of(pod.as_ref(), container.as_ref(), context.names),
        };
        let chain = open.entry(subject.clone()).or_default();
        if chain.last().is_some_and(|last| frozen.at - last.at > CRASH_LOOP) {
            cases.push(close(subject, std::mem::take(chain)));
        }
        chain.push(frozen);
    }
    cases.extend(open.into_iter().map(|(subject, frozen)| close(subject, frozen)));
    for panic in &context.evidence.panics {
        let subject = match (&panic.pod, &panic.container) {
            (None, None) => Subject::Cgroup(path(panic.what.limit.as_ref())),
            (pod, container) => Subject::of(pod.as_ref(), container.as_ref(), context.names),
        };
        cases.push(Case::of_stop(subject, panic.pod.clone(), Ending::Panic(panic)));
    }
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
        Some(Ending::Panic(panic)) => vec![panic.line.seq],
        _ => Vec::new(),
    };
    let verdict = Verdict {
        scenario: scenario(limit.as_ref()),
        invisible: Some(true),
        group_kill: Some(false),
        heading: heading.to_owned(),
        summary,
        advice: advice.to_owned(),
        evidence,
        kubernetes_shows: vec!["nothing".to_owned()],
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
