//! One file: objects by their offsets, and data by its text.

use std::{collections::HashSet, fs::File, io};

use super::{
    hash,
    layout::{ARRAY, DATA, ENTRY, HEADER, Header, KEYED_HASH, Kind, NoHeader, OBJECT, id_at, u32_at, u64_at},
    unpack::{self, COMPRESSED},
};

/// A text that is longer, compressed or not, is not read.
const MOST_TEXT: usize = 1024 * 1024;
/// An entry has no more items: `ENTRY_FIELD_COUNT_MAX`, and what journald adds.
const MOST_ITEMS: u64 = 2048;
/// So many items of an array are read at once.
const MOST_AT_ONCE: u64 = 2048;
/// A chain of data objects with one place in the table is no longer.
const MOST_IN_CHAIN: u32 = 100_000;
/// So much of a text is read to see whose it is.
const NAME: usize = 64;
/// So many data objects are remembered as of no use.
const MOST_USELESS: usize = 8192;

/// Bytes at any place: a file, or a buffer in tests.
pub trait ReadAt {
    /// Reads at most as many bytes as there is room for.
    ///
    /// # Errors
    ///
    /// Fails where the file cannot be read.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, bytes, at)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Why a file, or a part of it, cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The system says so.
    #[error("{}", io::Error::from(*.0))]
    Io(io::ErrorKind),
    /// It is not what it should be.
    #[error("{0} is damaged")]
    Torn(&'static str),
    /// It is compressed with XZ, as before systemd 229.
    #[error("it is compressed with XZ, which oomtrace does not unpack")]
    Xz,
    /// It is compressed in a way that is not known.
    #[error("it is compressed in a way that this version of oomtrace does not know (object flags {0:#x})")]
    Compression(u8),
    /// It is larger than anything that is read.
    #[error("a text is longer than 1 MiB")]
    TooLarge,
    /// The file is not a journal's, or has features that are not known.
    #[error("{0}")]
    Header(#[from] HeaderDamage),
}

/// Why its header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct HeaderDamage(NoHeader);

impl HeaderDamage {
    /// Whether that of a file that is being made would look like this; so many bytes were there a moment ago.
    pub(super) fn is_unfinished(self, size: u64) -> bool {
        self.0 == NoHeader::Torn || self.0 == NoHeader::Signature && size == 0
    }
}

impl From<NoHeader> for Damage {
    fn from(no: NoHeader) -> Self {
        Self::Header(HeaderDamage(no))
    }
}

/// A file of the journal.
pub struct JournalFile<R> {
    bytes: R,
    header: Header,
    /// Data objects that hold no field that is asked for.
    useless: HashSet<u64>,
}

/// An entry without its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seqnum: u64,
    pub(super) realtime: u64,
    pub(super) monotonic: u64,
    pub(super) boot_id: [u8; 16],
    /// The same in each copy of an entry.
    pub(super) xor_hash: u64,
    /// Where its data objects are.
    pub(super) items: Vec<u64>,
}

/// Which entries have a data object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pub(super) first: u64,
    pub(super) array: u64,
    pub(super) count: u64,
}

impl<R: ReadAt> JournalFile<R> {
    /// Reads its header.
    ///
    /// # Errors
    ///
    /// Fails where it is not a file of the journal, or one that cannot be read.
    pub fn open(bytes: R) -> Result<Self, Damage> {
        let header = header(&bytes)?;
        Ok(Self { bytes, header, useless: HashSet::new() })
    }

    pub(super) fn bytes(&self) -> &R {
        &self.bytes
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Reads its header again, to see what was written since.
    pub(super) fn refresh(&mut self) -> Result<(), Damage> {
        let header = header(&self.bytes)?;
        if header.file_id != self.header.file_id {
            return Err(Damage::Torn("the header, which is now another file's,"));
        }
        self.header = header;
        Ok(())
    }

    fn read(&self, at: u64, bytes: &mut [u8], what: &'static str) -> Result<(), Damage> {
        if read_fully(&self.bytes, at, bytes)? < bytes.len() { Err(Damage::Torn(what)) } else { Ok(()) }
    }

    /// The beginning of an object, its flags and its size.
    fn object<const N: usize>(&self, at: u64, kind: Kind, what: &'static str) -> Result<([u8; N], u8, u64), Damage> {
        let mut head = [0; N];
        if at < self.header.size || !at.is_multiple_of(8) {
            return Err(Damage::Torn(what));
        }
        self.read(at, &mut head, what)?;
        let size = u64_at(&head, 8);
        if head[0] != kind as u8 || size < N as u64 || at.checked_add(size).is_none() {
            return Err(Damage::Torn(what));
        }
        Ok((head, head[1], size))
    }

    /// Where a data object's text begins.
    fn text_at(&self) -> usize {
        if self.header.is_compact() { DATA.1 } else { DATA.0 }
    }

    fn item_size(&self, regular: u64) -> u64 {
        if self.header.is_compact() { 4 } else { regular }
    }

    /// The data object with a text, `NAME=value`, by the table.
    pub(super) fn find(&self, text: &[u8]) -> Result<Option<u64>, Damage> {
        const WHAT: &str = "the table of its data";
        let hash = if self.header.incompatible & KEYED_HASH != 0 {
            hash::keyed(text, &self.header.file_id)
        } else {
            hash::jenkins(text)
        };
        let mut first = [0; 8];
        let (table, size) = self.header.table;
        let place = table.checked_add(hash % (size / 16) * 16).ok_or(Damage::Torn(WHAT))?;
        self.read(place, &mut first, WHAT)?;
        let mut at = u64::from_le_bytes(first);
        for _ in 0..MOST_IN_CHAIN {
            if at == 0 {
                return Ok(None);
            }
            let (head, flags, size) = self.object::<{ DATA.0 }>(at, Kind::Data, WHAT)?;
            if u64_at(&head, 16) == hash && self.is(at, flags, size, text)? {
                return Ok(Some(at));
            }
            // Each is put behind those that were there.
            let next = u64_at(&head, 24);
            if next != 0 && next <= at {
                return Err(Damage::Torn(WHAT));
            }
            at = next;
        }
        Err(Damage::Torn(WHAT))
    }

    fn is(&self, at: u64, flags: u8, size: u64, text: &[u8]) -> Result<bool, Damage> {
        let start = self.text_at();
        if flags & COMPRESSED != 0 || size != (start + text.len()) as u64 {
            return Ok(false);
        }
        let mut there = vec![0; text.len()];
        self.read(at + start as u64, &mut there, "a text")?;
        Ok(there == text)
    }

    /// Which entries have this data.
    pub(super) fn entries_with(&self, data: u64) -> Result<Entries, Damage> {
        let (head, ..) = self.object::<{ DATA.0 }>(data, Kind::Data, "a data object")?;
        Ok(Entries { first: u64_at(&head, 40), array: u64_at(&head, 48), count: u64_at(&head, 56) })
    }

    /// The array after this one, and how many places it has itself.
    pub(super) fn array(&self, at: u64) -> Result<(u64, u64), Damage> {
        const WHAT: &str = "a list of entries";
        let (head, _, size) = self.object::<ARRAY>(at, Kind::EntryArray, WHAT)?;
        let next = u64_at(&head, 16);
        if next != 0 && next <= at {
            return Err(Damage::Torn(WHAT));
        }
        Ok((next, (size - ARRAY as u64) / self.item_size(8)))
    }

    /// At most `count` of an array's items, from this one on: offsets of entries.
    pub(super) fn items(&self, array: u64, from: u64, count: u64) -> Result<Vec<u64>, Damage> {
        let size = self.item_size(8);
        let at = array + ARRAY as u64 + from * size;
        let mut bytes = vec![0; usize::try_from(count.min(MOST_AT_ONCE) * size).unwrap_or(0)];
        self.read(at, &mut bytes, "a list of entries")?;
        Ok(self.offsets(&bytes, size))
    }

    /// Offsets, one in each `step` bytes.
    fn offsets(&self, bytes: &[u8], step: u64) -> Vec<u64> {
        let compact = self.header.is_compact();
        let offset = |item: &[u8]| if compact { u64::from(u32_at(item, 0)) } else { u64_at(item, 0) };
        bytes.chunks_exact(usize::try_from(step).unwrap_or(16)).map(offset).collect()
    }

    pub(super) fn entry(&self, at: u64) -> Result<Entry, Damage> {
        const WHAT: &str = "an entry";
        let (head, _, size) = self.object::<ENTRY>(at, Kind::Entry, WHAT)?;
        let step = self.item_size(16);
        let count = (size - ENTRY as u64) / step;
        if count > MOST_ITEMS {
            return Err(Damage::Torn(WHAT));
        }
        let mut items = vec![0; usize::try_from(count * step).unwrap_or(0)];
        self.read(at + ENTRY as u64, &mut items, WHAT)?;
        Ok(Entry {
            seqnum: u64_at(&head, 16),
            realtime: u64_at(&head, 24),
            monotonic: u64_at(&head, 32),
            boot_id: id_at(&head, 40),
            xor_hash: u64_at(&head, 56),
            items: self.offsets(&items, step),
        })
    }

    /// The text of a data object, where it is of one of these fields.
    pub(super) fn field(&mut self, at: u64, names: &[&str]) -> Result<Option<Vec<u8>>, Damage> {
        if self.useless.contains(&at) {
            return Ok(None);
        }
        let read = self.text(at, names);
        if matches!(read, Ok(None)) {
            if self.useless.len() >= MOST_USELESS {
                self.useless.clear();
            }
            self.useless.insert(at);
        }
        read
    }

    fn text(&self, at: u64, names: &[&str]) -> Result<Option<Vec<u8>>, Damage> {
        const WHAT: &str = "a data object";
        let (_, flags, size) = self.object::<OBJECT>(at, Kind::Data, WHAT)?;
        let start = self.text_at();
        let size = size.checked_sub(start as u64).ok_or(Damage::Torn(WHAT))?;
        let wanted = |text: &[u8]| names.iter().any(|name| value(text, name).is_some());
        let at = at + start as u64;
        let packed = flags & COMPRESSED != 0;
        if !packed {
            let mut first = [0; NAME];
            let first = &mut first[..usize::try_from(size).map_or(NAME, |size| size.min(NAME))];
            self.read(at, first, WHAT)?;
            if !wanted(first) {
                return Ok(None);
            }
        }
        let size = usize::try_from(size).ok().filter(|size| *size <= MOST_TEXT).ok_or(Damage::TooLarge)?;
        let mut text = vec![0; size];
        self.read(at, &mut text, WHAT)?;
        if packed {
            text = unpack::unpack(flags, &text, MOST_TEXT)?;
        }
        Ok(wanted(&text).then_some(text))
    }
}

/// The value in `NAME=value`.
pub(super) fn value<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn header(bytes: &impl ReadAt) -> Result<Header, Damage> {
    let mut head = [0; HEADER.1];
    let count = read_fully(bytes, 0, &mut head)?;
    Ok(Header::parse(&head[..count])?)
}

/// Reads until there is no more, and says how much that was.
fn read_fully(from: &impl ReadAt, at: u64, bytes: &mut [u8]) -> Result<usize, Damage> {
    let mut count = 0;
    while count < bytes.len() {
        match at.checked_add(count as u64).map(|at| from.read_at(&mut bytes[count..], at)) {
            Some(Ok(0)) | None => break,
            Some(Ok(more)) => count += more,
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Some(Err(error)) => return Err(Damage::Io(error.kind())),
        }
    }
    Ok(count)
}
