//! The flight recorder: what memory was, of each container, pod, `QoS` class, of all pods and of the node.
//!
//! Usage is read every second, which costs a system call for each cgroup. It is kept every second for the last two minutes, every
//! ten seconds for half an hour, and every minute for a day, each time the highest. What processes hold (`anon`) makes the kernel
//! add up its counters, so it is read every ten seconds, and only where usage has moved since.
//!
//! From the last minute's readings follows when a limit will be reached ([`super::forecast`]). As page cache gives way, that is only
//! said where what cannot be written back grows as well, by two readings ten seconds apart.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use super::forecast::growth;
use crate::{
    event::{Cgroup, EarlierReading, Level, LimitAhead},
    node::{cgroup_path::CgroupIdentity, fact::Fact, hierarchy::Hierarchy, memory, names::cgroups},
};

/// How often usage is read.
const EVERY: Duration = Duration::from_secs(1);
/// How often the hierarchy is searched for cgroups that were not seen when they were made.
const SEARCH_EVERY: u64 = 60;
/// After how many readings one is kept, and how many of these there are.
const TIERS: [(u64, usize); 3] = [(1, 120), (10, 180), (60, 1440)];
/// Readings that are given for one event.
const MOST: usize = 64;
/// What is counted of memory: a page.
const UNIT: u64 = 4096;
/// How soon a limit has to be reached to be said.
const HORIZON: Duration = Duration::from_mins(10);
/// How often that is looked at, in readings, and how often there has to be no growth for it to be withdrawn.
const LOOK_EVERY: u64 = 10;
const QUIET: u32 = 3;
/// What is so near to its limit has reached it, as the kernel gives memory back there.
const REACHED: f64 = 0.95;
/// A part of usage, by which it has moved: a thirty-second.
const MOVED: u64 = 32;

/// What memory was at one time, in units of [`UNIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    /// [`Reading::NONE`] where nothing was read.
    usage: u32,
    anon: u32,
}

impl Reading {
    const NONE: u32 = u32::MAX;
    const MISSING: Self = Self { usage: Self::NONE, anon: Self::NONE };

    fn units(bytes: u64) -> u32 {
        u32::try_from(bytes / UNIT).unwrap_or(Self::NONE - 1).min(Self::NONE - 1)
    }

    fn bytes(units: u32) -> Option<u64> {
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
struct Track {
    /// `memory.current`; of the node none.
    usage: Option<File>,
    /// The cgroup's id, to know it by when it goes.
    id: u64,
    /// By [`TIERS`], the oldest first.
    tiers: [VecDeque<Reading>; 3],
    /// The anon that was read last, and what usage was then.
    anon: Option<(u64, u64)>,
    /// Readings so far, and when the last was made.
    count: u64,
    read: Option<Instant>,
    /// Since when it has gone.
    gone: Option<Instant>,
    approach: Approach,
}

/// Whether a cgroup is on its way to its limit.
#[derive(Debug, Default)]
struct Approach {
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
}

impl Track {
    fn new(id: u64, usage: Option<File>) -> Self {
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
    fn size(&self) -> usize {
        size_of::<Self>() + self.tiers.iter().map(|tier| tier.capacity() * size_of::<Reading>()).sum::<usize>()
    }

    fn push(&mut self, reading: Reading, now: Instant) {
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
    fn has_moved(&self, usage: u64) -> bool {
        self.anon.is_none_or(|(_, then)| usage.abs_diff(then) > usage / MOVED)
    }

    /// The readings of every second, with their ages in seconds and their bytes, the oldest first.
    fn last_minutes(&self) -> Vec<(f64, f64)> {
        let aged = (0..self.tiers[0].len()).rev().zip(&self.tiers[0]);
        let read = aged.filter_map(|(age, reading)| {
            Some((f64::from(u32::try_from(age).ok()?), to_f64(Reading::bytes(reading.usage)?)))
        });
        read.collect()
    }

    /// All readings with how old they were when the last was made, in seconds; the oldest first.
    fn aged(&self) -> Vec<(u64, Reading)> {
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
}

/// Readings of all cgroups.
pub struct Recorder {
    hierarchy: Hierarchy,
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
}

impl Recorder {
    /// Records what is below the root of `hierarchy`, within `most` bytes; what has gone for as long as `keep`.
    #[must_use]
    pub fn new(hierarchy: Hierarchy, most: usize, keep: Duration) -> Self {
        let mut recorder = Self {
            hierarchy,
            tracks: HashMap::new(),
            paths: HashMap::new(),
            most,
            keep,
            last: None,
            ticks: 0,
            pending: Vec::new(),
            left_out: 0,
        };
        recorder.tracks.insert(String::new(), Track::new(0, None));
        recorder
    }

    /// How many cgroups there was no room for.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Takes in which cgroups were made and removed. Their files are opened with the next reading: now, names come first.
    pub(super) fn learn(&mut self, facts: &[Fact]) {
        let of_cgroups = facts.iter().filter(|fact| matches!(fact, Fact::Cgroup { .. } | Fact::CgroupGone { .. }));
        self.pending.extend(of_cgroups.cloned());
    }

    fn take_in(&mut self, facts: &[Fact], now: Instant) {
        for fact in facts {
            match fact {
                Fact::Cgroup { id, path } => self.add(*id, path),
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

    fn add(&mut self, id: u64, path: &str) {
        if self.tracks.get(path).is_some_and(|known| known.id == id) || !self.is_recorded(path) {
            return;
        }
        // The node's is always there.
        if self.size() > self.most && self.tracks.len() > 1 {
            self.left_out += 1;
            return;
        }
        let file = match self.hierarchy.version() {
            1 => "memory.usage_in_bytes",
            _ => "memory.current",
        };
        let Some(Ok(usage)) = self.hierarchy.folder(path).map(|folder| File::open(folder.join(file))) else { return };
        self.paths.insert(id, path.to_owned());
        self.tracks.insert(path.to_owned(), Track::new(id, Some(usage)));
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
        self.tracks.iter().map(|(path, track)| 2 * path.len() + track.size()).sum()
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
            self.left_out = 0;
            let found = cgroups::walk(self.hierarchy.root());
            self.take_in(&found, now);
            self.make_room(now);
        }
        let reads_anon = self.ticks.is_multiple_of(10);
        self.ticks += 1;
        let hierarchy = &self.hierarchy;
        for (path, track) in self.tracks.iter_mut().filter(|(_, track)| track.gone.is_none()) {
            for _ in 0..missed {
                track.push(Reading::MISSING, now);
            }
            let Some(usage) = usage(path, track) else {
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
        let hierarchy = &self.hierarchy;
        let tracks = self.tracks.iter_mut().filter(|(path, track)| !path.is_empty() && track.gone.is_none());
        let ahead: Vec<(&str, u64, LimitAhead)> = tracks
            .filter_map(|(path, track)| Some((path.as_str(), track.id, look_ahead(hierarchy, path, track, now)?)))
            .collect();
        let is_above = |path: &str, inner: &str| inner.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let innermost = ahead.iter().filter(|(path, ..)| !ahead.iter().any(|(inner, ..)| is_above(path, inner)));
        let placed = innermost.map(|(path, id, ahead)| {
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
                size -= track.size().min(size);
            }
        }
    }

    /// What memory of a cgroup, or of the node where the path is empty, was before now: the closer together the younger.
    pub(super) fn before(&self, path: &str, now: Instant) -> Vec<EarlierReading> {
        let Some((track, read)) = self.tracks.get(path).and_then(|track| Some((track, track.read?))) else {
            return Vec::new();
        };
        let ms = u64::try_from(now.saturating_duration_since(read).as_millis()).unwrap_or(u64::MAX);
        let readings = track.aged();
        let earlier = thinned(&readings).into_iter().filter_map(|(age, reading)| {
            Some(EarlierReading {
                age_ms: ms + age * 1000,
                usage_bytes: Reading::bytes(reading.usage)?,
                anon_bytes: Reading::bytes(reading.anon),
            })
        });
        earlier.collect()
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
    for (age, reading) in readings {
        match kept.last_mut().filter(|(last, _)| bucket(*last) == bucket(*age)) {
            Some((last, highest)) => {
                if highest.max(*reading) == *reading {
                    (*last, *highest) = (*age, *reading);
                }
            }
            None => kept.push((*age, *reading)),
        }
    }
    kept
}

/// Whether a cgroup will reach its limit, or will not after all, if that is news.
fn look_ahead(hierarchy: &Hierarchy, path: &str, track: &mut Track, now: Instant) -> Option<LimitAhead> {
    let readings = track.last_minutes();
    let usage = readings.last().map(|(_, bytes)| *bytes)?;
    let limit = limit(hierarchy, path);
    let grows = limit.and_then(|limit| Some((limit, growth(&readings, to_f64(limit))?)));
    let Some((limit, growth)) = grows.filter(|(_, growth)| growth.seconds_left <= HORIZON.as_secs_f64()) else {
        return track.approach.does_not_grow(usage);
    };
    track.approach.quiet = 0;
    let held = held(hierarchy, path)?;
    let (then, before) = track.approach.held.replace((now, held))?;
    let rate = (to_f64(held) - to_f64(before)) / now.duration_since(then).as_secs_f64().max(1.0);
    let seconds_left = (to_f64(limit) - to_f64(held)) / rate;
    if track.approach.said.is_some() || rate < growth.rate / 2.0 || seconds_left > HORIZON.as_secs_f64() {
        return None;
    }
    track.approach.said = Some(limit);
    Some(LimitAhead {
        usage_bytes: Some(to_u64(usage)),
        limit_bytes: Some(limit),
        growth_bytes_per_hour: Some(to_u64(rate * 3600.0)),
        seconds_left: Some(to_u64(seconds_left)),
        ..LimitAhead::default()
    })
}

/// A cgroup's limit, in bytes; `None` where it has none.
fn limit(hierarchy: &Hierarchy, path: &str) -> Option<u64> {
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
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0, and bytes of a node")]
fn to_u64(number: f64) -> u64 {
    number.max(0.0) as u64
}

/// What is used now, in bytes; `None` of a cgroup that has gone.
fn usage(path: &str, track: &Track) -> Option<u64> {
    if path.is_empty() {
        return memory::of_node(None).ok()?.usage_bytes;
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const POD: &str = "/kubepods/pod01234567-89ab-cdef-0123-456789abcdef";
    const MIB: u64 = 1 << 20;

    /// A hierarchy of files: a kernel's would not hold still.
    struct Node {
        root: tempfile::TempDir,
        recorder: Recorder,
        start: Instant,
        second: u64,
    }

    impl Node {
        fn new(most: usize) -> Self {
            let root = tempfile::tempdir().expect("a folder");
            fs::write(root.path().join("cgroup.controllers"), "memory").expect("a file");
            let hierarchy = Hierarchy::find(root.path()).expect("a hierarchy");
            let recorder = Recorder::new(hierarchy, most, Duration::from_mins(5));
            Self { root, recorder, start: Instant::now(), second: 0 }
        }

        fn set(&self, path: &str, mib: u64) {
            let folder = self.root.path().join(&path[1..]);
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("memory.current"), format!("{}\n", mib * MIB)).expect("a file");
            fs::write(folder.join("memory.stat"), format!("anon {}\nfile 0\n", mib * MIB / 2)).expect("a file");
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_secs(self.second)
        }

        fn tick(&mut self, seconds: u64) -> Vec<LimitAhead> {
            self.second += seconds;
            let now = self.now();
            self.recorder.tick(now)
        }

        /// Seconds before now, and MiB.
        fn before(&self, path: &str) -> Vec<(u64, u64)> {
            let earlier = self.recorder.before(path, self.now());
            earlier.iter().map(|reading| (reading.age_ms / 1000, reading.usage_bytes / MIB)).collect()
        }
    }

    #[test]
    fn every_second_is_kept_for_two_minutes_and_every_minute_for_a_day_each_the_highest() {
        let mut node = Node::new(8 << 20);
        for minute in 0..1500 {
            node.set(POD, 10 + minute % 2);
            // A peak of a second in each hour.
            let peak = minute % 60 == 30;
            for second in 0..60 {
                if peak && second == 30 {
                    node.set(POD, 500);
                }
                node.tick(1);
                if peak && second == 30 {
                    node.set(POD, 10 + minute % 2);
                }
            }
        }
        let all: Vec<_> = node.recorder.tracks[POD].aged();
        assert_eq!(all.len(), 120 + 168 + 1410, "seconds, then tens of them, then minutes");
        assert!(all.is_sorted_by(|a, b| a.0 > b.0));
        assert_eq!(all.first().map(|(age, _)| *age), Some(86_340));
        let peaks = all.iter().filter(|(_, reading)| u64::from(reading.usage) * UNIT == 500 * MIB).count();
        assert_eq!(peaks, 24, "one an hour");
        assert!(node.recorder.tracks[POD].size() <= 16 << 10, "{}", node.recorder.tracks[POD].size());

        let before = node.before(POD);
        assert!((32..=64).contains(&before.len()), "{before:?}");
        assert_eq!((before.last().map(|(age, _)| *age), before[0].0 > 80_000), (Some(0), true), "{before:?}");
        assert!(before.iter().any(|(_, mib)| *mib == 500), "{before:?}");
    }

    #[test]
    fn a_cgroup_is_recorded_from_when_it_is_made_and_kept_for_a_while_when_it_has_gone() {
        let mut node = Node::new(8 << 20);
        node.tick(1);
        node.set(POD, 5);
        node.recorder.learn(&[Fact::Cgroup { id: 7, path: POD.to_owned() }]);
        node.tick(1);
        node.set(POD, 6);
        node.tick(1);
        assert_eq!(node.before(POD), [(1, 5), (0, 6)]);
        let earlier = node.recorder.before(POD, node.now());
        assert_eq!(earlier[1].anon_bytes, None, "anon is read every ten seconds");

        node.recorder.learn(&[Fact::CgroupGone { id: 7 }]);
        fs::remove_dir_all(node.root.path().join(&POD[1..])).expect("removed");
        node.tick(30);
        assert_eq!(node.before(POD), [(31, 5), (30, 6)]);
        node.tick(300);
        node.recorder.make_room(node.now());
        assert_eq!(node.before(POD), []);
    }

    #[test]
    fn seconds_in_which_oomtrace_was_held_up_are_a_gap() {
        let mut node = Node::new(8 << 20);
        node.set(POD, 5);
        node.tick(1);
        node.tick(40);
        assert_eq!(node.before(POD), [(40, 5), (0, 5)]);
    }

    #[test]
    fn there_is_a_bound_and_what_there_is_no_room_for_is_counted() {
        let mut node = Node::new(4096);
        for pod in 0..40 {
            node.set(&format!("/kubepods/pod01234567-89ab-cdef-0123-4567890000{pod:02}"), 5);
        }
        node.tick(1);
        assert!(node.recorder.left_out() > 0 && node.recorder.size() < 8192, "{}", node.recorder.size());
        assert!(!node.before("").is_empty(), "the node is always recorded");
    }

    #[test]
    fn what_has_no_limit_and_is_nothing_of_kubernetes_is_not_recorded() {
        let mut node = Node::new(8 << 20);
        node.set("/system.slice", 5);
        node.set("/limited", 5);
        fs::write(node.root.path().join("limited/memory.max"), "1048576\n").expect("a file");
        node.tick(1);
        assert_eq!((node.before("/system.slice").len(), node.before("/limited").len()), (0, 1));
    }

    #[test]
    fn a_limit_that_will_be_reached_is_said_once_and_withdrawn_where_that_does_not_come_true() {
        let mut node = Node::new(8 << 20);
        node.set(POD, 400);
        let max = node.root.path().join(&POD[1..]).join("memory.max");
        fs::write(max, format!("{}\n", 1000 * MIB)).expect("a file");
        let run = |node: &mut Node, seconds: u64, used: &dyn Fn(u64) -> u64| {
            let mut said: Vec<(u64, Option<u64>, bool)> = Vec::new();
            for second in 0..seconds {
                node.set(POD, used(second));
                let ahead = node.tick(1);
                said.extend(ahead.iter().map(|ahead| (node.second, ahead.seconds_left, ahead.withdrawn)));
            }
            said
        };
        assert_eq!(run(&mut node, 60, &|_| 400), [], "it is level");
        // Three MiB a second, of which half cannot be written back.
        let grown = run(&mut node, 90, &|second| 400 + 3 * second);
        let in_time = |at: u64, left: u64| (90..=150).contains(&at) && (300..=600).contains(&left);
        assert!(matches!(grown[..], [(at, Some(left), false)] if in_time(at, left)), "{grown:?}");
        let level = run(&mut node, 120, &|_| 670);
        assert!(matches!(level[..], [(_, None, true)]), "{level:?}");
    }
}
