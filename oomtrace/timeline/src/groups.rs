//! Which lines can have to do with each other, so that only what an event touches is judged anew.
//!
//! Two lines are of one group where they name the same pod, container, process or cgroup; all evictions are one, for they
//! compete. What a group results in depends on nothing but its lines, on its lessons (lines of others that teach a name in it)
//! and on when the kubelet was heard. So judging each by itself gives what judging all at once gives.

mod keys;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use oomtrace_model::{ContainerId, Event, Line, snapshot::Snapshot};

use self::keys::{Key, keys, lessons, pod_keys, starts};
pub(super) use self::keys::{ended, is_of_kubernetes, killed_in};
use super::{
    EndAsIntended, Order, Weight,
    digested::Digested,
    fold::{Folds, address},
    identity::Homes,
    judge::{End, Judged},
    report::{Reports, is_more},
    windows::{NOTICED, PAUSE},
};

/// Lines in their order, each with whether it is only a lesson.
pub(super) type Lines = BTreeMap<Order, (Arc<Digested>, bool)>;

/// Lines of a group that are judged by themselves.
pub(super) struct Part {
    /// The starts before of containers that were not seen to end; and kills, as lessons.
    started: Lines,
    lines: Lines,
}

impl Part {
    pub(super) fn lines(&self) -> impl Iterator<Item = (&Order, &Arc<Digested>, bool)> {
        self.started.iter().chain(&self.lines).map(|(order, (line, lesson))| (order, line, *lesson))
    }
}

/// Lines that belong together, and what was reported of them.
#[derive(Default)]
pub(super) struct Group {
    keys: BTreeSet<Key>,
    pub(super) lines: Lines,
    /// What stays of lines that were let go of: the starts of containers that were not seen to end, and kills.
    started: Lines,
    /// Its links are of files, which stay.
    lasting: bool,
    /// Some of its lines were let go of.
    pub(super) cut: bool,
    /// It has to be judged.
    pub(super) stale: bool,
    /// How many incidents it made when they were named last.
    pub(super) incidents: usize,
    /// How many lines came to it since it was judged for its incidents' names.
    pub(super) pushed: usize,
    /// Which line is in which incident, by name.
    pub(super) homes: Homes,
    /// What was let go of.
    pub(super) folds: Folds,
    /// Its incidents, as they were judged last.
    pub(super) standing: Vec<Judged>,
    /// The same as they were when the last of its lines was let go of; `None` where it was not judged since.
    at_cut: Option<Vec<Judged>>,
    /// Counts how often it was judged.
    pub(super) judgings: u64,
    pub(super) reports: Reports,
    /// Ends of containers as Kubernetes intended them, each with when it is due; of those that were not emitted yet.
    pub(super) ends: Vec<(i64, End)>,
    /// Containers whose ends as intended were emitted, and when they ended: each is emitted once.
    ended: BTreeMap<ContainerId, i64>,
}

/// Smaller groups are judged with each line that is added; larger ones when they have grown by a part of what they are, so
/// that a storm takes as long as it has lines.
const SMALL: usize = 64;

impl Group {
    /// Takes over what was judged. Of an incident that has no more than it had with the lines that were let go of, it stays what it
    /// was.
    pub(super) fn stand(&mut self, mut judged: Vec<Judged>) {
        if self.cut {
            let before = self.take_at_cut();
            for judged in &mut judged {
                let same = before.iter().find(|before| before.incident.id == judged.incident.id);
                if let Some(before) = same.filter(|before| !is_more(&before.incident, &judged.incident)) {
                    judged.incident = before.incident.clone();
                }
            }
            self.at_cut = Some(before);
        }
        self.standing = judged;
    }

    /// Its incidents as they were when the last of its lines was let go of.
    fn take_at_cut(&mut self) -> Vec<Judged> {
        match self.at_cut.take() {
            Some(before) => before,
            None if self.cut => std::mem::take(&mut self.standing),
            None => Vec::new(),
        }
    }

    /// Those ends that are due now, or at the end of the input, and were not emitted before.
    pub(super) fn new_ends(&mut self, now: Option<i64>) -> Vec<EndAsIntended> {
        let last = self.last().unwrap_or(i64::MIN);
        self.ended.retain(|_, at| last.saturating_sub(*at) <= 2 * PAUSE);
        let mut due = Vec::new();
        self.ends.retain(|(due_at, end)| {
            let is_due = now.is_none_or(|now| now >= *due_at);
            if is_due && self.ended.insert(end.container.clone(), end.at).is_none() {
                due.push(end.clone());
            }
            !is_due
        });
        due.into_iter().filter_map(EndAsIntended::of).collect()
    }

    /// Its lines in their order, each with whether it is only a lesson.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&Order, &Arc<Digested>, bool)> {
        self.started.iter().chain(&self.lines).map(|(order, (line, lesson))| (order, line, *lesson))
    }

    /// The time of its last line.
    pub(super) fn last(&self) -> Option<i64> {
        self.lines.keys().next_back().map(|order| order.at)
    }

    /// Its lines that make incidents.
    pub(super) fn evidence(&self) -> impl Iterator<Item = (&Order, &Arc<Digested>)> {
        let makes = |line: &Line| matches!(Weight::of(&line.event), Some(Weight::Evidence));
        self.lines
            .iter()
            .filter(move |(_, (line, lesson))| !lesson && makes(line))
            .map(|(order, (line, _))| (order, line))
    }

    /// Whether it is time to judge it for its incidents' names.
    fn is_due(&self) -> bool {
        self.pushed > 0 && (self.lines.len() <= SMALL || self.pushed >= self.lines.len() / 4)
    }
}

/// All groups.
#[derive(Default)]
pub(super) struct Groups {
    by_key: BTreeMap<Key, u64>,
    by_id: BTreeMap<u64, Group>,
    next: u64,
    /// The kills that stay of lines that were let go of, the oldest first. Some containers have ended since.
    remembered: VecDeque<(ContainerId, Order)>,
    /// Containers whose ends were let go of, the oldest first: what else reports those ends is no news.
    buried: BTreeSet<ContainerId>,
    buried_in_order: VecDeque<ContainerId>,
    /// Groups that a line came to since they were judged.
    touched: BTreeSet<u64>,
}

/// How many kills stay of lines that were judged. Whether their containers live on is not known for certain, since a log may
/// begin and end in the middle.
const MOST_REMEMBERED: usize = 512;
/// How many containers are known to have ended after their ends were let go of.
const MOST_BURIED: usize = 4096;

impl Groups {
    /// No lines; pods of files are known.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let mut groups = Self::default();
        for record in snapshot.pods.values() {
            let ids = record.containers.values().flat_map(|container| container.ids.keys()).chain(&record.sandboxes);
            let keys = pod_keys(Some(&record.pod), snapshot).chain(ids.cloned().map(Key::Container));
            let id = groups.joined(keys.collect());
            groups.by_id.entry(id).or_default().lasting = true;
        }
        groups
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Group> {
        self.by_id.values()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Group> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Group> {
        self.by_id.get_mut(&id)
    }

    /// Those that are to be judged for their incidents' names, now that lines came to them.
    pub(super) fn take_due(&mut self) -> Vec<u64> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter(|id| self.by_id.get(id).is_some_and(Group::is_due)).collect()
    }

    /// All of them, as they all may have changed.
    pub(super) fn all_due(&mut self) {
        for group in self.by_id.values_mut() {
            (group.stale, group.pushed) = (true, group.pushed.max(group.lines.len()));
        }
        self.touched.extend(self.by_id.keys());
    }

    pub(super) fn add(&mut self, order: &Order, line: &Arc<Digested>, snapshot: &Snapshot) {
        let id = self.joined(keys(&line.event, snapshot));
        self.touch(id, |lines| {
            lines.insert(order.clone(), (Arc::clone(line), false));
        });
        for keys in lessons(&line.event, snapshot) {
            let id = self.joined(keys);
            self.touch(id, |lines| {
                lines.entry(order.clone()).or_insert_with(|| (Arc::clone(line), true));
            });
        }
    }

    fn touch(&mut self, id: u64, add: impl FnOnce(&mut Lines)) {
        let group = self.by_id.entry(id).or_default();
        add(&mut group.lines);
        (group.stale, group.pushed) = (true, group.pushed + 1);
        self.touched.insert(id);
    }

    /// Whether an event reports the end of a container whose end was let go of.
    pub(super) fn is_buried(&self, event: &Event) -> bool {
        !self.buried.is_empty() && ended(event).is_some_and(|id| self.buried.contains(&id))
    }

    /// Whether an event reports the start of a container that was not seen to end.
    pub(super) fn starts_what_goes_on(event: &Event, lines: &Lines) -> bool {
        let of =
            |id: &ContainerId| lines.values().any(|(line, lesson)| !lesson && ended(&line.event).as_ref() == Some(id));
        starts(event).is_some_and(|id| !of(id))
    }

    /// Lets go of a line everywhere. That groups are judged without it is no news.
    pub(super) fn remove(&mut self, order: &Order, line: &Arc<Digested>, snapshot: &Snapshot) {
        for id in self.of_line(line, snapshot) {
            if self.forget(id, order, line) {
                self.drop_empty(id);
            }
        }
    }

    /// The same, where the line's own group stays.
    pub(super) fn remove_line(&mut self, of: u64, order: &Order, line: &Arc<Digested>, snapshot: &Snapshot) {
        for id in self.of_line(line, snapshot) {
            if self.forget(id, order, line) && id != of {
                self.drop_empty(id);
            }
        }
    }

    /// The groups that a line is in, be it as a lesson.
    pub(super) fn of_line(&self, line: &Line, snapshot: &Snapshot) -> BTreeSet<u64> {
        let keys = std::iter::once(keys(&line.event, snapshot)).chain(lessons(&line.event, snapshot));
        keys.flatten().filter_map(|key| self.by_key.get(&key).copied()).collect()
    }

    fn forget(&mut self, id: u64, order: &Order, line: &Arc<Digested>) -> bool {
        let Some(group) = self.by_id.get_mut(&id) else { return false };
        if group.lines.remove(order).is_some() {
            (group.cut, group.at_cut) = (true, None);
        }
        // A kill that is remembered stays.
        if group.started.get(order).is_some_and(|(_, lesson)| !lesson) {
            group.started.remove(order);
        }
        group.homes.forget(address(line));
        group.folds.remove(&address(line));
        true
    }

    /// Of a line that is let go of in a group it stays what else may be reported of the same thing: that a container has ended, and
    /// that something was killed in it.
    pub(super) fn remember(&mut self, id: u64, order: &Order, line: &Line) {
        if let Some(container) = ended(&line.event)
            && self.buried.insert(container.clone())
        {
            self.buried_in_order.push_back(container);
            if self.buried_in_order.len() > MOST_BURIED
                && let Some(oldest) = self.buried_in_order.pop_front()
            {
                self.buried.remove(&oldest);
            }
        }
        if let (Some(container), Some(group)) = (killed_in(&line.event).cloned(), self.by_id.get_mut(&id)) {
            group.started.insert(order.clone(), (Arc::new(without_candidates(line).into()), true));
            self.remembered.push_back((container, order.clone()));
            self.forget_oldest_kills();
        }
    }

    /// Those that have lines that were not settled.
    pub(super) fn unsettled(&self) -> Vec<u64> {
        self.by_id.iter().filter(|(_, group)| !group.lines.is_empty()).map(|(id, _)| *id).collect()
    }

    /// Drops a group that has nothing any more.
    pub(super) fn drop_empty(&mut self, id: u64) {
        let is_empty = |group: &Group| group.lines.is_empty() && group.started.is_empty() && group.reports.is_empty();
        if self.by_id.get(&id).is_some_and(is_empty) {
            self.drop(id);
        }
    }

    /// Takes the first part of a group off that nothing can be added to any more, where no line from before a time comes any
    /// more (none at all: `None`): it ends with a pause in which everything that could follow would have followed.
    pub(super) fn take_part(&mut self, id: u64, before: Option<i64>) -> Option<Part> {
        let group = self.by_id.get_mut(&id)?;
        let (mut ends, mut goes_on): (Option<i64>, Option<Order>) = (None, None);
        for (order, (line, _)) in &group.lines {
            if ends.is_some_and(|ends| order.at.saturating_sub(ends) > PAUSE) {
                goes_on = Some(order.clone());
                break;
            }
            // A line may stand for later ones, which were let go of.
            let until = group.folds.get(&address(line)).map_or(order.at, |fold| fold.last.max(order.at));
            ends = ends.max(Some(until));
        }
        let ends = ends?;
        if goes_on.is_none() && before.is_some_and(|before| before.saturating_sub(ends) <= PAUSE) {
            return None;
        }
        let rest = goes_on.map(|next| group.lines.split_off(&next)).unwrap_or_default();
        Some(Part { started: group.started.clone(), lines: std::mem::replace(&mut group.lines, rest) })
    }

    /// Lets go of a part after the fact: but for the starts of containers that were not seen to end, whose ends may come any time, and the first
    /// kill in each container, as a lesson. Gives the places of the lines that go.
    pub(super) fn let_go(&mut self, id: u64, part: Part) -> Vec<Order> {
        let Part { mut started, lines } = part;
        let ended: BTreeSet<ContainerId> = lines.values().filter_map(|(line, _)| ended(&line.event)).collect();
        let (mut gone, mut going_on, mut killed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        started.extend(lines.into_iter().filter(|(_, (_, lesson))| !lesson));
        started.retain(|order, (line, lesson)| {
            // Reported twice, a start is one.
            let stays = starts(&line.event).is_some_and(|id| !ended.contains(id) && going_on.insert(id.clone()));
            if !stays && !*lesson {
                gone.push(order.clone());
            }
            let in_container = killed_in(&line.event).filter(|id| !ended.contains(id) && killed.insert((*id).clone()));
            let Some(container) = in_container.cloned() else { return stays };
            // Else it was remembered before.
            if !*lesson {
                *line = Arc::new(without_candidates(line).into());
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

    /// Those with incidents that end later than this are to be judged: the kubelet was heard until later, and may have noticed all of
    /// theirs now; or something was lost.
    pub(super) fn ending_after(&mut self, before: Option<i64>) -> Vec<u64> {
        let mut waiting = Vec::new();
        for (id, group) in &mut self.by_id {
            let waits = group.last().is_some_and(|last| before.is_none_or(|before| last + NOTICED > before));
            if waits && group.incidents > 0 {
                group.stale = true;
                waiting.push(*id);
            }
        }
        waiting
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
    fn joined(&mut self, keys: Vec<Key>) -> u64 {
        let mut groups = keys.iter().map(|key| self.by_key.get(key).copied());
        // Nearly always the line's group is there.
        if let Some(Some(first)) = groups.next()
            && groups.all(|id| id == Some(first))
        {
            return first;
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
        for mut other in others {
            let mut before = group.take_at_cut();
            before.extend(other.take_at_cut());
            let Group {
                keys,
                lines,
                started,
                lasting,
                cut,
                stale: _,
                incidents,
                pushed,
                homes,
                folds,
                standing,
                at_cut: _,
                judgings,
                reports,
                ends,
                ended,
            } = other;
            for key in keys {
                self.by_key.insert(key.clone(), into);
                group.keys.insert(key);
            }
            for (order, (line, lesson)) in lines {
                let entry = group.lines.entry(order).or_insert((line, lesson));
                entry.1 &= lesson;
            }
            group.started.extend(started);
            group.ended.extend(ended);
            group.ends.extend(ends);
            group.lasting |= lasting;
            group.cut |= cut;
            group.at_cut = group.cut.then_some(before);
            group.incidents += incidents;
            (group.stale, group.pushed) = (true, group.pushed + pushed);
            group.homes.extend(homes);
            group.folds.extend(folds);
            group.standing.extend(standing);
            group.judgings = group.judgings.max(judgings) + 1;
            group.reports.extend(reports);
        }
        for key in keys {
            if self.by_key.insert(key.clone(), into).is_none() {
                group.keys.insert(key);
            }
        }
        self.touched.insert(into);
        into
    }
}

/// A kill as far as it is remembered: whom the kernel weighed beside is much, and has been reported.
fn without_candidates(line: &Line) -> Line {
    let mut line = line.clone();
    if let Event::OomKill(kill) = &mut line.event {
        kill.candidates = None;
    }
    line
}
