//! When a server that did not answer, or not now, is asked again.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use ureq::http::{HeaderMap, header::RETRY_AFTER};

/// After the first failure it is tried again so soon, and then half as often each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// The longest that a server may have us wait.
const LONGEST_WISH: Duration = Duration::from_mins(5);
/// How often the same kind of trouble is said.
const AGAIN_AFTER: Duration = Duration::from_mins(1);

/// How long a server is left alone.
#[derive(Debug, Default)]
pub(super) struct Retry(Option<(Instant, Duration)>);

impl Retry {
    /// It did not take something now, and wants to be left alone so long.
    pub(super) fn failed(&mut self, now: Instant, wish: Option<Duration>) {
        let last = self.0.map_or(FIRST_WAIT / 2, |(_, last)| last);
        let next = (last * 2).min(LONGEST_WAIT);
        self.0 = Some((now + jittered(next).max(wish.unwrap_or_default().min(LONGEST_WISH)), next));
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        self.0 = None;
    }

    /// When it may be asked again, after it failed.
    pub(super) fn at(&self) -> Option<Instant> {
        self.0.map(|(at, _)| at)
    }
}

/// Between half of it and all, so that not all nodes ask at once.
fn jittered(wait: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(0) % 1000).unwrap_or_default();
    wait / 2 + wait / 2 * random / 1000
}

/// How long a server wants to be left alone.
pub(super) fn wish(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WISH))
}

/// Lets trouble that comes again and again be said now and then.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether it is to be said now.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= AGAIN_AFTER);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_less_and_less_often_but_once_a_minute() {
        let (now, mut retry) = (Instant::now(), Retry::default());
        let mut waits = Vec::new();
        for _ in 0..10 {
            retry.failed(now, None);
            waits.extend(retry.at().map(|at| at - now));
        }
        let seconds = |from: u64, to: u64| Duration::from_secs(from) / 2..=Duration::from_secs(to);
        assert!(seconds(1, 1).contains(&waits[0]) && seconds(4, 4).contains(&waits[2]), "{waits:?}");
        assert!(waits[7..].iter().all(|wait| seconds(60, 60).contains(wait)), "{waits:?}");
        retry.answered();
        assert_eq!(retry.at(), None);
        retry.failed(now, Some(Duration::from_secs(7)));
        assert_eq!(retry.at(), Some(now + Duration::from_secs(7)));
        retry.failed(now, Some(Duration::MAX));
        assert_eq!(retry.at(), Some(now + LONGEST_WISH));
    }

    #[test]
    fn a_server_that_wants_to_be_left_alone_is_but_not_for_ever() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a header"));
            wish(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("99999999"), Some(LONGEST_WISH));
        assert_eq!(of("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
