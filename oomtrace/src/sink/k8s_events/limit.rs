//! How often: a bucket of tokens, kept as the time at which it will be full.

use std::time::{Duration, Instant};

/// So many at once, and then one in each interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) burst: u32,
    pub(super) every: Duration,
}

/// For each object, as the spam filter of client-go has it (`defaultSpamBurst`, `defaultSpamQPS`,
/// `tools/record/events_cache.go`).
pub(super) const PER_OBJECT: Rate = Rate { burst: 25, every: Duration::from_mins(5) };
/// For the API server, as clients of client-go have it by default: 5 requests a second, 10 at once (`rest.DefaultQPS`).
pub(super) const PER_SERVER: Rate = Rate { burst: 10, every: Duration::from_millis(200) };

/// A bucket that is full at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    full_at: Instant,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// When there is a token to take.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        let before_full = self.rate.every * self.rate.burst.saturating_sub(1);
        self.full_at.checked_sub(before_full).map_or(now, |at| at.max(now))
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let ready = self.ready_at(now) <= now;
        if ready {
            self.full_at = self.full_at.max(now) + self.rate.every;
        }
        ready
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_25_events_at_once_and_then_one_in_five_minutes() {
        let start = Instant::now();
        let mut bucket = Bucket::full(PER_OBJECT, start);
        assert_eq!((0..30).filter(|_| bucket.take(start)).count(), 25);
        assert_eq!(bucket.ready_at(start), start + Duration::from_mins(5));
        assert!(!bucket.take(start + Duration::from_secs(299)));
        assert!(bucket.take(start + Duration::from_mins(5)));
        assert!(!bucket.take(start + Duration::from_mins(5)));
        let hours_later = start + Duration::from_hours(3);
        assert!(bucket.is_full(hours_later) && !bucket.is_full(start + Duration::from_hours(2)));
        assert_eq!((0..30).filter(|_| bucket.take(hours_later)).count(), 25);
    }
}
