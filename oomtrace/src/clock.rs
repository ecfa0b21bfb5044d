//! Wall time for what the kernel stamped with its boot-time clock.
//!
//! `CLOCK_BOOTTIME` counts on while the machine sleeps and no one can set it, so it orders events for certain, but it says
//! nothing of the date. Its distance from `CLOCK_REALTIME` changes only when somebody sets the clock: adjusting the rate,
//! as NTP does, moves both, and a suspend counts in both. It is measured anew for every event, so an event after a step of
//! the clock is told in the new time; a difference that may be the measurement's own is ignored, so that events keep
//! their distances.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// A measurement is out by how long the program was interrupted meanwhile; a smaller step than this is not told from it.
const NOISE_NS: u128 = 1_000_000;

/// How far wall time is from the boot-time clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`, nanoseconds.
    offset_ns: i128,
}

/// `CLOCK_BOOTTIME` now, nanoseconds.
#[must_use]
pub fn boot_ns() -> u64 {
    u64::try_from(read(ClockId::Boottime)).unwrap_or(0)
}

/// Wall time as RFC 3339 in UTC with nanoseconds: how every time is printed.
#[must_use]
pub fn rfc3339(wall: Timestamp) -> String {
    format!("{wall:.9}")
}

impl WallClock {
    /// Measures the two clocks against each other.
    #[must_use]
    pub fn now() -> Self {
        Self::from_readings(read(ClockId::Boottime), read(ClockId::Realtime), read(ClockId::Boottime))
    }

    /// Measures anew, and takes over a step of the clock.
    pub fn refresh(&mut self) {
        let measured = Self::now();
        if measured.offset_ns.abs_diff(self.offset_ns) > NOISE_NS {
            *self = measured;
        }
    }

    /// From a wall clock reading, and one of the boot-time clock before and after it.
    fn from_readings(boot_before: i128, wall: i128, boot_after: i128) -> Self {
        Self { offset_ns: wall - i128::midpoint(boot_before, boot_after) }
    }

    /// A reading of the boot-time clock as RFC 3339 in UTC with nanoseconds.
    #[must_use]
    pub fn rfc3339(self, boot_ns: u64) -> String {
        let wall = Timestamp::from_nanosecond(self.offset_ns + i128::from(boot_ns)).unwrap_or(Timestamp::UNIX_EPOCH);
        rfc3339(wall)
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

    #[test]
    fn a_boot_time_is_told_in_wall_time_with_nanoseconds() {
        let clock = WallClock::from_readings(100 * SECOND, 1_795_476_961 * SECOND, 100 * SECOND);
        assert_eq!(clock.rfc3339(100_825_036_912), "2026-11-23T23:36:01.825036912Z");
        assert_eq!(clock.rfc3339(100_000_000_000), "2026-11-23T23:36:01.000000000Z");
    }

    #[test]
    fn an_event_after_a_step_of_the_clock_is_told_in_the_new_time() {
        let before = WallClock::from_readings(10 * SECOND, 1_000 * SECOND, 10 * SECOND);
        let after = WallClock::from_readings(12 * SECOND, 5_002 * SECOND, 12 * SECOND);
        assert_eq!(before.rfc3339(11_000_000_000), "1970-01-01T00:16:41.000000000Z");
        assert_eq!(after.rfc3339(13_000_000_000), "1970-01-01T01:23:23.000000000Z");
    }

    #[test]
    fn a_suspend_counts_in_both_clocks_and_changes_nothing() {
        let before = WallClock::from_readings(10 * SECOND, 1_000 * SECOND, 10 * SECOND);
        let an_hour_later = WallClock::from_readings(3_610 * SECOND, 4_600 * SECOND, 3_610 * SECOND);
        assert_eq!(before, an_hour_later);
    }

    #[test]
    fn the_two_clocks_of_this_machine_agree_with_its_date() {
        let now = Timestamp::now().as_nanosecond();
        let told: Timestamp = WallClock::now().rfc3339(boot_ns()).parse().unwrap_or(Timestamp::UNIX_EPOCH);
        assert!((told.as_nanosecond() - now).abs() < SECOND);
    }
}
