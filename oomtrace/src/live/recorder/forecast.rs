//! When a cgroup reaches its limit, if it goes on growing as it does.

/// How far back growth counts, in seconds, by readings of every second: what grows fast.
pub(super) const FAST: f64 = 60.0;
/// The same by readings of every ten seconds: what grows slowly.
pub(super) const SLOW: f64 = 1800.0;
/// So much of that time it has to have grown, and so much has to show it by itself.
const LONG: f64 = 0.5;
const RECENT: f64 = 1.0 / 3.0;
/// What takes long to reach its limit has to have been seen for that part of the time, but for no longer than this, in seconds.
const SEEN: f64 = 1.0 / 3.0;
const SEEN_AT_MOST: f64 = 119.0;
/// What was higher in the last minutes by more than this part gives memory back in between.
const FALLS: f64 = 0.02;
/// A rise slows down where its second half is slower than the first by more than this part.
const SLOWS: f64 = 0.2;
/// A rise by less than this part of the limit says nothing.
const LEAST: f64 = 1.0 / 512.0;

/// A rise that goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Growth {
    /// Bytes a second.
    pub(super) rate: f64,
    /// Until the limit is reached.
    pub(super) seconds_left: f64,
}

/// How fast usage grows and when it reaches the limit, by readings with their age in seconds and their bytes, the oldest first;
/// those of the last `window` seconds count. `None` where it does not grow steadily.
pub(super) fn growth(readings: &[(f64, f64)], limit: f64, window: f64) -> Option<Growth> {
    let (_, now) = *readings.last()?;
    let (length, _) = *readings.first()?;
    let within = |seconds: f64| readings.iter().copied().filter(move |(age, _)| *age <= seconds);
    let (oldest, first) = within(window).next()?;
    let rise = now - first;
    let highest = readings.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max);
    if oldest < window * LONG || rise < limit * LEAST || now >= limit || now < highest * (1.0 - FALLS) {
        return None;
    }
    let rate = slope(within(window))?;
    let recently = slope(within(window * RECENT))?;
    let line = |age: f64| now - rate * age;
    let count = within(window).count().max(1);
    #[expect(clippy::cast_precision_loss, reason = "some hundred readings")]
    let apart = within(window).map(|(age, bytes)| (bytes - line(age)).abs()).sum::<f64>() / count as f64;
    let steady = rate > 0.0 && recently >= rate / 2.0 && apart <= rise / 4.0;
    let seconds_left = (limit - now) / rate;
    let ends_below = ends(readings).is_some_and(|more| now + more < limit);
    let is_seen = length >= (seconds_left * SEEN).min(SEEN_AT_MOST);
    (steady && is_seen && !ends_below).then_some(Growth { rate, seconds_left })
}

/// How much more a rise that slows down has before it, in bytes: as a cache that fills or a program that warms up, each second
/// less than the one before by the same share.
fn ends(readings: &[(f64, f64)]) -> Option<f64> {
    let (length, _) = *readings.first()?;
    let (early, late) = readings.split_at(readings.len() / 2);
    let (before, after) = (slope(early.iter().copied())?, slope(late.iter().copied())?);
    let slows = before > 0.0 && after > 0.0 && after < before * (1.0 - SLOWS);
    slows.then(|| {
        let time_constant = length / 2.0 / (before / after).ln();
        // The slope of a half is that of its middle: a quarter of the time was since.
        after * (-length / 4.0 / time_constant).exp() * time_constant
    })
}

/// By least squares, bytes a second.
fn slope(readings: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let (count, ages, bytes) = readings
        .clone()
        .fold((0.0, 0.0, 0.0), |(count, ages, all), (age, bytes)| (count + 1.0, ages + age, all + bytes));
    if count < 3.0 {
        return None;
    }
    let (mean_age, mean) = (ages / count, bytes / count);
    let (above, below) = readings.fold((0.0, 0.0), |(above, below), (age, bytes)| {
        (above + (mean_age - age) * (bytes - mean), below + (mean_age - age) * (mean_age - age))
    });
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    fn of(seconds: u32, used: impl Fn(f64) -> f64) -> Option<Growth> {
        let readings: Vec<_> = (0..=seconds).rev().map(|age| (f64::from(age), used(f64::from(age)) * MIB)).collect();
        growth(&readings, 100.0 * MIB, FAST)
    }

    #[test]
    fn a_steady_rise_reaches_its_limit_when_it_is_expected_to() {
        let seconds = |used: &dyn Fn(f64) -> f64| of(120, used).map(|growth| growth.seconds_left.round());
        assert_eq!(seconds(&|age| 80.0 - age / 10.0), Some(200.0));
        assert_eq!(seconds(&|age| 90.0 - age / 100.0), Some(1000.0), "36 MiB an hour");
        let slowly: Vec<_> =
            (0..180).rev().map(|nth| f64::from(nth) * 10.0).map(|age| (age, (98.0 - age / 1000.0) * MIB)).collect();
        let left = growth(&slowly, 100.0 * MIB, SLOW).map(|growth| growth.seconds_left.round());
        assert_eq!(left, Some(2000.0), "3.6 MiB an hour");
        // As a garbage collector makes it.
        let sawtooth = seconds(&|age| 80.0 - age / 10.0 + (120.0 - age) % 5.0 / 5.0);
        assert!(sawtooth.is_some_and(|left| (150.0..=250.0).contains(&left)), "{sawtooth:?}");
    }

    #[test]
    fn what_slows_down_goes_as_far_as_it_slows() {
        let warms_up_to = |most: f64| of(120, move |age| most * (1.0 - (-(150.0 - age) / 100.0).exp()));
        assert_eq!(warms_up_to(95.0), None, "it ends below the limit");
        assert!(warms_up_to(120.0).is_some(), "it does not");
    }

    #[test]
    fn what_does_not_grow_steadily_or_long_enough_reaches_nothing() {
        assert_eq!(of(120, |_| 80.0), None, "level");
        assert_eq!(of(120, |age| 20.0 + age / 10.0), None, "it falls");
        assert_eq!(of(20, |age| 80.0 - age), None, "only 20 s");
        assert_eq!(of(120, |age| if age > 40.0 { 20.0 } else { 80.0 }), None, "it rose at once, and stays");
        assert_eq!(of(120, |age| if age > 20.0 { 80.0 - (age - 20.0) / 10.0 } else { 80.0 }), None, "it has stopped");
        assert_eq!(of(120, |age| if age % 20.0 < 10.0 { 20.0 } else { 80.0 }), None, "up and down");
        assert_eq!(growth(&[], 1.0, FAST), None);
    }
}
