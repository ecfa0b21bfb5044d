//! Whether a cgroup is on its way to its limit.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    forecast::{FAST, SLOW, growth},
    track::Track,
};
use crate::{event::LimitAhead, node::hierarchy::Hierarchy};

/// How soon a limit has to be reached to be reported, by how fast it is approached.
const HORIZON: [Duration; 2] = [Duration::from_mins(10), Duration::from_mins(20)];
/// Over how long what cannot be written back has to be seen to grow, likewise.
const HELD: [Duration; 2] = [Duration::from_secs(5), Duration::from_mins(5)];
/// How often in a row there has to be no growth for it to be withdrawn: at least, and where it was to take longer, by a look for so
/// many seconds.
const QUIET: u32 = 3;
const QUIET_SECONDS: f64 = 20.0;
/// What is so near to its limit has reached it, as the kernel gives memory back there.
const REACHED: f64 = 0.95;
/// A rise has to be so much above the highest use of the last day before it is news: below, it has turned back before, as a
/// garbage collector and a cache make it.
const ABOVE: f64 = 1.05;
/// What is younger than this, in seconds, has to be so near to its limit: nobody knows yet what is usual for it.
const YOUNG: u64 = 600;
const NEAR: f64 = 0.85;

/// What is read of a cgroup that grows, and of no other.
pub(super) trait Grows {
    /// Its limit, in bytes; `None` where it has none.
    fn limit(&self) -> Option<u64>;
    /// What of its memory is no page cache that could be given back, in bytes.
    fn held(&self) -> Option<u64>;
    /// The highest use of some minutes to a day ago, in bytes.
    fn highest(&self) -> Option<f64>;
    /// Since when it is known, in seconds.
    fn age(&self) -> u64;
    /// What was used in the last two minutes, each second, and in the last half hour, each ten: ages in seconds, and bytes.
    fn readings(&self) -> [Vec<(f64, f64)>; 2];
}

/// What has a limit, and memory that cannot be given back.
pub(super) trait Limited {
    /// See [`Grows::limit`].
    fn limit(&self) -> Option<u64>;
    /// See [`Grows::held`].
    fn held(&self) -> Option<u64>;
}

/// A cgroup by its files.
pub(super) struct CgroupFiles<'a> {
    pub(super) hierarchy: &'a Hierarchy,
    pub(super) path: &'a str,
}

impl Limited for CgroupFiles<'_> {
    fn limit(&self) -> Option<u64> {
        limit(self.hierarchy, self.path)
    }

    fn held(&self) -> Option<u64> {
        held(self.hierarchy, self.path)
    }
}

/// Something that is limited, and what is recorded of it.
pub(super) struct Recorded<'a, L> {
    pub(super) of: L,
    pub(super) track: &'a Track,
}

impl<L: Limited> Grows for Recorded<'_, L> {
    fn limit(&self) -> Option<u64> {
        self.of.limit()
    }

    fn held(&self) -> Option<u64> {
        self.of.held()
    }

    fn highest(&self) -> Option<f64> {
        self.track.highest_before().map(to_f64)
    }

    fn age(&self) -> u64 {
        self.track.seconds()
    }

    fn readings(&self) -> [Vec<(f64, f64)>; 2] {
        [self.track.last_minutes(), self.track.last_half_hour()]
    }
}

/// Whether a cgroup is on its way to its limit.
#[derive(Debug, Default)]
pub(super) struct Approach {
    /// What could not be written back while it was seen to grow, the latest last: over [`HELD`] at most.
    held: VecDeque<(Instant, u64)>,
    said: Option<Said>,
}

/// That a limit will be reached.
#[derive(Debug)]
struct Said {
    limit: u64,
    /// The highest use since, and how often in a row it was not exceeded.
    highest: f64,
    quiet: u32,
    /// How often that may be.
    patience: u32,
}

impl Approach {
    /// Whether a cgroup will reach its limit, or will not after all, if that is news.
    pub(super) fn look(&mut self, cgroup: &impl Grows, now: Instant) -> Option<LimitAhead> {
        let readings = cgroup.readings();
        let usage = readings[0].last().map(|(_, bytes)| *bytes)?;
        if let Some(said) = &mut self.said {
            let withdrawn = said.look(usage)?;
            *self = Self::default();
            return withdrawn;
        }
        // Most cgroups are at rest: nothing of theirs is read.
        let rises = |readings: &[(f64, f64)]| readings.first().is_some_and(|(_, first)| *first < usage);
        let limit = if readings.iter().any(|readings| rises(readings)) { cgroup.limit() } else { None };
        let grows = limit.and_then(|limit| {
            let by = |speed: usize, window| {
                let growth = growth(&readings[speed], to_f64(limit), window)?;
                (growth.seconds_left <= HORIZON[speed].as_secs_f64()).then_some((limit, speed, growth))
            };
            by(0, FAST).or_else(|| by(1, SLOW))
        });
        let Some((limit, speed, growth)) = grows else {
            self.held.clear();
            return None;
        };
        let held = cgroup.held()?;
        self.held.push_back((now, held));
        while self.held.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= HELD[1]) {
            self.held.pop_front();
        }
        let (then, before) = *self.held.iter().rev().find(|(at, _)| now.duration_since(*at) >= HELD[speed])?;
        let rate = (to_f64(held) - to_f64(before)) / now.duration_since(then).as_secs_f64();
        let seconds_left = (to_f64(limit) - to_f64(held)) / rate;
        if rate < growth.rate / 2.0 || seconds_left > HORIZON[speed].as_secs_f64() || !is_news(cgroup, usage, limit) {
            return None;
        }
        let patience = QUIET.max(to_u32(seconds_left / QUIET_SECONDS));
        self.said = Some(Said { limit, highest: usage, quiet: 0, patience });
        Some(LimitAhead {
            usage_bytes: Some(to_u64(usage)),
            limit_bytes: Some(limit),
            growth_bytes_per_hour: Some(to_u64(rate * 3600.0)),
            seconds_left: Some(to_u64(seconds_left)),
            ..LimitAhead::default()
        })
    }
}

/// Whether a rise is more than what is usual for a cgroup.
fn is_news(cgroup: &impl Grows, usage: f64, limit: u64) -> bool {
    let limit = to_f64(limit);
    if cgroup.age() < YOUNG && usage < limit * NEAR {
        return false;
    }
    // Where it came so near before that the limit was reached, it may well be again.
    cgroup.highest().filter(|highest| *highest < limit * REACHED).is_none_or(|highest| usage >= highest * ABOVE)
}

impl Said {
    /// Whether it is over, and if so whether it did not come true.
    #[expect(clippy::option_option, reason = "whether it is over, and what is to be reported then")]
    fn look(&mut self, usage: f64) -> Option<Option<LimitAhead>> {
        if usage > self.highest {
            (self.highest, self.quiet) = (usage, 0);
            return None;
        }
        self.quiet += 1;
        let came_true = self.highest >= to_f64(self.limit) * REACHED;
        if !came_true && self.quiet < self.patience {
            return None;
        }
        Some((!came_true).then(|| LimitAhead {
            usage_bytes: Some(to_u64(usage)),
            limit_bytes: Some(self.limit),
            withdrawn: true,
            ..LimitAhead::default()
        }))
    }
}

/// A cgroup's limit, in bytes; `None` where it has none.
pub(super) fn limit(hierarchy: &Hierarchy, path: &str) -> Option<u64> {
    let file = if hierarchy.version() == 1 { "memory.limit_in_bytes" } else { "memory.max" };
    let text = hierarchy.read(path, file).ok().flatten()?;
    // v1 has the highest number of pages where there is none.
    text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

/// What of a cgroup's memory is no page cache that could be given back, in bytes.
fn held(hierarchy: &Hierarchy, path: &str) -> Option<u64> {
    let stat = hierarchy.read(path, "memory.stat").ok().flatten()?;
    let names: &[&str] =
        if hierarchy.version() == 1 { &["total_rss", "total_shmem"] } else { &["anon", "shmem", "kernel"] };
    let values = stat.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        names.contains(&name).then(|| value.trim().parse::<u64>().ok())?
    });
    Some(values.sum())
}

#[expect(clippy::cast_precision_loss, reason = "exact to the byte below 8 PiB")]
pub(super) fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0, and some minutes")]
fn to_u32(number: f64) -> u32 {
    number.max(0.0) as u32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0, and bytes of a node")]
fn to_u64(number: f64) -> u64 {
    number.max(0.0) as u64
}
