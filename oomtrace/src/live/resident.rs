//! What stays in memory while nothing happens.

use std::{
    ffi::c_void,
    fs,
    time::{Duration, Instant},
};

use rustix::mm::{Advice, madvise};

/// Without an event for so long, a node is at rest.
const REST: Duration = Duration::from_secs(1);

/// Lets go of memory when a node comes to rest: kills come in bursts, and between them oomtrace should cost nothing.
pub(super) struct Resident {
    last_event: Instant,
    /// Nothing happened since memory was let go of.
    at_rest: bool,
}

impl Resident {
    /// The start, too, is a burst: megabytes of the program load the probes, once.
    pub(super) fn started() -> Self {
        Self { last_event: Instant::now(), at_rest: false }
    }

    pub(super) fn event(&mut self) {
        self.last_event = Instant::now();
        self.at_rest = false;
    }

    /// Now and then.
    pub(super) fn tick(&mut self) {
        if !self.at_rest && self.last_event.elapsed() >= REST {
            self.at_rest = true;
            let_go_of_program();
            #[cfg(target_env = "gnu")]
            // SAFETY: it gives back what is free, and touches nothing else.
            unsafe {
                libc::malloc_trim(0)
            };
        }
    }
}

/// Lets go of the pages of the program's file. What is needed comes back from the page cache when it is next touched.
fn let_go_of_program() {
    let Ok(maps) = fs::read_to_string("/proc/self/smaps") else { return };
    for (start, len) in unwritten(&maps) {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(start);
        // SAFETY: the mapping is of a file, private, and cannot be written to, and no page of it is another than the file's. So
        // they are read again as they are when they are next touched.
        if let Err(error) = unsafe { madvise(start, len, Advice::LinuxDontNeed) } {
            tracing::debug!("what is mapped at {start:?} stays resident: {error}");
        }
    }
}

/// The places and lengths of all mappings of files that are read-only and were so from the start: what a loader relocates before
/// it takes the right to write away has pages of its own, `Anonymous`.
fn unwritten(smaps: &str) -> Vec<(usize, usize)> {
    let (mut found, mut candidate) = (Vec::new(), None);
    for line in smaps.lines() {
        match line.strip_prefix("Anonymous:") {
            Some(size) if size.trim() == "0 kB" => found.extend(candidate.take()),
            Some(_) => candidate = None,
            None => candidate = read_only_file(line).or(candidate),
        }
    }
    found
}

/// The first line of a mapping: `55d0c000-55d4a000 r-xp 00012000 fe:00 1234  /usr/bin/oomtrace`.
fn read_only_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let file = fields.nth(3)?;
    (matches!(rights, "r-xp" | "r--p") && file.starts_with('/')).then_some(())?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_its_file_can_be_let_go_of() {
        let smaps = "1000-3000 r-xp 00012000 fe:00 1234   /usr/bin/oomtrace\nRss: 8 kB\nAnonymous:             0 kB\n\
                     3000-4000 r--p 00012000 fe:00 1234   /usr/bin/oomtrace\nAnonymous:             4 kB\n\
                     4000-5000 rw-p 00012000 fe:00 1234   /usr/bin/oomtrace\nAnonymous:             0 kB\n\
                     5000-6000 r-xp 00000000 00:00 0      [vdso]\nAnonymous:             0 kB\n\
                     6000-7000 r--p 00000000 00:00 0 \nAnonymous:             0 kB\n";
        assert_eq!(unwritten(smaps), [(0x1000, 0x2000)]);
    }

    /// Of all files that are mapped, KiB.
    fn resident() -> u64 {
        let status = fs::read_to_string("/proc/self/status").expect("readable");
        let line =
            status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("Linux has reported it since 4.5");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn a_program_goes_on_without_its_start() {
        for (start, len) in unwritten(&fs::read_to_string("/proc/self/smaps").expect("readable")) {
            for page in (start..start + len).step_by(4096) {
                // SAFETY: the mapping is readable, and stays.
                unsafe { std::ptr::with_exposed_provenance::<u8>(page).read_volatile() };
            }
        }
        let before = resident();
        let_go_of_program();
        let after = resident();
        assert!(after < before / 2, "{before} KiB, then {after} KiB");
    }
}
