//! Which lines can have to do with each other, so that only what an event touches is judged anew.
//!
//! Two lines are of one group where they name the same pod, container, process or cgroup; all evictions are one, for they
//! compete. What a group comes to depends on nothing but its lines, on its lessons (lines of others that teach a name in it)
//! and on when the kubelet was heard. So judging each by itself gives what judging all at once gives.

mod keys;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    sync::Arc,
};

use self::keys::{Key, ended, keys, lessons, pod_keys, starts};
pub(super) use self::keys::{is_of_kubernetes, killed_in};
use super::{
    EndAsIntended, Order, RESTLESS, RESTS_PER_LINE, digest,
    judge::{End, Findings, Judged, id},
    windows::{CRASH_LOOP, NOTICED, PAUSE},
};
use crate::{
    event::{ContainerId, Event, IncidentState, Line},
    node::snapshot::Snapshot,
};

/// What was told of an incident.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) digest: u64,
    pub(super) state: IncidentState,
    /// The time of its last line.
    pub(super) last: i64,
    /// Whom and what it is about, and when it began: what goes on under a limit on lines is the same incident still.
    pub(super) chain: String,
    pub(super) began: i64,
    pub(super) started: String,
    /// How many kills there were, those whose lines had to go among them, and when the last was.
    kills: u64,
    last_kill: i64,
}

/// Lines in their order, each with whether it is only a lesson.
type Lines = BTreeMap<Order, (Arc<Line>, bool)>;

/// Lines of a group that are judged by themselves.
pub(super) struct Part {
    /// The starts before of containers that were not seen to end; and kills, as lessons.
    started: Lines,
    lines: Lines,
}

impl Part {
    pub(super) fn lines(&self) -> impl Iterator<Item = (&Order, &Arc<Line>, bool)> {
        self.started.iter().chain(&self.lines).map(|(order, (line, lesson))| (order, line, *lesson))
    }
}

/// Lines that belong together, and what was told of them.
#[derive(Default)]
pub(super) struct Group {
    keys: BTreeSet<Key>,
    pub(super) lines: Lines,
    /// After the fact: what stays of lines that were judged, the starts of containers that were not seen to end, and kills.
    started: Lines,
    /// Its links are of files, which stay.
    lasting: bool,
    /// It has to be judged.
    pub(super) stale: bool,
    /// Its first lines had to go.
    pub(super) cut: bool,
    /// When the next of its open incidents is due to close.
    pub(super) due: Option<i64>,
    /// It is not judged again before, for it is large and takes long.
    pub(super) rests: Option<i64>,
    pub(super) told: BTreeMap<String, Told>,
    /// Containers whose ends as intended were emitted, and when they ended: each is emitted once.
    ended: BTreeMap<ContainerId, i64>,
}

impl Group {
    /// Those ends that were not emitted before.
    pub(super) fn new_ends(&mut self, ends: Vec<End>) -> impl Iterator<Item = EndAsIntended> {
        let last = self.last().unwrap_or(i64::MIN);
        self.ended.retain(|_, at| last.saturating_sub(*at) <= 2 * PAUSE);
        let ended = &mut self.ended;
        let new = ends.into_iter().filter(|end| ended.insert(end.container.clone(), end.at).is_none());
        new.filter_map(EndAsIntended::of)
    }

    /// What there is to tell of its incidents, as they are judged now.
    pub(super) fn news(&mut self, found: Findings, now: Option<i64>) -> Vec<Judged> {
        let Findings { incidents: judged, ends: _, due } = found;
        self.stale = false;
        let large = self.lines.len() > RESTLESS;
        self.rests =
            now.filter(|_| large).map(|now| now + RESTS_PER_LINE * i64::try_from(self.lines.len()).unwrap_or(0));
        let closes = judged.iter().filter(|j| j.incident.state == IncidentState::Open).map(|j| j.closes);
        self.due = closes.chain(due).min();
        let mut told = BTreeMap::new();
        let mut news = Vec::new();
        for mut judged in judged {
            if self.cut {
                self.keep_beginning(&mut judged);
            }
            let (digest, state) = (digest(&judged.incident), judged.incident.state);
            let before = self.told.remove(&judged.incident.id);
            let is_news = before.as_ref().is_none_or(|before| {
                // What only lost its first lines is no news.
                let more = !self.cut || judged.last > before.last || state != before.state;
                before.digest != digest && state == IncidentState::Closed && more
            });
            let (digest, state) = before.filter(|_| !is_news).map_or((digest, state), |b| (b.digest, b.state));
            let (chain, began, started) = (judged.chain.clone(), judged.at, judged.incident.started.clone());
            let (kills, last_kill) = (judged.incident.kills, judged.kills.last().copied().unwrap_or(i64::MIN));
            let entry = Told { digest, state, last: judged.last, chain, began, started, kills, last_kill };
            told.insert(judged.incident.id.clone(), entry);
            if is_news {
                news.push(judged);
            }
        }
        self.told = told;
        news
    }

    /// What goes on though its first lines had to go is the same incident, and counts what went.
    fn keep_beginning(&self, judged: &mut Judged) {
        let same = self.told.values().filter(|told| told.chain == judged.chain && told.began < judged.at);
        let Some(told) = same.filter(|told| judged.at - told.last <= CRASH_LOOP).max_by_key(|told| told.began) else {
            return;
        };
        judged.at = told.began;
        let incident = &mut judged.incident;
        incident.id = id(&judged.node, &judged.identity, judged.at);
        incident.started.clone_from(&told.started);
        let kills = told.kills + judged.kills.iter().filter(|at| **at > told.last_kill).count() as u64;
        if let Some(gone) = kills.checked_sub(incident.kills).filter(|gone| *gone > 0) {
            let since = &told.started;
            // Writing to a string does not fail.
            let _ =
                write!(incident.verdict.summary, " With those before, there were {kills} such kills since {since}.");
            incident.kills = kills;
            incident.processes_killed += gone;
        }
    }

    /// Its lines in their order, each with whether it is only a lesson.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&Order, &Arc<Line>, bool)> {
        self.lines.iter().map(|(order, (line, lesson))| (order, line, *lesson))
    }

    /// The time of its last line.
    fn last(&self) -> Option<i64> {
        self.lines.keys().next_back().map(|order| order.at)
    }
}

/// All groups.
#[derive(Default)]
pub(super) struct Groups {
    by_key: BTreeMap<Key, u64>,
    by_id: BTreeMap<u64, Group>,
    next: u64,
    /// After the fact: the kills that stay of lines that were judged, the oldest first. Some containers have ended since.
    remembered: VecDeque<(ContainerId, Order)>,
}

/// How many kills stay of lines that were judged. Whether their containers live on is not known for certain, since a log may
/// begin and end in the middle.
const MOST_REMEMBERED: usize = 512;

impl Groups {
    /// No lines; pods of files are known.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut groups = Self::default();
        for record in snapshot.pods.values() {
            let ids = record.containers.values().flat_map(|container| container.ids.keys()).chain(&record.sandboxes);
            let keys = pod_keys(Some(&record.pod), snapshot).chain(ids.cloned().map(Key::Container));
            let group = groups.joined(keys.collect());
            group.lasting = true;
        }
        groups
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.by_id.values_mut()
    }

    pub(super) fn add(&mut self, order: &Order, line: &Arc<Line>, snapshot: &Snapshot) {
        let group = self.joined(keys(&line.event, snapshot));
        group.lines.insert(order.clone(), (Arc::clone(line), false));
        group.stale = true;
        for keys in lessons(&line.event, snapshot) {
            let group = self.joined(keys);
            group.lines.entry(order.clone()).or_insert_with(|| (Arc::clone(line), true));
            group.stale = true;
        }
    }

    /// A line had to go.
    pub(super) fn remove(&mut self, order: &Order, line: &Line, snapshot: &Snapshot) {
        let keys = std::iter::once(keys(&line.event, snapshot)).chain(lessons(&line.event, snapshot));
        let of: BTreeSet<u64> = keys.flatten().filter_map(|key| self.by_key.get(&key).copied()).collect();
        for id in of {
            let Some(group) = self.by_id.get_mut(&id) else { continue };
            if group.lines.remove(order).is_some() {
                (group.stale, group.cut) = (true, true);
            }
            group.started.remove(order);
            if group.lines.is_empty() && group.started.is_empty() {
                self.drop(id);
            }
        }
    }

    /// Lets go of the groups whose lines are all from before a time, and gives the lines' places.
    pub(super) fn forget(&mut self, before: i64, snapshot: &Snapshot) -> Vec<Order> {
        let old = self.by_id.iter().filter(|(_, group)| group.last().is_some_and(|last| last < before));
        let old: Vec<u64> = old.map(|(id, _)| *id).collect();
        let mut gone = Vec::new();
        for id in old {
            let lines = self.by_id.get_mut(&id).map(|group| std::mem::take(&mut group.lines)).unwrap_or_default();
            self.drop(id);
            // A lesson goes with the group that it belongs to.
            for (order, (line, _)) in lines.into_iter().filter(|(_, (_, lesson))| !lesson) {
                for key in lessons(&line.event, snapshot).iter().flatten() {
                    if let Some(group) = self.by_key.get(key).and_then(|id| self.by_id.get_mut(id)) {
                        group.lines.remove(&order);
                    }
                }
                gone.push(order);
            }
        }
        gone
    }

    /// Those that a line came to since they were settled.
    pub(super) fn stale(&self) -> Vec<u64> {
        self.by_id.iter().filter(|(_, group)| group.stale).map(|(id, _)| *id).collect()
    }

    /// Takes the first part of a group off that nothing can be added to any more, where no line from before a time comes any
    /// more (none at all: `None`): it ends with a pause in which everything that could follow would have followed.
    pub(super) fn take_part(&mut self, id: u64, before: Option<i64>) -> Option<Part> {
        let group = self.by_id.get_mut(&id)?;
        let (mut ends, mut goes_on) = (group.last()?, None);
        for (this, next) in group.lines.keys().zip(group.lines.keys().skip(1)) {
            if next.at.saturating_sub(this.at) > PAUSE {
                (ends, goes_on) = (this.at, Some(next.clone()));
                break;
            }
        }
        if goes_on.is_none() && before.is_some_and(|before| before.saturating_sub(ends) <= PAUSE) {
            return None;
        }
        let rest = goes_on.map(|next| group.lines.split_off(&next)).unwrap_or_default();
        Some(Part { started: group.started.clone(), lines: std::mem::replace(&mut group.lines, rest) })
    }

    /// Lets go of a part: but for the starts of containers that were not seen to end, whose ends may come any time, and the first
    /// kill in each container, as a lesson. Gives the places of the lines that go.
    pub(super) fn let_go(&mut self, id: u64, part: Part) -> Vec<Order> {
        let Part { mut started, lines } = part;
        let ended: BTreeSet<ContainerId> = lines.values().filter_map(|(line, _)| ended(&line.event)).collect();
        let (mut gone, mut going_on, mut killed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        started.extend(lines.into_iter().filter(|(_, (_, lesson))| !lesson));
        started.retain(|order, (line, lesson)| {
            // Told twice, a start is one.
            let stays = starts(&line.event).is_some_and(|id| !ended.contains(id) && going_on.insert(id.clone()));
            if !stays && !*lesson {
                gone.push(order.clone());
            }
            let in_container = killed_in(&line.event).filter(|id| !ended.contains(id) && killed.insert((*id).clone()));
            let Some(container) = in_container.cloned() else { return stays };
            // Else it was remembered before.
            if !*lesson {
                *line = Arc::new(without_candidates(line));
                *lesson = true;
                self.remembered.push_back((container, order.clone()));
            }
            true
        });
        if let Some(group) = self.by_id.get_mut(&id) {
            group.started = started;
            group.stale = !group.lines.is_empty();
            if group.lines.is_empty() && group.started.is_empty() {
                self.drop(id);
            }
        }
        self.forget_oldest_kills();
        gone
    }

    /// Lets go of the oldest of the kills that stayed, where they are too many.
    fn forget_oldest_kills(&mut self) {
        while self.remembered.len() > MOST_REMEMBERED
            && let Some((container, order)) = self.remembered.pop_front()
        {
            let Some(id) = self.by_key.get(&Key::Container(container)).copied() else { continue };
            let Some(group) = self.by_id.get_mut(&id) else { continue };
            if group.started.remove(&order).is_some() && group.lines.is_empty() && group.started.is_empty() {
                self.drop(id);
            }
        }
    }

    /// How many lines there are.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.by_id.values().map(|group| group.lines.len() + group.started.len()).sum()
    }

    /// The kubelet was heard until later than before: what was not sure that it had noticed all, is to be judged.
    pub(super) fn kubelet_goes_on(&mut self, before: Option<i64>) {
        for group in self.by_id.values_mut() {
            let waits = group.last().is_some_and(|last| before.is_none_or(|before| last + NOTICED > before));
            group.stale |= waits;
        }
    }

    /// Everything is to be judged.
    pub(super) fn all_stale(&mut self) {
        for group in self.by_id.values_mut() {
            group.stale = true;
        }
    }

    fn drop(&mut self, id: u64) {
        let Some(group) = self.by_id.get_mut(&id) else { return };
        if group.lasting {
            let (keys, lasting) = (std::mem::take(&mut group.keys), true);
            *group = Group { keys, lasting, ..Group::default() };
            return;
        }
        for key in &group.keys {
            self.by_key.remove(key);
        }
        self.by_id.remove(&id);
    }

    /// The group of all these keys: of several, they become one.
    fn joined(&mut self, keys: Vec<Key>) -> &mut Group {
        let mut groups = keys.iter().map(|key| self.by_key.get(key).copied());
        // Nearly always the line's group is there.
        if let Some(Some(first)) = groups.next()
            && groups.all(|id| id == Some(first))
        {
            return self.by_id.entry(first).or_default();
        }
        let found: BTreeSet<u64> = keys.iter().filter_map(|key| self.by_key.get(key).copied()).collect();
        // The largest takes the others in.
        let into = found.iter().copied().max_by_key(|id| self.by_id.get(id).map_or(0, |group| group.lines.len()));
        let into = into.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let others: Vec<Group> =
            found.iter().filter(|id| **id != into).filter_map(|id| self.by_id.remove(id)).collect();
        let group = self.by_id.entry(into).or_default();
        for other in others {
            let Group { keys, lines, started, lasting, stale: _, cut, due: _, rests: _, told, ended } = other;
            for key in keys {
                self.by_key.insert(key.clone(), into);
                group.keys.insert(key);
            }
            for (order, (line, lesson)) in lines {
                let entry = group.lines.entry(order).or_insert((line, lesson));
                entry.1 &= lesson;
            }
            group.started.extend(started);
            group.told.extend(told);
            group.ended.extend(ended);
            group.lasting |= lasting;
            group.cut |= cut;
            group.stale = true;
        }
        for key in keys {
            if self.by_key.insert(key.clone(), into).is_none() {
                group.keys.insert(key);
            }
        }
        group
    }
}

/// A kill as far as it is remembered: whom the kernel weighed beside is much, and has been told.
fn without_candidates(line: &Line) -> Line {
    let mut line = line.clone();
    if let Event::OomKill(kill) = &mut line.event {
        kill.candidates = None;
    }
    line
}
