//! An entry as `journalctl -o export` prints it (systemd's "Journal Export Formats"): any text can stand in it as it is.

use std::fmt::Write as _;

use super::{
    file::{Damage, Entry, JournalFile, ReadAt, value},
    terms::Terms,
};

/// So many entries of each term are looked for at once.
const AT_ONCE: usize = 256;
/// One file makes no more bytes.
const MOST_BYTES: usize = 16 << 20;

/// A number in hexadecimal, as ids are written.
fn hex(id: [u8; 16]) -> u128 {
    u128::from_be_bytes(id)
}

/// Adds an entry with these of its fields, each once. A field that is too long, or compressed with what is not known, is left
/// out and returned; what reads the entry counts one without a message.
pub(super) fn print<R: ReadAt>(
    file: &mut JournalFile<R>,
    entry: &Entry,
    names: &[&str],
    printed: &mut Vec<u8>,
) -> Result<Option<Damage>, Damage> {
    let (mut texts, mut left_out) = (Vec::new(), None);
    for item in &entry.items {
        match file.field(*item, names) {
            Ok(text) => texts.extend(text),
            Err(damage @ (Damage::TooLarge | Damage::Xz | Damage::Compression(_))) => left_out = Some(damage),
            Err(damage) => return Err(damage),
        }
    }
    let mut head = String::new();
    let Entry { seqnum, realtime, monotonic, boot_id, xor_hash, items: _ } = entry;
    let (series, boot) = (hex(file.header().seqnum_id), hex(*boot_id));
    // A String takes all there is.
    let _ = write!(
        head,
        "__CURSOR=s={series:032x};i={seqnum:x};b={boot:032x};m={monotonic:x};t={realtime:x};x={xor_hash:x}\n\
         __REALTIME_TIMESTAMP={realtime}\n__MONOTONIC_TIMESTAMP={monotonic}\n"
    );
    printed.extend_from_slice(head.as_bytes());
    for name in names {
        if let Some(value) = texts.iter().find_map(|text| value(text, name)) {
            field(name, value, printed);
        }
    }
    printed.push(b'\n');
    Ok(left_out)
}

/// The entries of one file, wherever it is, and how many of them cannot be read.
///
/// # Errors
///
/// Fails where it is no file of the journal's that can be read.
pub fn print_file<R: ReadAt>(bytes: R, mut terms: Terms, names: &[&str]) -> Result<(Vec<u8>, u64), Damage> {
    let mut file = JournalFile::open(bytes)?;
    let (mut printed, mut lost) = (Vec::new(), 0);
    loop {
        let (offsets, _) = terms.take(&file, AT_ONCE);
        if offsets.is_empty() || printed.len() > MOST_BYTES {
            return Ok((printed, lost));
        }
        for at in offsets {
            let length = printed.len();
            if file.entry(at).and_then(|entry| print(&mut file, &entry, names, &mut printed)).is_err() {
                printed.truncate(length);
                lost += 1;
            }
        }
    }
}

fn field(name: &str, value: &[u8], printed: &mut Vec<u8>) {
    printed.extend_from_slice(name.as_bytes());
    if memchr::memchr(b'\n', value).is_some() {
        printed.push(b'\n');
        printed.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        printed.push(b'=');
    }
    printed.extend_from_slice(value);
    printed.push(b'\n');
}
