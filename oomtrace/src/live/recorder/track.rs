//! One cgroup's readings, the finer the younger.

use std::{collections::VecDeque, fs::File, time::Instant};

use super::approach::Approach;

/// After how many readings one is kept, and how many of these there are.
pub(super) const TIERS: [(u64, usize); 3] = [(1, 120), (10, 180), (60, 1440)];
/// Readings that are given for one event.
const MOST: usize = 64;
/// What is counted of memory: a page.
pub(super) const UNIT: u64 = 4096;
/// A part of usage, by which it has moved: a thirty-second.
const MOVED: u64 = 32;

/// What memory was at one time, in units of [`UNIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// [`Reading::NONE`] where nothing was read.
    pub(super) usage: u32,
    pub(super) anon: u32,
}

impl Reading {
    pub(super) const NONE: u32 = u32::MAX;
    pub(super) const MISSING: Self = Self { usage: Self::NONE, anon: Self::NONE };

    pub(super) fn units(bytes: u64) -> u32 {
        u32::try_from(bytes / UNIT).unwrap_or(Self::NONE - 1).min(Self::NONE - 1)
    }

    pub(super) fn bytes(units: u32) -> Option<u64> {
        (units != Self::NONE).then(|| u64::from(units) * UNIT)
    }

    /// The higher of two.
    fn max(self, other: Self) -> Self {
        match (self.usage, other.usage) {
            (Self::NONE, _) => other,
            (_, Self::NONE) => self,
            (one, another) => {
                if one >= another {
                    self
                } else {
                    other
                }
            }
        }
    }
}

/// A cgroup's readings.
#[derive(Debug)]
pub(super) struct Track {
    /// `memory.current`; of the node none.
    pub(super) usage: Option<File>,
    /// The cgroup's id, to know it by when it goes.
    pub(super) id: u64,
    /// By [`TIERS`], the oldest first.
    tiers: [VecDeque<Reading>; 3],
    /// The anon that was read last, and what usage was then.
    pub(super) anon: Option<(u64, u64)>,
    /// Readings so far, and when the last was made.
    count: u64,
    pub(super) read: Option<Instant>,
    /// Since when it has gone.
    pub(super) gone: Option<Instant>,
    pub(super) approach: Approach,
}

impl Track {
    pub(super) fn new(id: u64, usage: Option<File>) -> Self {
        Self {
            usage,
            id,
            tiers: Default::default(),
            anon: None,
            count: 0,
            read: None,
            gone: None,
            approach: Approach::default(),
        }
    }

    /// What it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.tiers.iter().map(|tier| tier.capacity() * size_of::<Reading>()).sum::<usize>()
    }

    pub(super) fn push(&mut self, reading: Reading, now: Instant) {
        self.read = Some(now);
        self.count += 1;
        for (index, (every, most)) in TIERS.into_iter().enumerate() {
            if !self.count.is_multiple_of(every) {
                break;
            }
            let reading = match index.checked_sub(1) {
                None => reading,
                Some(finer) => {
                    let of_one = usize::try_from(every / TIERS[finer].0).unwrap_or(1);
                    self.tiers[finer].iter().rev().take(of_one).copied().fold(Reading::MISSING, Reading::max)
                }
            };
            let tier = &mut self.tiers[index];
            if tier.len() == most {
                tier.pop_front();
            } else if tier.len() == tier.capacity() {
                // By itself it would take up to twice what it may have.
                tier.reserve_exact(tier.len().max(8).min(most - tier.len()));
            }
            tier.push_back(reading);
        }
    }

    /// Whether usage has moved since anon was read.
    pub(super) fn has_moved(&self, usage: u64) -> bool {
        self.anon.is_none_or(|(_, then)| usage.abs_diff(then) > usage / MOVED)
    }

    /// The readings of every second, with their ages in seconds and their bytes, the oldest first.
    pub(super) fn last_minutes(&self) -> Vec<(f64, f64)> {
        let aged = (0..self.tiers[0].len()).rev().zip(&self.tiers[0]);
        let read = aged.filter_map(|(age, reading)| {
            Some((f64::from(u32::try_from(age).ok()?), super::approach::to_f64(Reading::bytes(reading.usage)?)))
        });
        read.collect()
    }

    /// The highest of every ten seconds of the last half hour, as [`Self::last_minutes`].
    pub(super) fn last_half_hour(&self) -> Vec<(f64, f64)> {
        let (every, tier) = (TIERS[1].0, &self.tiers[1]);
        let since = self.count % every;
        let aged = (0..tier.len()).rev().zip(tier);
        let read = aged.filter_map(|(nth, reading)| {
            let age = since + u64::try_from(nth).ok()? * every;
            Some((super::approach::to_f64(age), super::approach::to_f64(Reading::bytes(reading.usage)?)))
        });
        read.collect()
    }

    /// Since when it is recorded, in seconds.
    pub(super) fn seconds(&self) -> u64 {
        self.count
    }

    /// The highest use of the last day but for the last minutes, in bytes.
    pub(super) fn highest_before(&self) -> Option<u64> {
        let aged = self.aged();
        let before = aged.iter().filter(|(age, _)| *age > TIERS[0].1 as u64);
        before.filter_map(|(_, reading)| Reading::bytes(reading.usage)).max()
    }

    /// All readings with how old they were when the last was made, in seconds; the oldest first.
    pub(super) fn aged(&self) -> Vec<(u64, Reading)> {
        let mut all = Vec::new();
        // What a finer tier has of the same time is better.
        let mut until = u64::MAX;
        for (index, (every, _)) in TIERS.into_iter().enumerate().rev() {
            let since_last = self.count % every;
            let tier = &self.tiers[index];
            let finer = index.checked_sub(1).map_or(0, |finer| TIERS[finer].0 * self.tiers[finer].len() as u64);
            let aged = tier.iter().rev().zip(0..).map(|(reading, nth)| (since_last + nth * every, *reading));
            let older: Vec<_> = aged.filter(|(age, _)| *age >= finer && *age < until).collect();
            until = finer;
            all.extend(older.into_iter().rev());
        }
        all.retain(|(_, reading)| reading.usage != Reading::NONE);
        all
    }

    /// At most [`MOST`] of all readings, with their ages.
    pub(super) fn thinned(&self) -> Vec<(u64, Reading)> {
        thinned(&self.aged())
    }
}

/// At most [`MOST`] readings, of several for one the highest, evenly by the logarithm of their age.
fn thinned(readings: &[(u64, Reading)]) -> Vec<(u64, Reading)> {
    let oldest = readings.first().map_or(0, |(age, _)| *age);
    if readings.len() <= MOST {
        return readings.to_vec();
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a day at most"
    )]
    let bucket = |age: u64| ((age as f64).ln_1p() / (oldest as f64).ln_1p() * (MOST - 1) as f64) as usize;
    let mut kept: Vec<(u64, Reading)> = Vec::with_capacity(MOST);
    let mut of_last = None;
    for (age, reading) in readings {
        let of_this = Some(bucket(*age));
        match kept.last_mut().filter(|_| of_last == of_this) {
            Some((last, highest)) => {
                if highest.max(*reading) == *reading {
                    (*last, *highest) = (*age, *reading);
                }
            }
            None => kept.push((*age, *reading)),
        }
        of_last = of_this;
    }
    kept
}
