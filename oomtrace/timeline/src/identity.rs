//! Which incident is which when a group is judged again: an incident keeps its name for as long as it has a line of its own,
//! whatever it turns out to be.

use std::collections::{BTreeMap, BTreeSet};

use super::{fnv1a, fold::address, judge::Judged};

/// A line of an incident's own weighs more than all that happened around it.
const OWN: usize = 1 << 20;

/// The incident that each line was in, by the line's address.
#[derive(Debug, Default)]
pub(super) struct Homes {
    of_lines: BTreeMap<usize, String>,
    /// What became of incidents that are none any more: the one that has their lines.
    moved: BTreeMap<String, Option<String>>,
}

impl Homes {
    /// Names incidents as they were named before, each as the one that it has the most lines of. Where the group is judged for
    /// that, it is kept.
    pub(super) fn name(&mut self, judged: &mut [Judged], keep: bool) {
        let mut claims: Vec<(usize, usize, &String)> = Vec::new();
        for (index, judged) in judged.iter().enumerate() {
            let mut votes: BTreeMap<&String, usize> = BTreeMap::new();
            for (lines, weight) in [(&judged.core, OWN), (&judged.lines, 1)] {
                for home in lines.iter().filter_map(|line| self.of_lines.get(&address(line))) {
                    *votes.entry(home).or_default() += weight;
                }
            }
            claims.extend(votes.into_iter().map(|(id, votes)| (votes, index, id)));
        }
        claims.sort_by(|a, b| (b.0, judged[a.1].at, a.2).cmp(&(a.0, judged[b.1].at, b.2)));
        let mut named: BTreeMap<usize, String> = BTreeMap::new();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for (_, index, id) in &claims {
            if !named.contains_key(index) && taken.insert((*id).clone()) {
                named.insert(*index, (*id).clone());
            }
        }
        let gone: Vec<(String, usize)> = {
            let mut seen = BTreeSet::new();
            let gone = claims.iter().filter(|(_, _, id)| !taken.contains(*id) && seen.insert((*id).clone()));
            gone.map(|(_, index, id)| ((*id).clone(), *index)).collect()
        };
        let known: BTreeSet<&String> = self.of_lines.values().collect();
        for (index, judged) in judged.iter_mut().enumerate() {
            if let Some(id) = named.remove(&index) {
                judged.incident.id = id;
                continue;
            }
            while taken.contains(&judged.incident.id) || known.contains(&judged.incident.id) {
                judged.incident.id = format!("{:016x}", fnv1a(judged.incident.id.as_bytes()));
            }
            taken.insert(judged.incident.id.clone());
        }
        if !keep {
            return;
        }
        for id in known.into_iter().filter(|id| !taken.contains(*id)) {
            let into = gone.iter().find(|(gone, _)| gone == id);
            self.moved.insert(id.clone(), into.map(|(_, index)| judged[*index].incident.id.clone()));
        }
        self.keep(judged);
    }

    /// Keeps the names of incidents as they are.
    pub(super) fn keep(&mut self, judged: &[Judged]) {
        let lines =
            judged.iter().flat_map(|judged| judged.core.iter().map(|line| (address(line), judged.incident.id.clone())));
        self.of_lines = lines.collect();
    }

    /// What an incident that is none any more has become a part of.
    pub(super) fn take_moved(&mut self, id: &str) -> Option<String> {
        self.moved.remove(id).flatten()
    }

    /// What became of incidents was reported.
    pub(super) fn settled(&mut self) {
        self.moved.clear();
    }

    /// The incident that a line was in.
    pub(super) fn of(&self, line: usize) -> Option<&String> {
        self.of_lines.get(&line)
    }

    /// All incidents' names, in order, each once.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.of_lines.values().collect::<BTreeSet<_>>().into_iter()
    }

    /// A line is let go of.
    pub(super) fn forget(&mut self, line: usize) {
        self.of_lines.remove(&line);
    }

    /// Two groups have become one.
    pub(super) fn extend(&mut self, other: Self) {
        self.of_lines.extend(other.of_lines);
        self.moved.extend(other.moved);
    }
}
