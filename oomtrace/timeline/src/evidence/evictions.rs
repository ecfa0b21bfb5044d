//! The eviction manager's steps, put together: passes that ranked pods, and the pods that were evicted in them.

use std::{collections::BTreeMap, sync::Arc};

use oomtrace_model::{Event, Eviction, EvictionPhase};

use super::{
    super::{
        digested::Digested,
        names::{Names, PodKey},
        windows::{EVICTION, OBSERVED, PASS, SAME_STEP, SOFT},
    },
    Evicted,
};

/// A pass of the eviction manager: what it said of the node, and the pods it ranked.
struct Pass<'a> {
    at: i64,
    lines: Vec<(i64, &'a Arc<Digested>)>,
    resource: Option<String>,
    memory: Option<bool>,
    ranked: Vec<PodKey>,
}

/// The pods that were evicted, from the steps in the order of time. At most one a pass.
pub(super) fn evicted(steps: &[(i64, &Eviction, &Arc<Digested>)], names: &Names<'_>) -> Vec<Evicted> {
    let mut found: BTreeMap<PodKey, Vec<Evicted>> = BTreeMap::new();
    let passes = passes(steps, names);
    let mut ended: Vec<bool> = vec![false; passes.len()];
    for (at, step, line) in steps {
        if !step.phase.is_of_evicted() {
            continue;
        }
        for pod in step.pod.iter().chain(&step.pods) {
            let Some(key) = names.key(Some(pod), None, *at) else { continue };
            let of_pod = found.entry(key.clone()).or_default();
            // Of a pod without a name each notice is of another one.
            let same = |evicted: &&mut Evicted| {
                !pod.is_nameless() && *at - evicted.ending <= EVICTION && !is_another(evicted, *at, step.phase)
            };
            if let Some(evicted) = of_pod.last_mut().filter(same) {
                evicted.memory = evicted.memory.or(step.memory);
                evicted.lines.push((*at, Arc::clone(line)));
            } else {
                // A pod that is evicted later was not chosen in a pass that had ended with another.
                let within = |span| {
                    let open = passes.iter().enumerate().rev().filter(|(index, _)| !ended[*index]);
                    open.filter(move |(_, pass)| pass.at <= *at && at - pass.at <= span)
                };
                let pass =
                    within(EVICTION).find(|(_, pass)| pass.ranked.contains(&key)).or_else(|| within(PASS).next());
                let pass = pass.map(|(index, pass)| {
                    ended[index] = true;
                    pass
                });
                of_pod.push(Evicted {
                    at: pass.map_or(*at, |pass| pass.at),
                    ending: *at,
                    pod: key,
                    memory: step.memory.or_else(|| pass.and_then(|pass| pass.memory)).or_else(|| {
                        step.resource
                            .as_deref()
                            .or_else(|| pass.and_then(|pass| pass.resource.as_deref()))
                            .map(|resource| resource == "memory")
                    }),
                    lines: vec![(*at, Arc::clone(line))],
                    pass: pass
                        .map(|pass| pass.lines.iter().map(|(at, line)| (*at, Arc::clone(line))).collect())
                        .unwrap_or_default(),
                });
            }
        }
    }
    let mut all: Vec<_> = found.into_values().flatten().collect();
    all.sort_by(|a, b| (a.at, &a.pod).cmp(&(b.at, &b.pod)));
    all
}

/// Whether a pod that is evicted is another of the same name: the one before was cleaned up.
fn is_another(before: &Evicted, at: i64, phase: EvictionPhase) -> bool {
    let cleaned_up = |(done, line): &(i64, Arc<Digested>)| {
        let cleaned = matches!(&line.event, Event::Eviction(step) if step.phase == EvictionPhase::CleanedUp);
        cleaned && at - done > SAME_STEP
    };
    matches!(phase, EvictionPhase::Evicting | EvictionPhase::Evicted | EvictionPhase::Failed)
        && before.lines.iter().any(cleaned_up)
}

/// How long after a step pods may be ranked because of it.
fn reach(phase: EvictionPhase) -> i64 {
    match phase {
        EvictionPhase::Observed | EvictionPhase::NodeConditions => OBSERVED,
        EvictionPhase::GracePeriodNotMet => SOFT,
        _ => PASS,
    }
}

/// How long after a step the next one comes, as long as the threshold is met: the kubelet waits for the end of a pod that it
/// evicts, and goes on with the next. It says of a soft threshold that it is met only until it is met for long enough.
fn followed_within(phase: EvictionPhase) -> i64 {
    match phase {
        EvictionPhase::Ranked | EvictionPhase::Evicting => EVICTION,
        _ => SOFT,
    }
}

/// The passes that came to ranking pods.
fn passes<'a>(steps: &[(i64, &'a Eviction, &'a Arc<Digested>)], names: &Names<'_>) -> Vec<Pass<'a>> {
    let mut passes: Vec<Pass<'_>> = Vec::new();
    let mut open: Vec<(i64, &Eviction, &Arc<Digested>)> = Vec::new();
    // A soft threshold may have been met ever since this is true.
    let (mut soft, mut may_follow_until) = (false, i64::MIN);
    for (at, step, line) in steps {
        if !matches!(step.phase, EvictionPhase::Observed | EvictionPhase::NodeConditions) {
            soft = step.phase == EvictionPhase::GracePeriodNotMet || soft && *at <= may_follow_until;
            may_follow_until = *at + followed_within(step.phase);
        }
        match step.phase {
            EvictionPhase::Observed
            | EvictionPhase::ThresholdMet
            | EvictionPhase::GracePeriodNotMet
            | EvictionPhase::NodeConditions
            | EvictionPhase::MustEvict => open.push((*at, step, line)),
            EvictionPhase::Ranked => {
                let goes_on = |step: &Eviction| soft && step.phase == EvictionPhase::GracePeriodNotMet;
                open.retain(|(earlier, step, _)| at - earlier <= reach(step.phase) || goes_on(step));
                // The pass begins with the last threshold that was met before pods were ranked.
                let began = open
                    .iter()
                    .rev()
                    .find(|(_, step, _)| step.phase == EvictionPhase::ThresholdMet)
                    .map_or(*at, |(began, _, _)| *began);
                let resource = open.iter().rev().find_map(|(_, step, _)| {
                    matches!(step.phase, EvictionPhase::ThresholdMet | EvictionPhase::MustEvict)
                        .then(|| step.resource.clone())
                        .flatten()
                });
                let memory = open.iter().rev().find_map(|(_, step, _)| {
                    matches!(step.phase, EvictionPhase::ThresholdMet | EvictionPhase::MustEvict)
                        .then_some(step.memory)
                        .flatten()
                });
                // A threshold of another resource may be met, too: it is no reason for this pass.
                let of_it = |step: &Eviction| memory.is_none() || step.memory.is_none() || step.memory == memory;
                let mut lines: Vec<_> =
                    open.iter().filter(|(_, step, _)| of_it(step)).map(|(at, _, line)| (*at, *line)).collect();
                lines.push((*at, line));
                let ranked = step.pods.iter().filter_map(|pod| names.key(Some(pod), None, *at)).collect();
                // The same pass read from a second form of the log.
                if let Some(last) = passes.last_mut()
                    && at - last.lines.last().map_or(last.at, |(at, _)| *at) <= SAME_STEP
                    && last.ranked == ranked
                {
                    last.memory = last.memory.or(memory);
                    last.resource = last.resource.take().or(resource);
                    last.lines.extend(lines);
                } else {
                    passes.push(Pass { at: began, lines, resource, memory, ranked });
                }
                // The last says for how long it had been met.
                open.retain(|(_, step, _)| step.phase == EvictionPhase::GracePeriodNotMet);
                open.drain(..open.len().saturating_sub(1));
            }
            EvictionPhase::Reclaimed | EvictionPhase::NothingToEvict => open.clear(),
            _ => {}
        }
    }
    passes
}
