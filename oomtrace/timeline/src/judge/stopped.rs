//! Verdicts where a limit was hit and nothing was killed for it: cgroup v1's `oom_kill_disable` lets a container wait, and
//! `vm.panic_on_oom` ends the whole node.

use std::collections::BTreeMap;

use oomtrace_model::{Incident, Level, Limit, PanicOnOom, Scenario, UnderOom, UnderOomState, Verdict};

use super::{
    super::{
        evidence::Cause,
        windows::CRASH_LOOP,
        words::{place, size, times},
    },
    Context,
    case::{Case, Ending, Subject},
    ending::capital,
    named,
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
    let limit = first.what.limit.clone();
    let amount =
        limit.as_ref().and_then(|limit| limit.limit_bytes).map_or_else(String::new, |b| format!(" of {}", size(b)));
    let began = frozen.iter().filter(|one| one.what.state == UnderOomState::Began).count() as u64;
    let often = if began > 1 { format!(" {}", times(began)) } else { String::new() };
    let waits = frozen.last().is_some_and(|last| last.what.state == UnderOomState::Began);
    let state = if waits { "it still waits" } else { "it had room again" };
    let inside = place(named(context, case.pod.as_ref()).as_ref(), case.container(context).as_ref());
    let summary = format!(
        "{} hit its memory limit{amount}{often} and was frozen instead of killed, as its cgroup has oom_kill_disable set; {state}.",
        capital(&inside)
    );
    let advice = "Nobody ends what waits here, and Kubernetes takes it for running: write 0 to memory.oom_control of its cgroup, so that the kernel may kill and the container is started again, and give it a higher limit.";
    stopped(case, context, limit, ("Frozen at a memory limit", summary), advice)
}

pub(super) fn panic(case: &Case<'_>, context: &Context<'_>, panic: &Cause<PanicOnOom>) -> Incident {
    let limit = panic.what.limit.clone();
    let inside = place(named(context, case.pod.as_ref()).as_ref(), case.container(context).as_ref());
    let why = match scenario(limit.as_ref()) {
        Scenario::SystemOom => "the node itself ran out of memory".to_owned(),
        Scenario::UnknownLimit => "memory ran out".to_owned(),
        _ => format!("{inside} hit a memory limit"),
    };
    let comm = panic.what.trigger.comm.as_deref().unwrap_or("a process");
    if panic.what.panic_on_oom == 0 {
        let summary =
            format!("The kernel panicked, as no process was left that it may kill: {why} when {comm} asked for more.");
        let advice = "A panic ends every pod of the node. What was left has oom_score_adj -1000, or is the kernel's own memory: find who set it, and give the node more memory.";
        return stopped(case, context, limit, ("Out of memory: the kernel panics", summary), advice);
    }
    let sysctl = panic.what.panic_on_oom;
    let summary = format!(
        "The kernel was about to panic instead of killing, as vm.panic_on_oom is {sysctl}: {why} when {comm} asked for more."
    );
    let advice = "A panic ends every pod of the node. Set vm.panic_on_oom=0, as the kubelet does by itself unless its --protect-kernel-defaults keeps it from that.";
    stopped(case, context, limit, ("Out of memory: the kernel panics", summary), advice)
}

fn stopped(
    case: &Case<'_>,
    context: &Context<'_>,
    limit: Option<Limit>,
    (heading, summary): (&str, String),
    advice: &str,
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
