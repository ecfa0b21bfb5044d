//! Which entries of a file are a unit's, and how far they were read.

use super::file::{Damage, Entry, JournalFile, ReadAt};

/// What `journalctl --unit` looks for (`add_matches_for_unit`, `src/shared/logs-show.c`): the unit's own words, those of systemd
/// (by its process before version 257, by its cgroup since) and of root's daemons about it, and its core dumps. The second text
/// has to be in the entry as well.
const OF_UNIT: [(&str, Option<&str>); 5] = [
    ("_SYSTEMD_UNIT", None),
    ("UNIT", Some("_PID=1")),
    ("UNIT", Some("_SYSTEMD_CGROUP=/init.scope")),
    ("OBJECT_SYSTEMD_UNIT", Some("_UID=0")),
    ("COREDUMP_UNIT", Some("_UID=0")),
];
/// `MESSAGE_ID` of a core dump, `SD_MESSAGE_COREDUMP`.
const COREDUMP: &str = "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1";

/// Entries of a file that are wanted.
#[derive(Clone, Debug)]
pub struct Terms(Vec<Term>);

#[derive(Clone, Debug)]
struct Term {
    text: Vec<u8>,
    /// What else an entry has to have.
    also: Vec<Also>,
    /// The data object with the text, once there is one.
    data: Option<u64>,
    /// How many of its entries were taken.
    taken: u64,
    /// The array where the next one is, and how many entries come before it.
    array: (u64, u64),
}

#[derive(Clone, Debug)]
struct Also {
    text: &'static [u8],
    data: Option<u64>,
}

impl Terms {
    /// All that has to do with these units.
    #[must_use]
    pub fn of_units(units: &[String]) -> Self {
        let term = |unit: &str, (name, also): (&str, Option<&'static str>)| {
            let coredump = (name == "COREDUMP_UNIT").then_some(COREDUMP);
            let also = also.into_iter().chain(coredump);
            Term::new(format!("{name}={unit}"), also.map(|text| Also { text: text.as_bytes(), data: None }).collect())
        };
        let full = |unit: &String| if unit.contains('.') { unit.clone() } else { format!("{unit}.service") };
        Self(units.iter().map(full).flat_map(|unit| OF_UNIT.map(|of| term(&unit, of))).collect())
    }

    /// What has this field, with this value.
    #[must_use]
    pub fn with(text: &str) -> Self {
        Self(vec![Term::new(text.to_owned(), Vec::new())])
    }

    /// Passes over all but the last `most` entries of each.
    pub(super) fn skip<R: ReadAt>(&mut self, file: &JournalFile<R>, most: u64) -> Result<(), Damage> {
        for term in &mut self.0 {
            if let Some(data) = term.locate(file)? {
                term.taken = term.taken.max(file.entries_with(data)?.count.saturating_sub(most));
            }
        }
        Ok(())
    }

    /// The offsets of entries that were not taken yet, about `most` of each term, in the order of the file. What stops it is
    /// given as well: it is tried again from there.
    pub(super) fn take<R: ReadAt>(&mut self, file: &JournalFile<R>, most: usize) -> (Vec<u64>, Option<Damage>) {
        let (mut offsets, mut damage) = (Vec::new(), None);
        for term in &mut self.0 {
            let before = offsets.len();
            let taken = term.take(file, before + most, &mut offsets);
            damage = damage.or(taken.err());
            term.restrict(file, before, &mut offsets);
        }
        offsets.sort_unstable();
        offsets.dedup();
        (offsets, damage)
    }
}

impl Term {
    fn new(text: String, also: Vec<Also>) -> Self {
        Self { text: text.into_bytes(), also, data: None, taken: 0, array: (0, 0) }
    }

    fn locate<R: ReadAt>(&mut self, file: &JournalFile<R>) -> Result<Option<u64>, Damage> {
        if self.data.is_none() {
            self.data = file.find(&self.text)?;
        }
        Ok(self.data)
    }

    fn take<R: ReadAt>(&mut self, file: &JournalFile<R>, most: usize, offsets: &mut Vec<u64>) -> Result<(), Damage> {
        let Some(data) = self.locate(file)? else { return Ok(()) };
        let entries = file.entries_with(data)?;
        if self.taken == 0 && entries.count > 0 {
            offsets.push(entries.first);
            self.taken = 1;
        }
        while self.taken < entries.count && offsets.len() < most {
            if self.array.0 == 0 {
                // The first entry is not in the arrays.
                self.array = (entries.array, 1);
            }
            let (array, before) = self.array;
            let (next, places) = file.array(array)?;
            let from = self.taken.saturating_sub(before);
            if from >= places {
                if next == 0 {
                    return Ok(());
                }
                self.array = (next, before.saturating_add(places));
                continue;
            }
            let count = (entries.count - self.taken).min(places - from).min((most - offsets.len()) as u64);
            for offset in file.items(array, from, count)? {
                if offset == 0 {
                    // It is being written.
                    return Ok(());
                }
                offsets.push(offset);
                self.taken += 1;
            }
        }
        Ok(())
    }

    /// Drops those of the offsets whose entries have not all that they have to have. An entry that cannot be read stays, to be
    /// counted.
    fn restrict<R: ReadAt>(&mut self, file: &JournalFile<R>, from: usize, offsets: &mut Vec<u64>) {
        if self.also.is_empty() || offsets.len() == from {
            return;
        }
        let own = offsets.split_off(from);
        offsets.extend(own.into_iter().filter(|at| file.entry(*at).map_or(true, |entry| self.applies(file, &entry))));
    }

    fn applies<R: ReadAt>(&mut self, file: &JournalFile<R>, entry: &Entry) -> bool {
        self.also.iter_mut().all(|also| {
            if also.data.is_none() {
                also.data = file.find(also.text).ok().flatten();
            }
            also.data.is_some_and(|data| entry.items.contains(&data))
        })
    }
}
