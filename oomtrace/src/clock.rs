//! Wall time for what the kernel stamped with its boot-time clock.
//!
//! `CLOCK_BOOTTIME` counts on while the machine sleeps and no one can set it, so it orders events for certain, but it says
//! nothing of the date. Its distance from `CLOCK_REALTIME` changes only when somebody sets the clock: adjusting the rate,
//! as NTP does, moves both, and a suspend counts in both. It is measured anew for every event, so an event after a step of
//! the clock is reported in the new time; a difference that may be the measurement's own, because the program was interrupted in
//! the middle of it, is ignored, so that events keep their distances.

use std::{fs, io};

use jiff::{SignedDuration, Timestamp};
pub use oomtrace_model::rfc3339;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A smaller step than this is ignored: the offset that is in force may itself be out by half a measurement's width.
const NOISE_NS: u128 = 1_000_000;
/// How narrow a measurement is good enough to be put in force, nanoseconds; and how often a narrower one is tried for.
const NARROW_NS: i128 = 10_000;
const TRIES: usize = 8;

/// How far wall time is from the boot-time clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallClock {
    /// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`, nanoseconds.
    offset_ns: i128,
}

/// `CLOCK_BOOTTIME` now, nanoseconds.
#[must_use]
pub fn boot_ns() -> u64 {
    u64::try_from(read(ClockId::Boottime)).unwrap_or(0)
}

/// The boot's id, which no other boot has.
///
/// # Errors
///
/// Fails where `/proc` is not there.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

impl WallClock {
    /// Measures the two clocks against each other, as well as it can without taking long.
    #[must_use]
    pub fn now() -> Self {
        let mut best = Measurement::now();
        for _ in 1..TRIES {
            if best.width_ns() <= NARROW_NS {
                break;
            }
            let measurement = Measurement::now();
            if measurement.width_ns() < best.width_ns() {
                best = measurement;
            }
        }
        Self::from_measurement(best)
    }

    /// Measures anew, and takes over a step of the clock. Gives by how much it was set, if it was.
    pub fn refresh(&mut self) -> Option<SignedDuration> {
        if !Measurement::now().excludes(self.offset_ns) {
            return None;
        }
        let before = std::mem::replace(self, Self::now());
        Some(self.set_since(before))
    }

    /// By how much it was set since it was as it was `before`; none where that may be the measurements' own.
    #[must_use]
    pub fn set_since(self, before: Self) -> SignedDuration {
        let by = self.offset_ns - before.offset_ns;
        let by = if by.unsigned_abs() > NOISE_NS { by } else { 0 };
        i64::try_from(by).map_or(SignedDuration::ZERO, SignedDuration::from_nanos)
    }

    fn from_measurement(Measurement { boot_before, wall, boot_after }: Measurement) -> Self {
        Self { offset_ns: wall - i128::midpoint(boot_before, boot_after) }
    }

    /// A reading of the boot-time clock as RFC 3339 in UTC with nanoseconds.
    #[must_use]
    pub fn rfc3339(self, boot_ns: u64) -> String {
        let wall = Timestamp::from_nanosecond(self.offset_ns + i128::from(boot_ns)).unwrap_or(Timestamp::UNIX_EPOCH);
        rfc3339(wall)
    }
}

/// A reading of the wall clock, and one of the boot-time clock before and after it: between them the program may be interrupted.
#[derive(Clone, Copy)]
struct Measurement {
    boot_before: i128,
    wall: i128,
    boot_after: i128,
}

impl Measurement {
    fn now() -> Self {
        let (boot_before, wall) = (read(ClockId::Boottime), read(ClockId::Realtime));
        Self { boot_before, wall, boot_after: read(ClockId::Boottime) }
    }

    /// How far apart the offsets are that it allows for.
    fn width_ns(self) -> i128 {
        self.boot_after - self.boot_before
    }

    /// Whether the clocks can no longer have this offset, be it a little out.
    fn excludes(self, offset_ns: i128) -> bool {
        let allowed = self.wall - self.boot_after..=self.wall - self.boot_before;
        let nearest = offset_ns.max(*allowed.start()).min(*allowed.end());
        nearest.abs_diff(offset_ns) > NOISE_NS
    }
}

fn read(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn clock(boot: i128, wall: i128) -> WallClock {
        WallClock::from_measurement(Measurement { boot_before: boot, wall, boot_after: boot })
    }

    #[test]
    fn a_boot_time_is_reported_in_wall_time_with_nanoseconds() {
        let clock = clock(100 * SECOND, 1_795_476_961 * SECOND);
        assert_eq!(clock.rfc3339(100_825_036_912), "2026-11-23T23:36:01.825036912Z");
        assert_eq!(clock.rfc3339(100_000_000_000), "2026-11-23T23:36:01.000000000Z");
    }

    #[test]
    fn an_event_after_a_step_of_the_clock_is_reported_in_the_new_time() {
        let before = clock(10 * SECOND, 1_000 * SECOND);
        let after = clock(12 * SECOND, 5_002 * SECOND);
        assert_eq!(before.rfc3339(11_000_000_000), "1970-01-01T00:16:41.000000000Z");
        assert_eq!(after.rfc3339(13_000_000_000), "1970-01-01T01:23:23.000000000Z");
    }

    #[test]
    fn an_interruption_in_the_middle_of_a_measurement_is_no_step_of_the_clock() {
        let WallClock { offset_ns } = clock(10 * SECOND, 1_000 * SECOND);
        // Half a second between the first two readings, or the last two: its middle is a quarter of a second out.
        for wall in [1_002 * SECOND, 1_002 * SECOND + SECOND / 2] {
            let interrupted = Measurement { boot_before: 12 * SECOND, wall, boot_after: 12 * SECOND + SECOND / 2 };
            assert!(!interrupted.excludes(offset_ns), "{wall}");
        }
        let step = Measurement { boot_before: 12 * SECOND, wall: 1_003 * SECOND, boot_after: 12 * SECOND + SECOND / 2 };
        assert!(step.excludes(offset_ns));
    }

    #[test]
    fn a_suspend_counts_in_both_clocks_and_changes_nothing() {
        let before = clock(10 * SECOND, 1_000 * SECOND);
        let an_hour_later = clock(3_610 * SECOND, 4_600 * SECOND);
        assert_eq!(before, an_hour_later);
    }

    #[test]
    fn the_two_clocks_of_this_machine_agree_with_its_date() {
        let now = Timestamp::now().as_nanosecond();
        let reported: Timestamp = WallClock::now().rfc3339(boot_ns()).parse().unwrap_or(Timestamp::UNIX_EPOCH);
        assert!((reported.as_nanosecond() - now).abs() < SECOND);
    }
}
