//! The end of a container's own log, in which its program may say that it ran out of memory.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

pub use oomtrace_logs::container_log::{last_words, runtime};

/// So much of the end of a log is looked at: a runtime writes its report, with a stack trace, right before it ends.
const TAIL_BYTES: u64 = 64 << 10;

/// The end of a log.
///
/// # Errors
///
/// Fails where the file cannot be read.
pub fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(tail)
}
