//! An incident's events in order, and in words.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use oomtrace_model::{ChargeFailures, ChargeState, ContainerAction, ContainerId, Event, Line, Source, Step};

use super::{
    super::{
        digested::Digested,
        evidence::At,
        windows::{NOTICED, PICTURE, REFUSED_TO_END, SAME_STEP, SECOND, SIGTERM_TO_END},
    },
    Context,
    case::{Case, Ending},
    ending::By,
    picture::Limits,
    sentences,
};

/// Steps that are reported; of more the first and the last.
const STEPS: usize = 48;

/// The lines that make a case, and no other: kills, ends, steps of an eviction of the pod, what ended it.
fn own(case: &Case<'_>) -> Vec<At> {
    let mut all: Vec<At> = Vec::new();
    for kill in &case.kills {
        all.extend(kill.lines.iter().cloned());
    }
    for death in &case.deaths {
        all.extend(death.lines.iter().cloned());
    }
    if let Some(evicted) = case.evicted {
        all.extend(evicted.lines.iter().cloned());
    }
    match &case.ending {
        Some(Ending::GaveUp(log)) => all.push((log.at, Arc::clone(&log.line))),
        Some(Ending::Refused(refused)) => all.push((refused.at, Arc::clone(&refused.line))),
        Some(Ending::Killed(By::Sender(signal, _))) => all.push((signal.at, Arc::clone(&signal.line))),
        Some(Ending::Killed(By::Probe(change) | By::Kubelet(change))) => {
            all.push((change.at, Arc::clone(&change.line)));
        }
        Some(Ending::Frozen(frozen)) => all.extend(frozen.iter().map(|one| (one.at, Arc::clone(&one.line)))),
        Some(Ending::LeftAlone(left)) => all.extend(left.iter().map(|one| (one.at, Arc::clone(&one.line)))),
        Some(Ending::Panic(panic)) => all.push((panic.at, Arc::clone(&panic.line))),
        Some(Ending::Sent(sent)) => all.extend(sent.iter().map(|one| (one.at, Arc::clone(&one.line)))),
        Some(Ending::Crashed | Ending::Killed(By::Nobody(_) | By::Unseen(_) | By::Event(..))) | None => {}
    }
    all
}

/// The same, without those that tell of several pods at once.
pub(super) fn core(case: &Case<'_>) -> Vec<Arc<Digested>> {
    let of_several = |line: &Line| matches!(&line.event, Event::Eviction(step) if step.pods.len() > 1);
    own(case).into_iter().map(|(_, line)| line).filter(|line| !of_several(line)).collect()
}

/// All lines of a case, in order, each step once.
pub(super) fn lines(case: &Case<'_>, context: &Context<'_>) -> Vec<At> {
    let mut all = own(case);
    all.extend(case.evicted.into_iter().flat_map(|evicted| evicted.pass.iter().cloned()));
    if let Some(Ending::Killed(By::Sender(_, Some(reason)))) = &case.ending {
        all.push((reason.at, Arc::clone(&reason.line)));
    }
    let (Some(first), Some(last)) = (all.iter().map(|(at, _)| *at).min(), all.iter().map(|(at, _)| *at).max()) else {
        return all;
    };
    all.extend(around(case, context, first, last));
    all.sort_by_key(|(at, line)| (*at, line.source, line.seq));
    once(all)
}

/// What else happened to the same containers just before, between and just after.
fn around(case: &Case<'_>, context: &Context<'_>, first: i64, last: i64) -> Vec<At> {
    let evidence = context.evidence;
    let ids: BTreeSet<&ContainerId> = case
        .kills
        .iter()
        .filter_map(|kill| kill.container.as_ref())
        .chain(case.deaths.iter().filter_map(|death| death.container.as_ref()))
        .collect();
    let name = case.container(context).and_then(|container| container.name);
    let mut all: Vec<At> = Vec::new();
    if let Some(pod) = &case.pod {
        for change in evidence.changes_of(pod) {
            let in_time = (first - SECOND..=last + NOTICED).contains(&change.at);
            let tells = !matches!(
                change.what.action,
                ContainerAction::Created | ContainerAction::Started | ContainerAction::Removed
            );
            let of_it = if let Some(id) = &change.container {
                ids.contains(id) || case.evicted.is_some()
            } else {
                let reported = change.what.container.as_ref().and_then(|container| container.name.as_ref());
                reported.is_none() || name.is_none() || reported == name.as_ref() || case.evicted.is_some()
            };
            if in_time && tells && of_it {
                all.push((change.at, Arc::clone(&change.line)));
            }
        }
    }
    let with_id = |id: Option<&ContainerId>| id.is_some_and(|id| ids.contains(id));
    for signal in &evidence.signals {
        if with_id(signal.container.as_ref()) && (first - SIGTERM_TO_END..=last + NOTICED).contains(&signal.at) {
            all.push((signal.at, Arc::clone(&signal.line)));
        }
    }
    for refused in &evidence.refusals {
        if with_id(refused.container.as_ref()) && (first - REFUSED_TO_END..=last).contains(&refused.at) {
            all.push((refused.at, Arc::clone(&refused.line)));
        }
    }
    let limits = Limits::of(case);
    for picture in &evidence.pictures {
        let of_limit = match &picture.line.event {
            Event::ChargeFailures(failures) => limits.has_cgroup(failures.cgroup.as_ref()),
            Event::Pressure(pressure) => limits.has(pressure),
            _ => false,
        };
        let about = with_id(picture.container.as_ref()) || of_limit;
        if about && (first - PICTURE..=last + NOTICED).contains(&picture.at) {
            all.push((picture.at, Arc::clone(&picture.line)));
        }
    }
    let mut kills: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    for kill in &case.kills {
        let victim = &kill.reported.victim.task;
        for pid in victim.tgid.into_iter().chain(victim.pid) {
            kills.entry(pid).or_default().push(kill.at);
        }
    }
    for (at, line) in &evidence.system_ooms {
        let Event::SystemOom(oom) = &line.event else { continue };
        let killed = oom.pid.and_then(|pid| kills.get(&pid)).into_iter().flatten();
        if killed.into_iter().any(|kill| (kill - SECOND..=kill + NOTICED).contains(at)) {
            all.push((*at, Arc::clone(line)));
        }
    }
    all
}

/// The same step, reported by a second form of the same log, is one.
fn once(all: Vec<At>) -> Vec<At> {
    let mut kept: Vec<At> = Vec::with_capacity(all.len());
    // When what was said last, of what has others near.
    let mut said: BTreeMap<(Source, u64), i64> = BTreeMap::new();
    let what = |line: &Digested| (line.source, line.of_event());
    let mut last_is_said = false;
    for (at, line) in all {
        let near = kept.last().filter(|(before, _)| at - before <= SAME_STEP);
        let Some((before, last)) = near else {
            last_is_said = false;
            kept.push((at, line));
            continue;
        };
        if !last_is_said {
            said.insert(what(last), *before);
        }
        let this = what(&line);
        if said.get(&this).is_some_and(|before| at - before <= SAME_STEP) {
            last_is_said = true;
            continue;
        }
        said.insert(this, at);
        last_is_said = true;
        kept.push((at, line));
    }
    kept
}

/// The same in words, and how many of the steps are left out.
pub(super) fn steps(lines: &[At], began: i64, case: &Case<'_>, context: &Context<'_>) -> (Vec<Step>, u64) {
    let mut steps: Vec<Step> = Vec::new();
    let mut container: BTreeSet<&ContainerId> = BTreeSet::new();
    let several = is_of_several(case);
    for (at, line) in lines {
        let Some((mark, what)) = sentences::steps::of(line, several, context) else { continue };
        let ts = last_failure(line).unwrap_or(&line.ts).to_owned();
        // The end of a container is reported by the kernel and by the kubelet in turn.
        if let Event::Container(change) = &line.event
            && change.action == ContainerAction::Died
            && let Some(id) = change.container.as_ref().and_then(|container| container.id.as_ref())
            && !container.insert(id)
        {
            continue;
        }
        steps.push(Step { ts, since_ms: milliseconds(at - began), source: line.source, seq: line.seq, mark, what });
    }
    let omitted = oomtrace_model::thin_middle(&mut steps, STEPS);
    (steps, omitted)
}

/// When a limit was hit last, where a line reports that it was: the line itself comes later, at the end of a second.
pub(super) fn last_failure(line: &Line) -> Option<&str> {
    match &line.event {
        Event::ChargeFailures(failures) if !failures.last_ts.is_empty() => Some(&failures.last_ts),
        _ => None,
    }
}

/// Whether a line only reports that a limit is not hit any more.
pub(super) fn has_ceased(failures: &ChargeFailures) -> bool {
    let counts = [failures.attempts, failures.failed, failures.ooms];
    failures.state == ChargeState::Ceased && counts.into_iter().flatten().all(|count| count == 0)
}

/// To the microsecond, and so exact in a double for 285 years.
#[expect(clippy::cast_precision_loss, reason = "microseconds of an incident fit 53 bits")]
fn milliseconds(ns: i64) -> f64 {
    (ns / 1_000) as f64 / 1_000.0
}

/// Whether a case has kills in more than one container, or ends beside them.
fn is_of_several(case: &Case<'_>) -> bool {
    let containers: BTreeSet<_> = case.kills.iter().filter_map(|kill| kill.container.as_ref()).collect();
    containers.len() + case.deaths.len() > 1
}
