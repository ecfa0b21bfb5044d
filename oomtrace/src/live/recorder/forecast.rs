//! When a cgroup reaches its limit, if it goes on growing as it does.

/// It has to have grown for so long, in seconds.
const LONG: f64 = 30.0;
/// The growth of so many seconds counts.
const WINDOW: f64 = 60.0;
/// Of these, so many have to show it by themselves.
const RECENT: f64 = 20.0;
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

/// How fast usage grows and when it reaches the limit, by readings with their age in seconds and their bytes, the oldest first.
/// `None` where it does not grow steadily.
pub(super) fn growth(readings: &[(f64, f64)], limit: f64) -> Option<Growth> {
    let (_, now) = *readings.last()?;
    let within = |seconds: f64| readings.iter().copied().filter(move |(age, _)| *age <= seconds);
    let (oldest, first) = within(WINDOW).next()?;
    let rise = now - first;
    if oldest < LONG || rise < limit * LEAST || now >= limit {
        return None;
    }
    let rate = slope(within(WINDOW))?;
    let recently = slope(within(RECENT))?;
    let line = |age: f64| now - rate * age;
    let count = within(WINDOW).count().max(1);
    #[expect(clippy::cast_precision_loss, reason = "two minutes of readings")]
    let apart = within(WINDOW).map(|(age, bytes)| (bytes - line(age)).abs()).sum::<f64>() / count as f64;
    let steady = rate > 0.0 && recently >= rate / 2.0 && apart <= rise / 4.0;
    steady.then(|| Growth { rate, seconds_left: (limit - now) / rate })
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
        growth(&readings, 100.0 * MIB)
    }

    #[test]
    fn a_steady_rise_reaches_its_limit_when_it_is_expected_to() {
        let seconds = |used: &dyn Fn(f64) -> f64| of(120, used).map(|growth| growth.seconds_left.round());
        assert_eq!(seconds(&|age| 80.0 - age / 10.0), Some(200.0));
        assert_eq!(seconds(&|age| 90.0 - age / 100.0), Some(1000.0), "36 MiB an hour");
        // As a garbage collector makes it.
        let sawtooth = seconds(&|age| 80.0 - age / 10.0 + (120.0 - age) % 5.0 / 5.0);
        assert!(sawtooth.is_some_and(|left| (150.0..=250.0).contains(&left)), "{sawtooth:?}");
    }

    #[test]
    fn what_does_not_grow_steadily_or_long_enough_reaches_nothing() {
        assert_eq!(of(120, |_| 80.0), None, "level");
        assert_eq!(of(120, |age| 20.0 + age / 10.0), None, "it falls");
        assert_eq!(of(20, |age| 80.0 - age), None, "only 20 s");
        assert_eq!(of(120, |age| if age > 40.0 { 20.0 } else { 80.0 }), None, "it rose at once, and stays");
        assert_eq!(of(120, |age| if age > 20.0 { 80.0 - (age - 20.0) / 10.0 } else { 80.0 }), None, "it has stopped");
        assert_eq!(of(120, |age| if age % 20.0 < 10.0 { 20.0 } else { 80.0 }), None, "up and down");
        assert_eq!(growth(&[], 1.0), None);
    }
}
