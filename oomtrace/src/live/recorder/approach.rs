//! Whether a cgroup is on its way to its limit.

use std::time::{Duration, Instant};

use super::forecast::growth;
use crate::{event::LimitAhead, node::hierarchy::Hierarchy};

/// How soon a limit has to be reached to be said.
const HORIZON: Duration = Duration::from_mins(10);
/// How often in a row there has to be no growth for it to be withdrawn.
const QUIET: u32 = 3;
/// What is so near to its limit has reached it, as the kernel gives memory back there.
const REACHED: f64 = 0.95;

/// Whether a cgroup is on its way to its limit.
#[derive(Debug, Default)]
pub(super) struct Approach {
    /// What could not be written back when it was seen to grow last, and when that was.
    held: Option<(Instant, u64)>,
    /// It was said, with this limit.
    said: Option<u64>,
    /// How often in a row it did not grow since.
    quiet: u32,
}

impl Approach {
    /// It does not grow now: whether what was said is to be withdrawn.
    fn does_not_grow(&mut self, usage: f64) -> Option<LimitAhead> {
        self.held = None;
        let said = self.said?;
        self.quiet += 1;
        let came_true = usage >= to_f64(said) * REACHED;
        if !came_true && self.quiet < QUIET {
            return None;
        }
        *self = Self::default();
        (!came_true).then(|| LimitAhead {
            usage_bytes: Some(to_u64(usage)),
            limit_bytes: Some(said),
            withdrawn: true,
            ..LimitAhead::default()
        })
    }

    /// Whether a cgroup will reach its limit, or will not after all, if that is news. `readings` are those of the last minutes, with
    /// their ages in seconds and their bytes.
    pub(super) fn look(
        &mut self,
        hierarchy: &Hierarchy,
        path: &str,
        readings: &[(f64, f64)],
        now: Instant,
    ) -> Option<LimitAhead> {
        let usage = readings.last().map(|(_, bytes)| *bytes)?;
        // Most cgroups are at rest: nothing of theirs is read.
        let rises = readings.first().is_some_and(|(_, first)| *first < usage);
        let limit = if rises { limit(hierarchy, path) } else { None };
        let grows = limit.and_then(|limit| Some((limit, growth(readings, to_f64(limit))?)));
        let Some((limit, growth)) = grows.filter(|(_, growth)| growth.seconds_left <= HORIZON.as_secs_f64()) else {
            return self.does_not_grow(usage);
        };
        self.quiet = 0;
        let held = held(hierarchy, path)?;
        let (then, before) = self.held.replace((now, held))?;
        let rate = (to_f64(held) - to_f64(before)) / now.duration_since(then).as_secs_f64().max(1.0);
        let seconds_left = (to_f64(limit) - to_f64(held)) / rate;
        if self.said.is_some() || rate < growth.rate / 2.0 || seconds_left > HORIZON.as_secs_f64() {
            return None;
        }
        self.said = Some(limit);
        Some(LimitAhead {
            usage_bytes: Some(to_u64(usage)),
            limit_bytes: Some(limit),
            growth_bytes_per_hour: Some(to_u64(rate * 3600.0)),
            seconds_left: Some(to_u64(seconds_left)),
            ..LimitAhead::default()
        })
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0, and bytes of a node")]
fn to_u64(number: f64) -> u64 {
    number.max(0.0) as u64
}
