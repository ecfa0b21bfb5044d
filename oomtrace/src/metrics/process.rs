//! The process's own figures, by the names that every exporter gives them.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// What is known of this process; what cannot be read is `None`.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// User and system time, seconds: `/proc/self/stat`.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident memory: `/proc/self/statm`.
    pub(super) resident_bytes: Option<u64>,
    /// Address space: `/proc/self/statm`.
    pub(super) virtual_bytes: Option<u64>,
    /// Open file descriptors: `/proc/self/fd`.
    pub(super) open_fds: Option<u64>,
    /// The most it may have: `RLIMIT_NOFILE`.
    pub(super) max_fds: Option<u64>,
    /// When it started, seconds since 1970.
    pub(super) start_seconds: Option<f64>,
}

impl Process {
    /// Reads all of them.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let pages = |field| number(statm.split(' ').nth(field)).map(|pages| pages * page_size() as u64);
        Self {
            // utime and stime: proc_pid_stat(5) numbers them 14 and 15.
            cpu_seconds: ticks(&stat, 14).zip(ticks(&stat, 15)).map(|(user, system)| user + system),
            resident_bytes: pages(1),
            virtual_bytes: pages(0),
            // The folder's own descriptor is among them.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::Nofile).current,
            start_seconds: boot_seconds(&boot).zip(ticks(&stat, 22)).map(|(boot, started)| boot + started),
        }
    }
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

/// A time of `/proc/self/stat`, by its number in `proc_pid_stat(5)`, in seconds. The second field is the process's name in
/// parentheses, which may hold spaces.
#[expect(clippy::cast_precision_loss, reason = "exact for 285 million years of ticks")]
fn ticks(stat: &str, field: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    number(behind_name.split(' ').nth(field.checked_sub(3)?))
        .map(|ticks| ticks as f64 / clock_ticks_per_second() as f64)
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit many times over")]
fn boot_seconds(stat: &str) -> Option<f64> {
    number(stat.lines().find_map(|line| line.strip_prefix("btime "))).map(|seconds| seconds as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_memory_time_files_and_age() {
        let process = Process::read();
        assert!(
            process.resident_bytes > Some(1 << 20) && process.resident_bytes < process.virtual_bytes,
            "{process:?}"
        );
        assert!(process.open_fds >= Some(3) && process.open_fds < process.max_fds, "{process:?}");
        assert!(process.cpu_seconds.is_some_and(|seconds| (0.0..3600.0).contains(&seconds)), "{process:?}");
        let now = jiff::Timestamp::now().as_duration().as_secs_f64();
        let age = process.start_seconds.map(|started| now - started);
        assert!(age.is_some_and(|age| (-2.0..3600.0).contains(&age)), "{process:?}");
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let ticks_of =
            |name: &str| ticks(&format!("7 ({name}) S 1 2 3 4 5 6 7 8 9 10 {} 0 0", clock_ticks_per_second() * 2), 14);
        assert_eq!(ticks_of("oomtrace"), Some(2.0));
        assert_eq!(ticks_of("a) b (c"), Some(2.0));
    }
}
