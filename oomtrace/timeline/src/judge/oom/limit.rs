//! One number to act on: a limit under which this would not have happened, as far as what was seen supports one.

use oomtrace_model::{Cause, Confidence, Event, OomKill, Scenario, SwapCounter};

use super::{
    super::{Context, case::Case},
    is_starting,
};
use crate::{
    windows::SECOND,
    words::{size, times, within},
};

/// What comes back to its limit so soon needs more to work at all.
const SOON: i64 = 10 * 60;
/// What takes longer than this to come back, each time to the same limit, rather leaks: a higher limit only delays it.
const LEAK: i64 = 60 * 60;

/// A limit and what it is worked out from. `None` where nothing supports a number: no amounts, a guess at whose limit it was,
/// a limit that was lowered, a program that was not running yet, or what looks like a leak.
pub(in super::super) fn suggested(
    case: &Case<'_>,
    context: &Context<'_>,
    scenario: Scenario,
    confidence: Confidence,
) -> Option<(u64, String)> {
    let own = matches!(scenario, Scenario::ContainerLimit | Scenario::PodLimit);
    let lowered = case.kills.iter().any(|kill| kill.reported.cause == Some(Cause::LimitLowered));
    if !own || confidence < Confidence::Medium || lowered || case.kills.iter().any(|kill| is_starting(kill)) {
        return None;
    }
    let at_kills = case.kills.iter().filter_map(|kill| used(&kill.reported)).max()?;
    let read = case.kills.iter().filter_map(|kill| kill.reported.limit.as_ref()?.cgroup.as_deref());
    let paths: Vec<&str> = read.collect();
    let before = context.evidence.pictures.iter().filter_map(|picture| match &picture.line.event {
        Event::Pressure(read) if paths.contains(&read.cgroup.as_ref()?.path.as_deref()?) => {
            Some(read.usage_bytes? + read.swap_bytes.unwrap_or(0))
        }
        _ => None,
    });
    let most = before.max().unwrap_or(0).max(at_kills);
    let again = case.kill_count();
    let (percent, why) = match interval(case) {
        None => (25, "a quarter more, as it was killed once and its need beyond that was not seen".to_owned()),
        Some(seconds) if seconds > LEAK => return None,
        Some(seconds) if seconds <= SOON => {
            (50, format!("half as much again, as it was killed {} {} of each other", times(again), within(seconds)))
        }
        Some(seconds) => {
            (25, format!("a quarter more, as it was killed {} about {} min apart", times(again), seconds / 60))
        }
    };
    let bytes = round_up(most.checked_add(most / 100 * percent)?);
    Some((bytes, format!("the highest use seen, {}, and {why}", size(most))))
}

/// What was charged when the limit was hit, with swap.
fn used(kill: &OomKill) -> Option<u64> {
    let limit = kill.limit.as_ref()?;
    let swap = limit.swap_usage_bytes;
    match limit.swap_counter {
        Some(SwapCounter::MemoryAndSwap) => Some(limit.usage_bytes?.max(swap.unwrap_or(0))),
        Some(SwapCounter::Swap) => limit.usage_bytes?.checked_add(swap.unwrap_or(0)),
        None => limit.usage_bytes,
    }
}

/// To a number that people would write: a sixteenth of the next power of two, and no less than 1 MiB.
fn round_up(bytes: u64) -> u64 {
    let step = (bytes.checked_next_power_of_two().unwrap_or(1 << 63) / 16).max(1 << 20);
    bytes.div_ceil(step).saturating_mul(step)
}

/// Seconds between kills, where there are several.
pub(in super::super) fn interval(case: &Case<'_>) -> Option<i64> {
    let first = case.kills.first()?;
    let gaps = i64::try_from(case.kill_count()).ok()? - 1;
    (gaps > 0).then(|| (case.last_kill() - first.at) / SECOND / gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_limit_is_one_that_people_would_write() {
        const MIB: u64 = 1 << 20;
        for (bytes, rounded) in [(80, 80), (320, 320), (321, 352), (15, 15), (1250, 1280)] {
            assert_eq!(round_up(bytes * MIB) / MIB, rounded, "{bytes}");
        }
        assert_eq!(round_up(1), MIB);
    }
}
