//! When a line was logged: klog writes neither year nor zone.

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _, civil::DateTime, tz::TimeZone};

use crate::envelope::when::{LocalTime, Wall};

/// Zones are a whole number of quarters of an hour from UTC.
const ZONE_STEP: i64 = 15 * 60;
/// How far a clock may be ahead of the one by which nothing is later.
const SLACK: Duration = Duration::from_hours(24);

/// What is known of a log's times beside what its lines say.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// No line is later than this, give or take a day: a file's last change, or now. It gives lines their year.
    pub not_after: Timestamp,
    /// The node's zone, for lines that nothing else dates.
    pub zone: TimeZone,
}

impl Calendar {
    /// The instant of what the kubelet wrote, with the help of the stamp of the log's keeper.
    pub(super) fn resolve(&self, written: Wall, kept: Option<Wall>) -> Option<Timestamp> {
        match (written, kept) {
            (Wall::Absolute(at), _) => Some(at),
            (Wall::Local(local), Some(Wall::Absolute(kept))) => beside(local, kept).or(Some(kept)),
            (Wall::Local(local), Some(Wall::Local(kept))) => {
                // The same clock, one of them perhaps with its year, or with a day that has turned since.
                let year = kept.year.map(|year| if local.month > kept.month { year - 1 } else { year });
                self.dated(LocalTime { year: local.year.or(year), ..local })
            }
            (Wall::Local(local), None) => self.dated(local),
        }
    }

    /// The instant at which the log's keeper took a line.
    pub(super) fn kept(&self, kept: Wall) -> Option<Timestamp> {
        match kept {
            Wall::Absolute(at) => Some(at),
            Wall::Local(local) => self.dated(local),
        }
    }

    /// The latest such time that is not after all lines.
    fn dated(&self, local: LocalTime) -> Option<Timestamp> {
        let limit = self.not_after.checked_add(SLACK).unwrap_or(Timestamp::MAX);
        let year = self.zone.to_datetime(limit).year();
        // The 29th of February is up to eight years back.
        (0..=8).find_map(|back| {
            let at = self.zone.to_timestamp(local.in_year(year - back)?).ok()?;
            (local.year.is_some() || at <= limit).then_some(at)
        })
    }
}

/// The instant of a local time that was kept at `kept`, shortly after: it gives the year, and the zone.
fn beside(local: LocalTime, kept: Timestamp) -> Option<Timestamp> {
    let kept_utc = TimeZone::UTC.to_datetime(kept);
    let distance = |civil: DateTime| civil.duration_since(kept_utc).as_secs();
    let nearest = [-1, 0, 1]
        .into_iter()
        .filter_map(|years| local.in_year(kept_utc.year() + years))
        .min_by_key(|civil| distance(*civil).abs())?;
    // Local time is ahead of UTC by the zone, and behind the keeper's by what the line took.
    let ahead = distance(nearest);
    let zone = (ahead + ZONE_STEP / 2).div_euclid(ZONE_STEP) * ZONE_STEP;
    if zone.abs() > 14 * 3600 {
        return None;
    }
    let utc = nearest.checked_sub(zone.seconds()).ok()?;
    TimeZone::UTC.to_timestamp(utc).ok()
}
