//! All files of the journal, followed across rotation.
//!
//! A rotated file stays open until it is read to its end, whatever it is called by then, and whether or not it was deleted. What
//! appears later is read from its start, but for entries that were read already: journald copies those of /run to /var.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{
    entry,
    file::{Damage, Entry, JournalFile},
    folders::{self, Found, NoFiles, Place},
    terms::Terms,
};

/// So often the folders are looked through even where nothing seems to have changed in them.
const LOOK_ANEW: Duration = Duration::from_secs(2);
/// journald counts an entry before it puts it into the lists of its fields. Where it is held up between the two, an entry that is
/// counted is not in its unit's list yet, and no other may follow: for so long after a change the lists are looked at again.
const SETTLES: Duration = Duration::from_mins(1);
/// A file without a whole header that changed in this time is one that journald is making.
const YOUNG: Duration = Duration::from_secs(10);
/// So many files are open at a time.
const MOST_OPEN: usize = 256;
/// So many entries of each term are read at once.
const AT_ONCE: usize = 256;
/// So many bytes are handed on at once.
const PIECE: usize = 64 * 1024;
/// So many boots are told apart.
const MOST_BOOTS: usize = 64;
/// So many offsets are remembered, for entries that are two terms'.
const RECENT: usize = 64;

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Entries that cannot be read.
    pub lost: u64,
    /// What is wrong, said for the first time.
    pub trouble: Vec<String>,
}

/// Up to which entry the journal was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The boot of the entry.
    pub boot_id: [u8; 16],
    /// Microseconds since then.
    pub monotonic: u64,
    /// The same in each copy of it.
    pub xor_hash: u64,
}

/// The files of the journal.
pub struct Reader {
    place: Place,
    terms: Terms,
    /// The fields that are read.
    names: &'static [&'static str],
    open: Vec<Open>,
    /// Files that need not be read any more, as they were then.
    done: HashMap<(u64, u64), (u64, i128)>,
    /// When the folders were looked through, and what they were then.
    looked: Option<(Instant, Vec<(PathBuf, SystemTime)>)>,
    /// The last entry of each boot.
    read: HashMap<[u8; 16], (u64, u64)>,
    last: Position,
    /// What was said already.
    said: HashSet<String>,
}

struct Open {
    found: Found,
    file: JournalFile<File>,
    terms: Terms,
    /// How many entries it had, and when that was seen for the first time.
    counted: Option<(u64, Instant)>,
    /// Whether all that could be read of them was.
    complete: bool,
    recent: VecDeque<u64>,
    /// What was read of these boots before it appeared is not read again.
    after: HashMap<[u8; 16], (u64, u64)>,
}

impl Position {
    /// Whether it comes after another of the same boot.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        self.boot_id == other.boot_id
            && (self.monotonic > other.monotonic
                || self.monotonic == other.monotonic && self.xor_hash != other.xor_hash)
    }

    /// Whether it is of this boot.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        folders::boot_id() == Some(self.boot_id)
    }
}

impl Reader {
    /// Opens the files there are, to read these fields of these entries.
    ///
    /// # Errors
    ///
    /// Fails where there is none that can be read.
    pub fn open(place: Place, terms: Terms, names: &'static [&'static str]) -> Result<Self, NoFiles> {
        let mut reader = Self {
            place,
            terms,
            names,
            open: Vec::new(),
            done: HashMap::new(),
            looked: None,
            read: HashMap::new(),
            last: Position::default(),
            said: HashSet::new(),
        };
        let folders = reader.place.folders()?;
        let mut failed = None;
        let found = reader.find(&folders)?;
        let none = found.is_empty();
        for found in found {
            let path = found.path.clone();
            if let Err(damage) = reader.add(found) {
                // The newest one comes first, and counts: it is the one that is written.
                failed.get_or_insert((path, damage));
            }
        }
        match failed {
            _ if none => Err(NoFiles::Empty(folders::list(&folders))),
            Some((path, damage)) if reader.is_of_no_use(&path, damage) => Err(NoFiles::File { path, damage }),
            _ => Ok(reader),
        }
    }

    /// Whether what is written now cannot be read.
    fn is_of_no_use(&self, path: &Path, damage: Damage) -> bool {
        let is_current = path.file_name().is_some_and(|name| name == "system.journal");
        self.open.is_empty() || is_current && matches!(damage, Damage::Header(_) | Damage::Io(_))
    }

    /// Files that are not known yet, the newest first.
    fn find(&mut self, folders: &[PathBuf]) -> Result<Vec<Found>, NoFiles> {
        let stamps = |folder: &PathBuf| Some((folder.clone(), fs::metadata(folder).ok()?.modified().ok()?));
        self.looked = Some((Instant::now(), folders.iter().filter_map(stamps).collect()));
        let mut all = Vec::new();
        for folder in folders {
            all.extend(folders::files(folder).map_err(|error| NoFiles::Folder { path: folder.clone(), error })?);
        }
        let there: HashSet<_> = all.iter().map(|found| found.identity).collect();
        self.done.retain(|identity, _| there.contains(identity));
        all.retain(|found| {
            let is_open = self.open.iter().any(|open| open.found.identity == found.identity);
            !is_open && self.done.get(&found.identity) != Some(&found.state)
        });
        all.sort_by_key(|found| std::cmp::Reverse(found.state.1));
        Ok(all)
    }

    /// Opens a file, unless it is being made: then it is tried again.
    fn add(&mut self, found: Found) -> Result<(), Damage> {
        let opened = if self.open.len() < MOST_OPEN {
            File::open(&found.path).map_err(|error| Damage::Io(error.kind())).and_then(JournalFile::open)
        } else {
            Err(Damage::Io(io::ErrorKind::QuotaExceeded))
        };
        match opened {
            Ok(file) => {
                self.open.push(Open {
                    found,
                    file,
                    terms: self.terms.clone(),
                    counted: None,
                    complete: false,
                    recent: VecDeque::with_capacity(RECENT),
                    after: self.read.clone(),
                });
                Ok(())
            }
            Err(Damage::Header(header)) if header.is_unfinished(found.state.0) && found.age() < YOUNG => Ok(()),
            Err(damage) => {
                self.done.insert(found.identity, found.state);
                Err(damage)
            }
        }
    }

    /// Passes over all entries there are but the last `most`, and prints those for which `wanted` holds, in the order of time.
    ///
    /// # Errors
    ///
    /// Fails where `give` does.
    pub fn past<E>(
        &mut self,
        most: usize,
        wanted: impl Fn(&Position, u64) -> bool,
        mut give: impl FnMut(&[u8], &Position, u64) -> Result<(), E>,
    ) -> Result<Taken, E> {
        let mut taken = Taken::default();
        let mut all = Vec::new();
        for index in 0..self.open.len() {
            // The newest files come first; of older ones nothing is read where those have enough.
            let most = if all.len() < most { most } else { 0 };
            self.past_of(index, most, &wanted, &mut all, &mut taken);
        }
        let boot = folders::boot_id();
        // Within this boot by its clock, which nobody sets; what was before, by the calendar.
        all.sort_by_key(|(position, realtime, ..)| {
            let own = Some(position.boot_id) == boot;
            (own, if own { position.monotonic } else { *realtime })
        });
        let first = all.len().saturating_sub(most);
        let mut printed = Vec::new();
        for (position, realtime, index, at) in all.drain(first..) {
            printed.clear();
            let open = &mut self.open[index];
            if open.print(at, self.names, &mut printed, &mut taken, &mut self.said) {
                give(&printed, &position, realtime)?;
            }
        }
        Ok(taken)
    }

    /// Where the last entries of a file are, and when they were made.
    fn past_of(
        &mut self,
        index: usize,
        most: usize,
        wanted: &impl Fn(&Position, u64) -> bool,
        all: &mut Vec<(Position, u64, usize, u64)>,
        taken: &mut Taken,
    ) {
        let open = &mut self.open[index];
        if let Err(damage) = open.terms.skip(&open.file, most as u64) {
            open.say(damage, &mut self.said, taken);
        }
        let mut own = VecDeque::new();
        loop {
            let (offsets, damage) = open.terms.take(&open.file, AT_ONCE);
            if let Some(damage) = damage {
                open.say(damage, &mut self.said, taken);
            }
            if offsets.is_empty() {
                break;
            }
            for at in offsets {
                match open.file.entry(at) {
                    Ok(entry) => {
                        let position = position(&entry);
                        note(&mut self.read, &mut self.last, &position);
                        open.remember(at);
                        if wanted(&position, entry.realtime) {
                            own.push_back((position, entry.realtime, index, at));
                        }
                    }
                    Err(damage) => {
                        taken.lost += 1;
                        open.say(damage, &mut self.said, taken);
                    }
                }
            }
            let surplus = own.len().saturating_sub(2 * most);
            own.drain(..surplus);
        }
        all.extend(own);
    }

    /// Prints what was written since, and gives it in pieces of whole entries.
    ///
    /// # Errors
    ///
    /// Fails where `give` does.
    pub fn take<E>(&mut self, mut give: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Taken, E> {
        let mut taken = Taken::default();
        self.take_from_open(&mut taken, &mut give)?;
        if self.look_anew(&mut taken) {
            self.take_from_open(&mut taken, &mut give)?;
        }
        Ok(taken)
    }

    /// Up to where it was read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.last
    }

    fn take_from_open<E>(&mut self, taken: &mut Taken, give: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Self { open, names, read, last, said, done, .. } = self;
        let mut failed = Ok(());
        open.retain_mut(|open| {
            if failed.is_err() {
                return true;
            }
            match open.take(names, read, last, said, taken, give) {
                Ok(More::Yes) => true,
                Ok(More::Never) => {
                    done.insert(open.found.identity, open.state());
                    false
                }
                Err(error) => {
                    failed = Err(error);
                    true
                }
            }
        });
        failed
    }

    /// Opens files that came meanwhile, and says whether there are any.
    fn look_anew(&mut self, taken: &mut Taken) -> bool {
        if let Some((at, folders)) = &self.looked
            && at.elapsed() < LOOK_ANEW
            && folders.iter().all(|(folder, stamp)| {
                fs::metadata(folder).and_then(|metadata| metadata.modified()).is_ok_and(|now| now == *stamp)
            })
        {
            return false;
        }
        let found = self.place.folders().and_then(|folders| self.find(&folders));
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                say(error.to_string(), &mut self.said, taken);
                return false;
            }
        };
        let any = !found.is_empty();
        for found in found.into_iter().rev() {
            let path = found.path.clone();
            if let Err(damage) = self.add(found) {
                say(format!("{}: {damage}", path.display()), &mut self.said, taken);
            }
        }
        any
    }
}

/// Whether a file will have more.
enum More {
    Yes,
    Never,
}

impl Open {
    /// Size and time of the last change.
    fn state(&self) -> (u64, i128) {
        self.file.bytes().metadata().map_or(self.found.state, |metadata| {
            (metadata.len(), i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()))
        })
    }

    fn take<E>(
        &mut self,
        names: &[&str],
        read: &mut HashMap<[u8; 16], (u64, u64)>,
        last: &mut Position,
        said: &mut HashSet<String>,
        taken: &mut Taken,
        give: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<More, E> {
        if let Err(damage) = self.file.refresh() {
            self.say(damage, said, taken);
            return Ok(if matches!(damage, Damage::Io(_)) { More::Yes } else { More::Never });
        }
        if self.may_have_more() {
            self.complete = true;
            self.take_entries(names, (read, last), said, taken, give)?;
        }
        let closed = self.found.path.extension().is_some_and(|extension| extension == "journal~");
        Ok(if self.file.header().archived || closed { More::Never } else { More::Yes })
    }

    fn take_entries<E>(
        &mut self,
        names: &[&str],
        (read, last): (&mut HashMap<[u8; 16], (u64, u64)>, &mut Position),
        said: &mut HashSet<String>,
        taken: &mut Taken,
        give: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut printed = Vec::new();
        loop {
            let (offsets, damage) = self.terms.take(&self.file, AT_ONCE);
            if let Some(damage) = damage {
                self.complete = false;
                self.say(damage, said, taken);
            }
            if offsets.is_empty() {
                break;
            }
            for at in offsets {
                self.take_entry(at, names, (read, last), said, taken, &mut printed);
                if printed.len() >= PIECE {
                    give(&printed)?;
                    printed.clear();
                }
            }
        }
        if printed.is_empty() { Ok(()) } else { give(&printed) }
    }

    /// Whether entries may be in the lists that were not there when it was looked at before.
    fn may_have_more(&mut self) -> bool {
        let entries = self.file.header().entries;
        match self.counted {
            Some((counted, since)) if counted == entries => !self.complete || since.elapsed() < SETTLES,
            _ => {
                self.counted = Some((entries, Instant::now()));
                true
            }
        }
    }

    fn take_entry(
        &mut self,
        at: u64,
        names: &[&str],
        (read, last): (&mut HashMap<[u8; 16], (u64, u64)>, &mut Position),
        said: &mut HashSet<String>,
        taken: &mut Taken,
        printed: &mut Vec<u8>,
    ) {
        if self.recent.contains(&at) {
            return;
        }
        self.remember(at);
        let position = match self.file.entry(at) {
            Ok(entry) => position(&entry),
            Err(damage) => {
                taken.lost += 1;
                return self.say(damage, said, taken);
            }
        };
        let before = self.after.get(&position.boot_id).copied();
        if before.is_some_and(|(monotonic, xor_hash)| {
            position.monotonic < monotonic || position.monotonic == monotonic && position.xor_hash == xor_hash
        }) {
            return;
        }
        if self.print(at, names, printed, taken, said) {
            note(read, last, &position);
        }
    }

    fn remember(&mut self, at: u64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
    }

    /// Prints an entry, and says whether it could.
    fn print(
        &mut self,
        at: u64,
        names: &[&str],
        printed: &mut Vec<u8>,
        taken: &mut Taken,
        said: &mut HashSet<String>,
    ) -> bool {
        let length = printed.len();
        match self.file.entry(at).and_then(|entry| entry::print(&mut self.file, &entry, names, printed)) {
            Ok(left_out) => {
                if let Some(damage) = left_out {
                    self.say(damage, said, taken);
                }
                true
            }
            Err(damage) => {
                printed.truncate(length);
                taken.lost += 1;
                self.say(damage, said, taken);
                false
            }
        }
    }

    fn say(&self, damage: Damage, said: &mut HashSet<String>, taken: &mut Taken) {
        say(format!("{}: {damage}", self.found.path.display()), said, taken);
    }
}

fn say(words: String, said: &mut HashSet<String>, taken: &mut Taken) {
    if said.len() < MOST_OPEN && said.insert(words.clone()) {
        taken.trouble.push(words);
    }
}

fn position(entry: &Entry) -> Position {
    Position { boot_id: entry.boot_id, monotonic: entry.monotonic, xor_hash: entry.xor_hash }
}

/// Takes note of an entry that was read.
fn note(read: &mut HashMap<[u8; 16], (u64, u64)>, last: &mut Position, position: &Position) {
    if read.len() >= MOST_BOOTS && !read.contains_key(&position.boot_id) {
        read.clear();
    }
    let newest = read.entry(position.boot_id).or_default();
    if position.monotonic >= newest.0 {
        *newest = (position.monotonic, position.xor_hash);
        *last = *position;
    }
}
