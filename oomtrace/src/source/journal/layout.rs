//! The header and the objects of a file, byte for byte: `src/libsystemd/sd-journal/journal-def.h`.

/// How a file begins.
const SIGNATURE: &[u8] = b"LPKSHHRH";
/// The header of systemd 187, which older files do not have; and that of the newest that is known.
pub(super) const HEADER: (usize, usize) = (208, 272);

/// `HEADER_INCOMPATIBLE_*`: a reader that does not know one of them cannot read the file.
pub(super) const KEYED_HASH: u32 = 1 << 2;
pub(super) const COMPACT: u32 = 1 << 4;
/// Compressed with XZ, LZ4 and Zstandard; whether an object is, it says itself.
const KNOWN: u32 = 1 | 1 << 1 | KEYED_HASH | 1 << 3 | COMPACT;

/// `STATE_ARCHIVED`: never written again.
const ARCHIVED: u8 = 2;

/// The kinds of objects that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data = 1,
    Entry = 3,
    EntryArray = 6,
}

/// What comes before every object's own: kind, flags, size.
pub(super) const OBJECT: usize = 16;
/// A data object up to its text, in a regular file and in a compact one.
pub(super) const DATA: (usize, usize) = (64, 72);
/// An entry up to its items, and an array up to its.
pub(super) const ENTRY: usize = 64;
pub(super) const ARRAY: usize = 24;

/// Numbers in little endian at fixed places of a buffer that is long enough.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(super) fn id_at(bytes: &[u8], at: usize) -> [u8; 16] {
    bytes.get(at..at + 16).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

/// What a file's header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) incompatible: u32,
    pub(super) archived: bool,
    pub(super) file_id: [u8; 16],
    /// The boot in which it was last written; before systemd 254 the one in which it was opened for that.
    pub(super) boot_id: [u8; 16],
    /// Of the series of numbers that its entries have.
    pub(super) seqnum_id: [u8; 16],
    pub(super) size: u64,
    /// Where the table of data objects is, and its size in bytes.
    pub(super) table: (u64, u64),
    pub(super) entries: u64,
    /// When its last entry was made, microseconds since 1970.
    pub(super) last_realtime: u64,
}

/// Why a header is none that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoHeader {
    #[error("it does not begin as a journal's file does")]
    Signature,
    #[error("its header is torn")]
    Torn,
    #[error("it has features that this version of oomtrace does not know (incompatible flags {0:#x})")]
    Flags(u32),
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NoHeader> {
        if !bytes.starts_with(SIGNATURE) {
            return Err(NoHeader::Signature);
        }
        let (size, incompatible) = (u64_at(bytes, 88), u32_at(bytes, 12));
        if bytes.len() < HEADER.0 || size < HEADER.0 as u64 {
            return Err(NoHeader::Torn);
        }
        if incompatible & !KNOWN != 0 {
            return Err(NoHeader::Flags(incompatible & !KNOWN));
        }
        let table = (u64_at(bytes, 104), u64_at(bytes, 112));
        if table.0 < size || table.1 < 16 || !table.0.is_multiple_of(8) {
            return Err(NoHeader::Torn);
        }
        Ok(Self {
            incompatible,
            archived: bytes[16] == ARCHIVED,
            file_id: id_at(bytes, 24),
            boot_id: id_at(bytes, 56),
            seqnum_id: id_at(bytes, 72),
            size,
            table,
            entries: u64_at(bytes, 152),
            last_realtime: u64_at(bytes, 192),
        })
    }

    pub(super) fn is_compact(&self) -> bool {
        self.incompatible & COMPACT != 0
    }
}
