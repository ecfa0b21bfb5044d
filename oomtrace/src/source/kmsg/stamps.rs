//! How far the kernel's stamps are from `CLOCK_BOOTTIME`.
//!
//! Records are stamped by `local_clock()`, which stands still in a suspend and runs at the processor's own rate, seconds
//! from the true one in a day at the worst. A record cannot be read before it was written: the one that was read soonest
//! tells the distance best.

/// What was measured is good for so long.
const GOOD_FOR_NS: u64 = 600_000_000_000;

pub(super) struct Stamps {
    /// Old records are read: when they were written they do not tell.
    behind: bool,
    /// The smallest distance, and when it was measured.
    measured: Option<(i64, u64)>,
}

impl Stamps {
    pub(super) fn new(behind: bool) -> Self {
        Self { behind, measured: None }
    }

    /// All there was is read: what comes now is new.
    pub(super) fn caught_up(&mut self) {
        self.behind = false;
    }

    /// A record was read.
    pub(super) fn saw(&mut self, stamp_ns: u64, boot_ns: u64) {
        if self.behind {
            return;
        }
        let Ok(distance) = i64::try_from(i128::from(boot_ns) - i128::from(stamp_ns)) else { return };
        let better =
            self.measured.is_none_or(|(known, at)| distance < known || boot_ns.saturating_sub(at) > GOOD_FOR_NS);
        if better {
            self.measured = Some((distance, boot_ns));
        }
    }

    /// What to add to a stamp.
    pub(super) fn to_boot_ns(&self) -> i64 {
        self.measured.map_or(0, |(distance, _)| distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_that_was_read_soonest_tells_the_distance() {
        let mut stamps = Stamps::new(false);
        for (stamp, boot) in [(1_000, 1_900), (2_000, 2_500), (3_000, 3_800)] {
            stamps.saw(stamp, boot);
        }
        assert_eq!(stamps.to_boot_ns(), 500);
    }

    #[test]
    fn after_a_while_the_distance_is_measured_anew() {
        let mut stamps = Stamps::new(false);
        stamps.saw(1_000, 1_100);
        // An hour's suspend, and a drift.
        stamps.saw(1_000 + GOOD_FOR_NS, 3_600_000_001_100 + GOOD_FOR_NS);
        assert_eq!(stamps.to_boot_ns(), 3_600_000_000_100);
    }

    #[test]
    fn records_from_before_tell_no_distance() {
        let mut stamps = Stamps::new(true);
        stamps.saw(1_000, 999_000);
        assert_eq!(stamps.to_boot_ns(), 0);
        stamps.caught_up();
        stamps.saw(1_000_000, 1_000_700);
        assert_eq!(stamps.to_boot_ns(), 700);
    }
}
