//! The flight recorder: what memory was, of each container, pod, `QoS` class, of all pods and of the node.
//!
//! Usage is read every second, which costs a system call for each cgroup. It is kept every second for the last two minutes, every
//! ten seconds for half an hour, and every minute for a day, each time the highest. What processes hold (`anon`) makes the kernel
//! add up its counters, so it is read every ten seconds, and only where usage has moved since.
//!
//! From the last two minutes' readings follows when a limit will be reached ([`forecast`]). As page cache gives way, that is only
//! reported where what cannot be written back grows as well, by two readings ten seconds apart; and as garbage collectors and
//! caches rise again and again, only above what was used before, in the last day, without reaching the limit.

mod approach;
mod forecast;
#[cfg(test)]
mod made_load;
mod node;
#[cfg(test)]
mod tests;
mod track;

use std::{
    cmp::Reverse,
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use self::{
    approach::{CgroupFiles, Recorded, limit},
    node::Node,
    track::{Reading, TIERS, Track},
};
use crate::{
    event::{Cgroup, EarlierReading, GrownPod, Level, LimitAhead},
    node::{
        cgroup_path::CgroupIdentity,
        fact::Fact,
        hierarchy::Hierarchy,
        names::{Host, cgroups},
    },
};

/// How often usage is read.
const EVERY: Duration = Duration::from_secs(1);
/// How often the hierarchy is searched for cgroups that were not seen when they were made.
const SEARCH_EVERY: u64 = 60;
/// How often what processes hold is read, and whether a limit will be reached is looked at, in readings.
const LOOK_EVERY: u64 = 10;
/// How far back growth counts that explains a kill of the whole node.
const GROWTH: Duration = Duration::from_mins(5);
/// How many pods that grew are named, and what part of their use they have to have grown by: a sixty-fourth.
const GROWN: usize = 5;
const NOTED: u64 = 64;

/// Readings of all cgroups.
pub struct Recorder {
    hierarchy: Hierarchy,
    node: Node,
    tracks: HashMap<String, Track>,
    paths: HashMap<u64, String>,
    /// The most that all readings may take, in bytes.
    most: usize,
    /// How long a cgroup's readings are kept when it has gone.
    keep: Duration,
    last: Option<Instant>,
    ticks: u64,
    /// Cgroups that were made and removed since.
    pending: Vec<Fact>,
    /// Cgroups that there was no room for.
    left_out: u64,
    /// The last file that could not be opened.
    unopened: Option<String>,
}

impl Recorder {
    /// Records what is below the root of `hierarchy` and the node at `host`, within `most` bytes; what has gone for as long as
    /// `keep`.
    #[must_use]
    pub fn new(hierarchy: Hierarchy, host: Host, most: usize, keep: Duration) -> Self {
        let mut recorder = Self {
            hierarchy,
            node: Node::new(host),
            tracks: HashMap::new(),
            paths: HashMap::new(),
            most,
            keep,
            last: None,
            ticks: 0,
            pending: Vec::new(),
            left_out: 0,
            unopened: None,
        };
        recorder.tracks.insert(String::new(), Track::new(0, None));
        recorder
    }

    /// Of whom there is no history, and why.
    pub(super) fn degraded(&self) -> Option<String> {
        if let Some(unopened) = &self.unopened {
            return Some(format!(
                "no history of memory of some cgroups ({unopened}): raise the limit on open files (LimitNOFILE=, ulimit -n)"
            ));
        }
        (self.left_out > 0).then(|| {
            format!(
                "no history of memory of {} cgroups, as there is no room for it: raise --history-memory (and oomtrace's own \
                 memory limit)",
                self.left_out
            )
        })
    }

    /// Takes in which cgroups were made and removed. Their files are opened with the next reading: now, names come first.
    pub(super) fn learn(&mut self, facts: &[Fact]) {
        let of_cgroups = facts.iter().filter(|fact| matches!(fact, Fact::Cgroup { .. } | Fact::CgroupGone { .. }));
        self.pending.extend(of_cgroups.cloned());
    }

    fn take_in(&mut self, facts: &[Fact], now: Instant) {
        let mut size = self.size();
        for fact in facts {
            match fact {
                Fact::Cgroup { id, path } => size += self.add(*id, path, size),
                Fact::CgroupGone { id } => {
                    let path = self.paths.remove(id);
                    if let Some(track) = path.and_then(|path| self.tracks.get_mut(&path)) {
                        (track.usage, track.gone) = (None, Some(now));
                    }
                }
                _ => {}
            }
        }
    }

    /// Records a cgroup, if there is room beside what takes `size` bytes now; gives what it takes in addition.
    fn add(&mut self, id: u64, path: &str, size: usize) -> usize {
        let is_known = self.tracks.get(path).is_some_and(|known| known.id == id && known.gone.is_none());
        if is_known || !self.is_recorded(path) {
            return 0;
        }
        // The node's is always there.
        if size > self.most && self.tracks.len() > 1 {
            self.left_out += 1;
            return 0;
        }
        let file = match self.hierarchy.version() {
            1 => "memory.usage_in_bytes",
            _ => "memory.current",
        };
        let usage = match self.hierarchy.folder(path).map(|folder| File::open(folder.join(file))) {
            Some(Ok(usage)) => usage,
            // It has gone already.
            None => return 0,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return 0,
            Some(Err(error)) => {
                self.unopened = Some(format!("{file} of {path}: {error}"));
                return 0;
            }
        };
        let track = Track::new(id, Some(usage));
        let takes = size_with_path(path, &track);
        self.paths.insert(id, path.to_owned());
        self.tracks.insert(path.to_owned(), track);
        takes
    }

    /// What Kubernetes knows, and what else has a limit.
    fn is_recorded(&self, path: &str) -> bool {
        let CgroupIdentity { level, nested, .. } = CgroupIdentity::parse(path);
        match level {
            Level::Container | Level::Pod | Level::Qos | Level::Kubepods => nested.is_none(),
            Level::Node | Level::Other => limit(&self.hierarchy, path).is_some(),
        }
    }

    fn size(&self) -> usize {
        self.tracks.iter().map(|(path, track)| size_with_path(path, track)).sum()
    }

    /// Reads usage, if a second has passed. Gives the limits that will be reached, or will not after all.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<LimitAhead> {
        let passed = self.last.map_or(EVERY, |last| now.duration_since(last));
        if passed < EVERY {
            return Vec::new();
        }
        // As many as were missed, held up as oomtrace may be.
        let missed = usize::try_from(passed.as_secs()).unwrap_or(usize::MAX).saturating_sub(1).min(TIERS[0].1);
        self.last = Some(now);
        let pending = std::mem::take(&mut self.pending);
        self.take_in(&pending, now);
        if self.ticks.is_multiple_of(SEARCH_EVERY) {
            // Those are found again.
            (self.left_out, self.unopened) = (0, None);
            let found = cgroups::walk(self.hierarchy.root());
            self.take_in(&found, now);
            self.make_room(now);
        }
        let reads_anon = self.ticks.is_multiple_of(LOOK_EVERY);
        self.ticks += 1;
        let hierarchy = &self.hierarchy;
        for (path, track) in self.tracks.iter_mut().filter(|(_, track)| track.gone.is_none()) {
            for _ in 0..missed {
                track.push(Reading::MISSING, now);
            }
            let usage = if path.is_empty() { self.node.usage() } else { usage(track) };
            let Some(usage) = usage else {
                // It went, and nothing said so.
                (track.usage, track.gone) = (None, Some(now));
                continue;
            };
            if reads_anon && track.has_moved(usage) {
                track.anon = anon(hierarchy, path).map(|anon| (anon, usage));
            }
            let anon = track.anon.map_or(Reading::NONE, |(anon, _)| Reading::units(anon));
            track.push(Reading { usage: Reading::units(usage), anon }, now);
        }
        if self.ticks.is_multiple_of(LOOK_EVERY) { self.look_ahead(now) } else { Vec::new() }
    }

    /// Which limits will be reached, or will not after all: the innermost, where several are.
    fn look_ahead(&mut self, now: Instant) -> Vec<LimitAhead> {
        self.node.read_settings(now);
        let Self { hierarchy, node, tracks, .. } = self;
        let tracks = tracks.iter_mut().filter(|(_, track)| track.gone.is_none());
        let ahead: Vec<(&str, u64, LimitAhead)> = tracks
            .filter_map(|(path, track)| {
                let mut approach = std::mem::take(&mut track.approach);
                let ahead = if path.is_empty() {
                    approach.look(&Recorded { of: &*node, track }, now)
                } else {
                    approach.look(&Recorded { of: CgroupFiles { hierarchy, path }, track }, now)
                };
                track.approach = approach;
                Some((path.as_str(), track.id, ahead?))
            })
            .collect();
        let is_above = |path: &str, inner: &str| inner.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let innermost = ahead.iter().filter(|(path, ..)| !ahead.iter().any(|(inner, ..)| is_above(path, inner)));
        let placed = innermost.map(|(path, id, ahead)| {
            if path.is_empty() {
                let eviction_threshold_bytes = self.node.threshold();
                return LimitAhead { level: Some(Level::Node), eviction_threshold_bytes, ..ahead.clone() };
            }
            let identity = CgroupIdentity::parse(path);
            LimitAhead {
                pod: identity.pod(),
                container: identity.container(),
                level: Some(identity.level),
                cgroup: Some(Cgroup { path: Some((*path).to_owned()), id: Some(*id), unit: identity.unit }),
                ..ahead.clone()
            }
        });
        placed.collect()
    }

    /// Lets go of what has been gone for long, and of more where there is no room.
    fn make_room(&mut self, now: Instant) {
        self.tracks.retain(|_, track| track.gone.is_none_or(|gone| now.duration_since(gone) < self.keep));
        let mut gone: Vec<(Instant, String)> =
            self.tracks.iter().filter_map(|(path, track)| Some((track.gone?, path.clone()))).collect();
        gone.sort();
        let mut size = self.size();
        for (_, path) in gone {
            if size <= self.most {
                break;
            }
            if let Some(track) = self.tracks.remove(&path) {
                size -= size_with_path(&path, &track).min(size);
            }
        }
        let tracks = &self.tracks;
        self.paths.retain(|_, path| tracks.contains_key(path));
    }

    /// What memory of a cgroup, or of the node where the path is empty, was before now: the closer together the younger.
    pub(super) fn before(&self, path: &str, now: Instant) -> Vec<EarlierReading> {
        let Some((track, read)) = self.tracks.get(path).and_then(|track| Some((track, track.read?))) else {
            return Vec::new();
        };
        let ms = u64::try_from(now.saturating_duration_since(read).as_millis()).unwrap_or(u64::MAX);
        let earlier = track.thinned().into_iter().filter_map(|(age, reading)| {
            Some(EarlierReading {
                age_ms: ms + age * 1000,
                usage_bytes: Reading::bytes(reading.usage)?,
                anon_bytes: Reading::bytes(reading.anon),
            })
        });
        earlier.collect()
    }

    /// The pods below a cgroup, or of the node where the path is empty, that grew most in the last minutes, the most first.
    pub(super) fn grown(&self, path: &str, now: Instant) -> Vec<GrownPod> {
        let below = |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let tracks = self.tracks.iter().filter(|(other, _)| below(other));
        let pods = tracks.filter_map(|(path, track)| {
            let identity = CgroupIdentity::parse(path);
            if identity.level != Level::Pod || identity.nested.is_some() {
                return None;
            }
            let read = now.saturating_duration_since(track.read?);
            let recent = track.aged().into_iter().filter_map(|(age, reading)| {
                let age = read + Duration::from_secs(age);
                (age <= GROWTH).then_some((age, Reading::bytes(reading.usage)?))
            });
            let recent: Vec<_> = recent.collect();
            let ((before, first), (_, last)) = (recent.first()?, recent.last()?);
            let grown_bytes = last.checked_sub(*first).filter(|grown| *grown > last / NOTED)?;
            let over_ms = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
            Some(GrownPod { pod: identity.pod(), usage_bytes: *last, grown_bytes, over_ms })
        });
        let mut pods: Vec<_> = pods.collect();
        pods.sort_by_key(|pod| Reverse(pod.grown_bytes));
        pods.truncate(GROWN);
        pods
    }
}

/// What a cgroup's readings take, in bytes, with its path, which is there twice.
fn size_with_path(path: &str, track: &Track) -> usize {
    2 * path.len() + track.size()
}

/// What is used now, in bytes; `None` of a cgroup that has gone.
fn usage(track: &Track) -> Option<u64> {
    let mut text = [0; 32];
    let len = track.usage.as_ref()?.read_at(&mut text, 0).ok()?;
    str::from_utf8(text.get(..len)?).ok()?.trim().parse().ok()
}

/// What processes hold, in bytes.
fn anon(hierarchy: &Hierarchy, path: &str) -> Option<u64> {
    if path.is_empty() {
        return None;
    }
    let name = if hierarchy.version() == 1 { "total_rss " } else { "anon " };
    let stat = hierarchy.read(path, "memory.stat").ok().flatten()?;
    stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
