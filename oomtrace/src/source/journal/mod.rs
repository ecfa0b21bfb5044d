//! The files of systemd's journal, read as they are written, without `journalctl` and libsystemd.
//!
//! The format is systemd's "Journal File Format" (<https://systemd.io/JOURNAL_FILE_FORMAT>), regular and compact, with both of its
//! hashes; LZ4 and Zstandard are unpacked. A file's index leads to the entries of the units that are asked for, so that nothing of
//! the others is read. Only `pread` is used: a file that is cut while it is read makes an error, not a SIGBUS.
//!
//! | file | what it knows |
//! |---|---|
//! | `layout.rs` | the header and the objects, byte for byte |
//! | `hash.rs` | the two hashes of the index |
//! | `file.rs` | one file: objects by their offsets, data by its text |
//! | `terms.rs` | which entries are a unit's, and how far they were read |
//! | `entry.rs` | an entry in the journal's export format |
//! | `folders.rs` | which folders and files are this machine's |
//! | `reader.rs` | all files, followed across rotation |

mod entry;
mod file;
mod folders;
mod hash;
mod layout;
mod reader;
mod terms;
mod unpack;

pub use self::{
    entry::print_file as print,
    file::{Damage, JournalFile, ReadAt},
    folders::{NoFiles, Place},
    reader::{Position, Reader, Taken},
    terms::Terms,
};
