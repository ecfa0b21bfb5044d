//! What memory was against its limit, over the time of an incident.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use oomtrace_model::{Cgroup, Event, Level, Line, MemoryPoint, Pressure, PressureScope};

use super::{
    super::{
        digested::Digested,
        evidence::{At, Death},
        nanoseconds,
        windows::PICTURE,
    },
    Context,
    case::Case,
    steps::{has_ceased, last_failure},
};

const MILLISECOND: i64 = 1_000_000;

/// Points that are kept: as many as a picture can show.
const POINTS: usize = 512;

/// The readings of an incident, in order, and how many are left out. Of an eviction: what was used of all that there is,
/// against the threshold.
pub(super) fn points(case: &Case<'_>, context: &Context<'_>, lines: &[At]) -> (Vec<MemoryPoint>, u64) {
    let eviction = case.kills.is_empty() && case.evicted.is_some();
    let signal = if eviction { signal_of(case, context) } else { None };
    let limits = Limits::of(case);
    let mut points: Vec<MemoryPoint> = lines
        .iter()
        .filter_map(|(_, line)| if eviction { of_node(line, signal.as_deref()) } else { of_limit(line, &limits) })
        .collect();
    if !eviction {
        points.extend(recorded(&limits, lines));
        points.sort_by(|a, b| a.ts.cmp(&b.ts));
    }
    points.dedup();
    let omitted = oomtrace_model::thin_curve(&mut points, POINTS);
    (points, omitted)
}

/// The limits that the kills of a case are at.
pub(super) struct Limits<'a> {
    kills: bool,
    node: bool,
    cgroups: BTreeSet<&'a str>,
}

impl<'a> Limits<'a> {
    pub(super) fn of(case: &Case<'a>) -> Self {
        let limits = || case.kills.iter().filter_map(|kill| kill.reported.limit.as_ref());
        Self {
            kills: !case.kills.is_empty(),
            node: limits().any(|limit| limit.level == Some(Level::Node)),
            cgroups: limits().filter_map(|limit| limit.cgroup.as_deref()).collect(),
        }
    }

    /// Whether a reading is of one of them, and not of another cgroup that it passed through.
    pub(super) fn has(&self, read: &Pressure) -> bool {
        self.has_cgroup(read.cgroup.as_ref()) || self.node && read.cgroup.is_none() && read.level == Some(Level::Node)
    }

    pub(super) fn has_cgroup(&self, cgroup: Option<&Cgroup>) -> bool {
        cgroup.and_then(|cgroup| cgroup.path.as_deref()).is_some_and(|path| self.cgroups.contains(path))
    }
}

/// What the flight recorder has from before the kills, of what their limits are of.
fn recorded(limits: &Limits<'_>, lines: &[At]) -> Vec<MemoryPoint> {
    let mut points = Vec::new();
    let mut until = i64::MIN;
    for (at, line) in lines {
        let Event::Pressure(read) = &line.event else { continue };
        if !limits.has(read) {
            continue;
        }
        for earlier in &read.earlier {
            let then = at.saturating_sub(i64::try_from(earlier.age_ms).unwrap_or(i64::MAX).saturating_mul(MILLISECOND));
            // The next kill's has much of the same.
            if then > until
                && let Some(ts) = wall(line, *at, then)
            {
                until = then;
                let (usage_bytes, limit_bytes) = (earlier.usage_bytes, read.limit_bytes);
                points.push(MemoryPoint { ts: format!("{ts:.9}"), usage_bytes, limit_bytes });
            }
        }
    }
    points
}

/// A time as a line at `at` would give it.
fn wall(line: &Line, at: i64, then: i64) -> Option<Timestamp> {
    let wall = nanoseconds(&line.ts)?.checked_sub(at)?.checked_add(then)?;
    Timestamp::from_nanosecond(wall.into()).ok()
}

/// Of an incident without a kill what was read of its container.
fn of_limit(line: &Arc<Digested>, limits: &Limits<'_>) -> Option<MemoryPoint> {
    let (usage, limit) = match &line.event {
        Event::OomKill(kill) => kill.limit.as_ref().map(|limit| (limit.usage_bytes, limit.limit_bytes))?,
        Event::ChargeFailures(failures) if has_ceased(failures) => return None,
        Event::ChargeFailures(failures) => {
            let limit = failures.limit.as_ref()?;
            if limits.kills && !limit.cgroup.as_deref().is_some_and(|path| limits.cgroups.contains(path)) {
                return None;
            }
            (limit.usage_bytes, limit.limit_bytes)
        }
        Event::Pressure(pressure)
            if (!limits.kills || limits.has(pressure)) && pressure.scope != Some(PressureScope::Exit) =>
        {
            (pressure.usage_bytes, pressure.limit_bytes)
        }
        _ => return None,
    };
    let ts = last_failure(line).unwrap_or(&line.ts).to_owned();
    Some(MemoryPoint { ts, usage_bytes: usage?, limit_bytes: limit })
}

/// The kubelet's observation, turned round: available memory as used memory, the threshold as a limit.
fn of_node(line: &Arc<Digested>, signal: Option<&str>) -> Option<MemoryPoint> {
    let Event::Eviction(step) = &line.event else { return None };
    if step.signal.is_none() || step.signal.as_deref() != signal {
        return None;
    }
    let capacity = step.capacity_bytes?;
    let limit_bytes = step.threshold_bytes.map(|threshold| capacity.saturating_sub(threshold));
    Some(MemoryPoint { ts: line.ts.clone(), usage_bytes: capacity.saturating_sub(step.available_bytes?), limit_bytes })
}

fn signal_of(case: &Case<'_>, _court: &Context<'_>) -> Option<String> {
    let evicted = case.evicted?;
    evicted.pass.iter().find_map(|(_, line)| match &line.event {
        Event::Eviction(step) if step.threshold_bytes.is_some() => step.signal.clone(),
        _ => None,
    })
}

/// Whether a container was short of memory before it ended, so that a probe which failed at `failed` may have failed for that.
///
/// That its limit is hit says little: page cache that is read once fills any limit, and gives way at once.
pub(super) fn was_short(context: &Context<'_>, death: &Death, failed: i64) -> bool {
    let about = context.evidence.pictures.iter().filter(|picture| {
        picture.container.is_some()
            && picture.container == death.container
            && (failed - PICTURE..=death.at).contains(&picture.at)
    });
    about.into_iter().any(|picture| match &picture.line.event {
        Event::ChargeFailures(failures) => {
            [failures.failed, failures.ooms].into_iter().flatten().any(|count| count > 0)
        }
        Event::Pressure(pressure) => stalls(pressure) || is_full(pressure),
        _ => false,
    })
}

/// All its tasks waited for memory a tenth of the time.
fn stalls(pressure: &Pressure) -> bool {
    pressure.stall.is_some_and(|stall| stall.full_avg10 >= 10.0)
}

/// Nine tenths of the limit are memory that cannot be written back.
fn is_full(pressure: &Pressure) -> bool {
    let held = pressure.anon_bytes.map(|anon| anon.saturating_add(pressure.shmem_bytes.unwrap_or(0)));
    held.zip(pressure.limit_bytes).is_some_and(|(held, limit)| held >= limit - limit / 10)
}
