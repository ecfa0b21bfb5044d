//! What is let go of where more lines come than are kept.
//!
//! Nothing goes that was not judged. What goes depends on the lines and their order alone, never on a clock, so a recording
//! that is replayed is kept and let go of as it was live. In this order, until an eighth of the room is free:
//!
//! 1. groups in which nothing happened for so long that nothing can be added ([`crate::windows::PAUSE`]);
//! 2. of a group that takes more than a quarter of the room: its older half;
//! 3. groups without incidents in which nothing happened for as long as an incident is open;
//! 4. of groups whose incidents are closed, those first that have been quiet for longest: all but the lines that incidents
//!    began with;
//! 5. groups that have been quiet for longest, whatever is in them.
//!
//! An incident that goes on keeps the line that it began with, and with it its name, its beginning and the counts of what was
//! let go of ([`Fold`]). One that is let go of as a whole was reported for the last time. Of both it is remembered in which
//! containers something was killed and which ones ended, so that what others tell of these later is taken for the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use oomtrace_model::Event;

use super::{
    Order, Timeline,
    digested::Digested,
    fold::{Counts, Fold, address},
    groups::{Groups, ended, killed_in},
    judge::{Depth, Judged},
    report::total,
    windows::{CLOSES_AFTER, CRASH_LOOP, PAUSE},
};

/// How often lines are taken away that would make incidents of their own without those that were let go of.
const ROUNDS: usize = 4;

/// What becomes of incidents whose lines are let go of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Those that may go on keep their beginning.
    Fold,
    /// They are reported for the last time.
    Seal,
}

impl Timeline {
    /// Lets go of what there is no room for.
    pub(super) fn make_room(&mut self) {
        while self.context.len() > self.keep.context
            && let Some((order, line)) = self.context.pop_first()
        {
            self.judge_others(None, &line);
            self.groups.remove(&order, &line, &self.known.snapshot);
        }
        let (most, Some(latest)) = (self.keep.evidence, self.latest) else { return };
        if self.evidence.len() <= most {
            return;
        }
        let goal = most - most / 8;
        for id in self.groups_by_age(latest - PAUSE) {
            self.cut(id, None, Cut::Seal);
        }
        self.fold_large(goal);
        for id in self.groups_by_age(latest - CLOSES_AFTER) {
            if self.evidence.len() > goal && self.is_idle(id) {
                self.cut(id, None, Cut::Seal);
            }
        }
        for id in self.groups_by_age(latest - CLOSES_AFTER) {
            if self.evidence.len() > goal {
                self.cut(id, None, Cut::Fold);
            }
        }
        for id in self.groups_by_age(i64::MAX) {
            if self.evidence.len() > goal {
                self.cut(id, None, Cut::Seal);
            }
        }
    }

    /// Judges the groups that a line is let go of in, but for one that is judged already: what is said of their incidents stays
    /// what it was with that line.
    fn judge_others(&mut self, but: Option<u64>, line: &Digested) {
        if !self.reporting {
            return;
        }
        for id in self.groups.of_line(line, &self.known.snapshot) {
            if Some(id) != but {
                let is_named = self.groups.get(id).is_some_and(|group| group.pushed == 0);
                self.judge_group(id, is_named);
            }
        }
    }

    /// Groups whose last line is from before a time, those first that have been quiet for longest.
    fn groups_by_age(&self, before: i64) -> Vec<u64> {
        let ids = self.groups.ids().into_iter();
        let mut ages: Vec<(i64, u64)> = ids
            .filter_map(|id| Some((self.groups.get(id)?.last()?, id)))
            .filter(|(last, id)| {
                *last < before && self.groups.get(*id).is_some_and(|group| group.evidence().next().is_some())
            })
            .collect();
        ages.sort_unstable();
        ages.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether a group makes no incident.
    fn is_idle(&mut self, id: u64) -> bool {
        self.judge_group(id, true);
        self.groups.get(id).is_some_and(|group| group.standing.is_empty())
    }

    /// Lets go of the older half of groups that take more than their share.
    fn fold_large(&mut self, goal: usize) {
        let share = self.keep.evidence / 4;
        for id in self.groups.ids() {
            if self.evidence.len() <= goal {
                return;
            }
            let Some(group) = self.groups.get(id) else { continue };
            let lines: Vec<i64> = group.evidence().map(|(order, _)| order.at).collect();
            if lines.len() > share {
                self.cut(id, Some(lines[lines.len() / 2]), Cut::Fold);
            }
        }
    }

    /// Lets go of a group's lines from before a time, or of all, once they are judged.
    fn cut(&mut self, id: u64, end: Option<i64>, cut: Cut) {
        self.judge_group(id, true);
        let (Some(group), Some(latest)) = (self.groups.get(id), self.latest) else { return };
        let before = group.standing.clone();
        let goes = |at: i64| end.is_none_or(|end| at < end);
        // Those that go on, by name, with the line that stays of them.
        let mut going_on: BTreeMap<String, usize> = BTreeMap::new();
        let mut stay: BTreeSet<usize> = BTreeSet::new();
        for judged in &before {
            let over = goes(judged.last) && (cut == Cut::Seal || latest - judged.last > CRASH_LOOP + CLOSES_AFTER);
            let folded = |line: &&Arc<Digested>| group.folds.contains_key(&address(line));
            let anchor = judged.core.iter().find(folded).map(address).or_else(|| anchor(judged));
            let Some(anchor) = anchor.filter(|_| !over) else { continue };
            going_on.insert(judged.incident.id.clone(), anchor);
            stay.insert(anchor);
            stay.extend(judged.core.iter().filter(folded).map(address));
            // The steps of an eviction make it only together.
            let of_eviction = |line: &&Arc<Digested>| matches!(line.event, Event::Eviction(_));
            stay.extend(judged.lines.iter().filter(of_eviction).map(address));
            stay.extend(judged.core.first().map(address));
            stay.extend(end_of(judged, anchor).map(address));
        }
        let all = group.lines.iter();
        let gone: Vec<(Order, Arc<Digested>)> = all
            .filter(|(order, (line, lesson))| {
                let starts = || Groups::starts_what_goes_on(&line.event, &group.lines);
                !lesson && goes(order.at) && !stay.contains(&address(line)) && !starts()
            })
            .map(|(order, (line, _))| (order.clone(), Arc::clone(line)))
            .collect();
        if let Some(group) = self.groups.get_mut(id).filter(|_| self.reporting) {
            // What is due is emitted before it goes.
            self.ends.extend(group.new_ends(self.now));
        }
        if let Some(group) = self.groups.get_mut(id) {
            // So that what stays is one chain.
            for judged in &before {
                if let Some(anchor) = going_on.get(&judged.incident.id) {
                    group.folds.entry(*anchor).or_default().reach(judged);
                }
            }
        }
        self.let_go_unjudged(&gone, &before, latest);
        for (order, line) in gone {
            self.let_go(id, &order, &line);
        }
        let after = self.judge_what_stays(id, &going_on);
        self.fold(id, &before, &going_on, after);
    }

    /// Counts what might have made an incident yet.
    fn let_go_unjudged(&mut self, gone: &[(Order, Arc<Digested>)], before: &[Judged], latest: i64) {
        let known: BTreeSet<usize> = before.iter().flat_map(|judged| &judged.lines).map(address).collect();
        let lost = gone.iter().filter(|(order, line)| {
            latest - order.at < CLOSES_AFTER && self.evidence.contains_key(order) && !known.contains(&address(line))
        });
        self.dropped += lost.count() as u64;
    }

    fn let_go(&mut self, id: u64, order: &Order, line: &Arc<Digested>) {
        self.judge_others(Some(id), line);
        self.groups.remember(id, order, line);
        self.evidence.remove(order);
        self.context.remove(order);
        self.groups.remove_line(id, order, line, &self.known.snapshot);
    }

    /// Judges what stays of a group. Lines that make another incident without those that were let go of go as well.
    fn judge_what_stays(&mut self, id: u64, going_on: &BTreeMap<String, usize>) -> BTreeMap<String, Judged> {
        for round in 0..=ROUNDS {
            let judged = self.judged(id, Depth::Whole).incidents;
            let Some(group) = self.groups.get(id) else { return BTreeMap::new() };
            let mut found = BTreeMap::new();
            let mut others: BTreeSet<usize> = BTreeSet::new();
            for judged in judged {
                let mut homes = judged.core.iter().map(|line| (address(line), group.homes.of(address(line))));
                let home = homes.find_map(|(line, home)| {
                    let home = home?;
                    (going_on.get(home) == Some(&line)).then(|| home.clone())
                });
                match home.filter(|home| !found.contains_key(home)) {
                    Some(home) => drop(found.insert(home, judged)),
                    None => others.extend(judged.core.iter().map(address)),
                }
            }
            if others.is_empty() {
                return found;
            }
            let all = round == ROUNDS;
            let gone: Vec<(Order, Arc<Digested>)> = group
                .lines
                .iter()
                .filter(|(_, (line, lesson))| !lesson && (all || others.contains(&address(line))))
                .map(|(order, (line, _))| (order.clone(), Arc::clone(line)))
                .collect();
            for (order, line) in gone {
                self.let_go(id, &order, &line);
            }
        }
        BTreeMap::new()
    }

    /// Keeps what was let go of as counts, and reports the incidents for the last time of which nothing stays.
    fn fold(
        &mut self,
        id: u64,
        before: &[Judged],
        going_on: &BTreeMap<String, usize>,
        mut after: BTreeMap<String, Judged>,
    ) {
        let now = self.now;
        let (mut standing, mut sealed) = (Vec::new(), Vec::new());
        for judged in before.iter().cloned() {
            let name = &judged.incident.id;
            let (Some(mut now), Some(anchor)) = (after.remove(name), going_on.get(name)) else {
                sealed.push(judged);
                continue;
            };
            if now.lines.len() < judged.lines.len() || Counts::of(&now.incident) != Counts::of(&judged.incident) {
                let Some(group) = self.groups.get_mut(id) else { continue };
                let fold = group.folds.entry(*anchor).or_default();
                fold.add_difference(&judged.incident, &now.incident);
            }
            // What was reported of it stays what it is.
            (now.incident, now.last, now.closes) = (judged.incident, judged.last, judged.closes);
            standing.push(now);
        }
        let reporting = self.reporting;
        if let Some(group) = self.groups.get_mut(id) {
            let mut left = total(before);
            for judged in sealed.iter().filter(|_| reporting) {
                let line = group.reports.seal(judged, left, now);
                left -= Counts::of(&judged.incident);
                self.outbox.extend(line.map(|incident| (judged.at, incident)));
            }
            group.homes.keep(&standing);
            group.incidents = standing.len();
            group.standing = standing;
            (group.stale, group.pushed) = (false, 0);
            group.judgings += 1;
        }
        self.sealed_counts += sealed.iter().fold(Counts::default(), |sum, judged| sum + Counts::of(&judged.incident));
        if !reporting {
            self.sealed.extend(sealed);
        }
        self.groups.drop_empty(id);
    }
}

/// The line that stays of an incident that goes on: its first kill, or what it began with.
fn anchor(judged: &Judged) -> Option<usize> {
    let kill = judged.core.iter().find(|line| matches!(line.event, Event::OomKill(_)));
    kill.or(judged.core.first()).map(address)
}

/// The end of the container that an incident's first kill was in: without, the container would seem to live on.
fn end_of(judged: &Judged, anchor: usize) -> Option<&Arc<Digested>> {
    let container = judged.core.iter().find(|line| address(line) == anchor).and_then(|line| killed_in(&line.event))?;
    judged.core.iter().find(|line| ended(&line.event).as_ref() == Some(container))
}

impl Fold {
    /// It stands for an incident up to its last line.
    fn reach(&mut self, before: &Judged) {
        self.started.clone_from(&before.incident.started);
        if before.last >= self.last {
            self.last = before.last;
            self.ended = before.incident.ended.clone().unwrap_or_default();
        }
        let kills = before.core.iter().rev().filter(|line| matches!(line.event, Event::OomKill(_)));
        let last_kill = kills.filter_map(|line| super::nanoseconds(&line.ts)).max();
        self.last_kill = self.last_kill.max(last_kill.unwrap_or(i64::MIN));
    }
}
