//! From the times that a log writes to moments.

use jiff::{Timestamp, tz::TimeZone};
use oomtrace_model::Moment;

use super::form::{LocalTime, Wall, When};

/// What has to be known beside a log to tell when its lines were written. With nothing known ([`Clock::default`]) stamps
/// of the kernel stay readings of the boot-time clock, and local times are taken for UTC.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Wall time at the kernel's stamp 0, where the node is not the one that oomtrace runs on, or no more in that boot.
    pub booted: Option<Timestamp>,
    /// What to add to the kernel's stamps for `CLOCK_BOOTTIME`, which counts on in a suspend and does not drift, while
    /// they do ([`When::boot_ns`]). 0 of a log that was kept: nothing tells.
    pub stamp_to_boot_ns: i64,
    /// The zone of local times.
    pub zone: TimeZone,
    /// No line is later: when the file was written last. A time without a year is the last such one before it.
    pub latest: Option<Timestamp>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { booted: None, stamp_to_boot_ns: 0, zone: TimeZone::UTC, latest: None }
    }
}

/// A clock that was set, or a suspend: what was known of the distance of the two clocks is void.
const STEP_NS: i128 = 60_000_000_000;
/// The clocks of two machines differ, and a file may be copied while it is written.
const TOLERATED_NS: i64 = 24 * 3_600_000_000_000;

impl Clock {
    /// When a line was logged; `None` where it does not tell.
    #[must_use]
    pub fn moment(&self, when: &When) -> Option<Moment> {
        match (when.boot_ns, when.wall) {
            (Some(stamp), _) if self.booted.is_some() => before(self.booted?, -i128::from(stamp)).map(Moment::Wall),
            (_, Some(wall)) => self.wall(wall).map(Moment::Wall),
            (Some(stamp), None) => Some(Moment::Boot(stamp.saturating_add_signed(self.stamp_to_boot_ns))),
            (None, None) => None,
        }
    }

    fn wall(&self, wall: Wall) -> Option<Timestamp> {
        match wall {
            Wall::Absolute(at) => Some(at),
            Wall::Local(local) => self.local(local),
        }
    }

    fn local(&self, local: LocalTime) -> Option<Timestamp> {
        let in_year = |year| self.zone.to_ambiguous_timestamp(local.in_year(year)?).compatible().ok();
        if let Some(year) = local.year {
            return in_year(year);
        }
        let latest = self.latest.unwrap_or(Timestamp::MAX);
        let year = self.zone.to_datetime(latest).year();
        let most = before(latest, -i128::from(TOLERATED_NS)).unwrap_or(latest);
        // The 29th of February may be eight years back: 1896 to 1904 is the longest way from one to the next.
        (year.saturating_sub(8)..=year.saturating_add(1)).rev().filter_map(in_year).find(|at| *at <= most)
    }
}

/// How far the kernel's stamps are from wall time, in a journal whose lines tell both.
///
/// journald reads a record some time after the kernel made it, and never before: the line that was read soonest is the
/// one to go by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alignment {
    /// Wall time at the kernel's stamp 0.
    zero: Option<Timestamp>,
}

impl Alignment {
    /// Learns from a line. Times in whole seconds tell nothing better than themselves.
    pub(super) fn learn(&mut self, when: &When) {
        let (Some(stamp), Some(Wall::Absolute(wall))) = (when.boot_ns, when.wall) else { return };
        let zero = before(wall, i128::from(stamp)).filter(|_| wall.subsec_nanosecond() != 0);
        let Some(zero) = zero else { return };
        let later = self.zero.map(|known| zero.as_nanosecond() - known.as_nanosecond());
        if later.is_none_or(|later| !(0..=STEP_NS).contains(&later)) {
            self.zero = Some(zero);
        }
    }

    /// When the kernel made a line that tells both times.
    pub(super) fn moment(&self, when: &When) -> Option<Moment> {
        let (Some(stamp), Some(Wall::Absolute(_)), Some(zero)) = (when.boot_ns, when.wall, self.zero) else {
            return None;
        };
        before(zero, -i128::from(stamp)).map(Moment::Wall)
    }
}

fn before(at: Timestamp, nanoseconds: i128) -> Option<Timestamp> {
    Timestamp::from_nanosecond(at.as_nanosecond() - nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn local(year: Option<i16>, month: i8, day: i8) -> When {
        let time = LocalTime { year, month, day, hour: 23, minute: 20, second: 37, nanosecond: 0 };
        When { boot_ns: None, wall: Some(Wall::Local(time)) }
    }

    #[test]
    fn a_stamp_is_boot_time_until_the_boot_is_known() {
        let when = When { boot_ns: Some(5_000_000_000), wall: None };
        assert_eq!(Clock::default().moment(&when), Some(Moment::Boot(5_000_000_000)));
        let drifted = Clock { stamp_to_boot_ns: -7, ..Clock::default() };
        assert_eq!(drifted.moment(&when), Some(Moment::Boot(4_999_999_993)));
        let booted = Clock { booted: Some(time("2026-11-23T23:00:00Z")), ..Clock::default() };
        assert_eq!(booted.moment(&when), Some(Moment::Wall(time("2026-11-23T23:00:05Z"))));
        assert_eq!(Clock::default().moment(&When::default()), None);
    }

    #[test]
    fn a_time_without_a_year_is_the_last_one_before_the_file_was_written() {
        let clock = Clock { latest: Some(time("2026-01-02T00:00:00Z")), ..Clock::default() };
        assert_eq!(clock.moment(&local(None, 12, 31)), Some(Moment::Wall(time("2025-12-31T23:20:37Z"))));
        assert_eq!(clock.moment(&local(None, 1, 1)), Some(Moment::Wall(time("2026-01-01T23:20:37Z"))));
        assert_eq!(clock.moment(&local(None, 2, 29)), Some(Moment::Wall(time("2024-02-29T23:20:37Z"))));
        assert_eq!(clock.moment(&local(Some(2020), 2, 29)), Some(Moment::Wall(time("2020-02-29T23:20:37Z"))));
    }

    #[test]
    fn a_local_time_is_read_in_its_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let clock = Clock { zone, ..Clock::default() };
        assert_eq!(clock.moment(&local(Some(2026), 6, 1)), Some(Moment::Wall(time("2026-06-01T21:20:37Z"))));
    }

    #[test]
    fn of_a_journal_the_kernels_stamps_count_set_by_the_line_that_was_read_soonest() {
        let line = |stamp, wall: &str| When { boot_ns: Some(stamp), wall: Some(Wall::Absolute(time(wall))) };
        let mut clock = Alignment::default();
        let late = line(10_000_000_000, "2026-11-23T23:00:12.500000Z");
        clock.learn(&late);
        clock.learn(&line(20_000_000_000, "2026-11-23T23:00:20.100000Z"));
        assert_eq!(clock.moment(&late), Some(Moment::Wall(time("2026-11-23T23:00:10.100000Z"))));
        // The next boot.
        clock.learn(&line(1_000_000_000, "2026-11-24T10:00:00.300000Z"));
        let next = line(2_000_000_000, "2026-11-24T10:00:09.900000Z");
        assert_eq!(clock.moment(&next), Some(Moment::Wall(time("2026-11-24T10:00:01.300000Z"))));
    }
}
