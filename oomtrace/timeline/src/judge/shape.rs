//! How memory grew until the first kill: a leak, a spike, a plateau or a step.
//!
//! It is decided by the readings of the flight recorder of the cgroup whose limit was hit, and by what was used at the kill, in
//! this order:
//!
//! 1. **spike**: within the last minute it rose by a quarter of what it reached, or more, and had not been that high before: never
//!    above a quarter of that rise;
//! 2. **plateau**: it was at nine tenths of what it reached, or above, for four fifths of the time;
//! 3. **step**: one minute has more than half of the rise, and less than a tenth of it came after;
//! 4. **leak**: over two minutes or more it rose by a fifth of what it reached, or more, and lies near a straight line: the mean
//!    distance is below a tenth of the rise;
//! 5. else it is **unknown**. With fewer than three readings nothing is said at all.

use std::time::Duration;

use oomtrace_model::{Event, Pressure, PressureScope, Scenario, Shape, Verdict};

use super::case::Case;
use crate::{
    evidence::At,
    words::{size, span},
};

/// What may happen at once.
const MINUTE: f64 = 60.0;
/// A rise over a shorter time is no leak yet.
const LONG: f64 = 120.0;

/// What was used, and when: seconds before the kill, not above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    at: f64,
    bytes: f64,
}

/// Says how memory grew, and what follows from that.
pub(super) fn add(case: &Case<'_>, pressures: &[&Pressure], verdict: &mut Verdict) {
    let Some(readings) = readings(case, pressures) else { return };
    let Some((shape, basis, per_hour)) = shape(&readings) else { return };
    let own = matches!(verdict.scenario, Scenario::ContainerLimit | Scenario::PodLimit | Scenario::OtherLimit);
    if let Some(per_hour) = per_hour.filter(|per_hour| *per_hour > 0 && own && !verdict.advice.is_empty()) {
        let reached = readings.last().map_or(0.0, |last| last.bytes);
        let hours = reached / 4.0 / to_f64(per_hour);
        let bought = span(Duration::from_secs_f64((hours * 3600.0).clamp(0.0, 1e9)));
        let more =
            format!(" It rises by {} an hour: a limit that is a quarter higher only buys {bought}.", size(per_hour));
        verdict.advice.push_str(&more);
        (verdict.suggested_limit_bytes, verdict.suggested_limit_basis) = (None, None);
    }
    (verdict.shape, verdict.shape_basis, verdict.growth_bytes_per_hour) = (Some(shape), Some(basis), per_hour);
}

/// The readings of the cgroup whose limit the first kill is at, with what was used then.
fn readings(case: &Case<'_>, pressures: &[&Pressure]) -> Option<Vec<Reading>> {
    let limit = case.kills.first()?.reported.limit.as_ref()?;
    let read = of_limit(pressures, limit.cgroup.as_deref())?;
    let mut readings: Vec<Reading> = read
        .earlier
        .iter()
        .map(|earlier| Reading { at: -seconds(earlier.age_ms), bytes: to_f64(earlier.usage_bytes) })
        .collect();
    readings.push(Reading { at: 0.0, bytes: to_f64(limit.usage_bytes.or(limit.limit_bytes)?) });
    Some(readings)
}

/// The first reading for a kill at this cgroup's limit, or at the node's, that has what was before.
pub(super) fn of_limit<'a>(pressures: &[&'a Pressure], cgroup: Option<&str>) -> Option<&'a Pressure> {
    let of_cgroup = |read: &&&Pressure| {
        read.scope == Some(PressureScope::Kill)
            && !read.earlier.is_empty()
            && read.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()) == cgroup
    };
    pressures.iter().find(of_cgroup).copied()
}

/// The readings of memory among lines.
pub(super) fn pressures(lines: &[At]) -> Vec<&Pressure> {
    let read = lines.iter().filter_map(|(_, line)| match &line.event {
        Event::Pressure(read) => Some(&**read),
        _ => None,
    });
    read.collect()
}

/// The shape, what shows it, and of a leak how fast it rises, in bytes an hour.
fn shape(readings: &[Reading]) -> Option<(Shape, String, Option<u64>)> {
    let ([first, ..], [.., last]) = (readings, readings) else { return None };
    if readings.len() < 3 {
        return None;
    }
    let (length, rise, reached) = (last.at - first.at, last.bytes - first.bytes, last.bytes);
    let over = |seconds: f64| span(Duration::from_secs_f64(seconds.max(0.0)));
    let before: Vec<Reading> = readings.iter().copied().filter(|reading| reading.at <= -MINUTE).collect();
    let recently: Vec<Reading> = readings.iter().copied().filter(|reading| reading.at >= -MINUTE).collect();
    let from = recently.first().map_or(reached, |reading| reading.bytes);
    let highest_before = before.iter().map(|reading| reading.bytes).fold(f64::NEG_INFINITY, f64::max);
    if reached - from >= reached / 4.0 && highest_before < from + (reached - from) / 4.0 {
        // From the last reading that is still near where it began.
        let near = from + (reached - from) / 10.0;
        let start = recently.iter().rev().find(|reading| reading.bytes <= near).map_or(0.0, |reading| reading.at);
        let basis = format!("rose by {} in {}", size(to_u64(reached - from)), over(-start));
        return Some((Shape::Spike, basis, None));
    }
    let full = time_where(readings, |reading| reading.bytes >= reached * 0.9);
    if length >= MINUTE && full >= length * 0.8 {
        return Some((
            Shape::Plateau,
            format!("was at nine tenths of {} or above for {}", size(to_u64(reached)), over(full)),
            None,
        ));
    }
    if let Some((at, jump)) = steepest(readings)
        && rise > 0.0
        && jump > rise / 2.0
        && at < -MINUTE
        && reached - level_at(readings, at) < rise / 10.0
    {
        return Some((Shape::Step, format!("rose by {} at once, {} before", size(to_u64(jump)), over(-at)), None));
    }
    if length >= LONG && rise >= reached / 5.0 && distance(readings) < rise / 10.0 {
        let basis = format!("rose from {} to {} in {}", size(to_u64(first.bytes)), size(to_u64(reached)), over(length));
        return Some((Shape::Leak, basis, Some(to_u64(rise / length * 3600.0))));
    }
    let basis = format!("from {} to {} in {}", size(to_u64(first.bytes)), size(to_u64(reached)), over(length));
    Some((Shape::Unknown, basis, None))
}

/// For how many seconds something holds, each reading until the next.
fn time_where(readings: &[Reading], holds: impl Fn(&Reading) -> bool) -> f64 {
    readings.windows(2).filter(|pair| holds(&pair[0])).map(|pair| pair[1].at - pair[0].at).sum()
}

/// When the minute with the greatest rise ends, and how much it rises in it.
fn steepest(readings: &[Reading]) -> Option<(f64, f64)> {
    let rises = readings.iter().enumerate().map(|(index, end)| {
        let within = readings[..index].iter().rev().take_while(|start| end.at - start.at <= MINUTE);
        let least = within.map(|start| start.bytes).fold(end.bytes, f64::min);
        // Readings further apart than a minute are one step.
        let before = readings[..index].last().filter(|start| end.at - start.at > MINUTE);
        (end.at, end.bytes - before.map_or(least, |start| start.bytes))
    });
    rises.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// What was used at a time, or first after it.
fn level_at(readings: &[Reading], at: f64) -> f64 {
    readings.iter().find(|reading| reading.at >= at).map_or(0.0, |reading| reading.bytes)
}

/// The mean distance from the straight line through the first and the last reading, weighted by time.
fn distance(readings: &[Reading]) -> f64 {
    let ([first, ..], [.., last]) = (readings, readings) else { return 0.0 };
    let length = (last.at - first.at).max(f64::EPSILON);
    let line = |at: f64| first.bytes + (last.bytes - first.bytes) * (at - first.at) / length;
    let apart = |pair: &[Reading]| {
        let mean = f64::midpoint((pair[0].bytes - line(pair[0].at)).abs(), (pair[1].bytes - line(pair[1].at)).abs());
        mean * (pair[1].at - pair[0].at)
    };
    readings.windows(2).map(apart).sum::<f64>() / length
}

fn seconds(ms: u64) -> f64 {
    to_f64(ms) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "exact to the byte below 8 PiB")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0, and bytes of a node")]
fn to_u64(bytes: f64) -> u64 {
    bytes.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    fn of(readings: impl IntoIterator<Item = (i32, f64)>) -> Option<(Shape, String, Option<u64>)> {
        let readings = readings.into_iter().map(|(at, mib)| Reading { at: f64::from(at), bytes: mib * MIB });
        shape(&readings.collect::<Vec<_>>())
    }

    fn name(readings: impl IntoIterator<Item = (i32, f64)>) -> Option<Shape> {
        of(readings).map(|(shape, ..)| shape)
    }

    /// Readings as the recorder keeps them: the closer together the younger.
    fn times(length: i32) -> impl Iterator<Item = i32> {
        (-length..=0).filter(|at| *at >= -20 || *at >= -120 && at % 10 == 0 || at % 60 == 0)
    }

    #[test]
    fn a_steady_rise_is_a_leak_with_its_rate() {
        let (shape, basis, rate) =
            of(times(7200).map(|at| (at, 100.0 + 50.0 * f64::from(at) / 7200.0))).expect("a shape");
        assert_eq!((shape, basis.as_str()), (Shape::Leak, "rose from 50 MiB to 100 MiB in 2 h"));
        assert_eq!(rate.map(|rate| rate / 1_048_576), Some(25));
        // As a garbage collector makes it: it falls back every ten minutes, and rises on the whole.
        let sawtooth = |at: i32| 100.0 + 80.0 * f64::from(at) / 7200.0 + 4.0 * f64::from((at + 7200) % 600) / 600.0;
        assert_eq!(name(times(7200).map(|at| (at, sawtooth(at)))), Some(Shape::Leak));
    }

    #[test]
    fn a_rise_within_a_minute_is_a_spike_whatever_was_before() {
        let spike = |at: i32| if at < -10 { 20.0 } else { 20.0 + 8.0 * f64::from(10 + at) };
        let (shape, basis, _) = of(times(3600).map(|at| (at, spike(at)))).expect("a shape");
        assert_eq!((shape, basis.as_str()), (Shape::Spike, "rose by 80 MiB in 9 s"));
        assert_eq!(name([(-3, 1.0), (-2, 20.0), (-1, 40.0), (0, 64.0)]), Some(Shape::Spike), "right after the start");
    }

    #[test]
    fn a_program_that_works_at_its_limit_is_at_a_plateau() {
        assert_eq!(
            name(times(3600).map(|at| (at, if at < -3500 { 10.0 } else { 97.0 + f64::from(at % 3) }))),
            Some(Shape::Plateau)
        );
    }

    #[test]
    fn a_rise_at_once_that_stays_is_a_step() {
        let step = |at: i32| if at < -1200 { 20.0 } else { 80.0 };
        assert_eq!(name(times(3600).map(|at| (at, step(at)))), Some(Shape::Step));
    }

    #[test]
    fn what_is_none_of_these_is_unknown_and_little_is_nothing() {
        assert_eq!(name(times(600).map(|at| (at, if at / 60 % 2 == 0 { 100.0 } else { 10.0 }))), Some(Shape::Unknown));
        assert_eq!(name([(-1, 1.0), (0, 2.0)]), None);
        assert_eq!(name([]), None);
    }
}
