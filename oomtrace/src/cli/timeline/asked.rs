//! Times as people ask for them: `2h`, `yesterday`, `2026-06-01`, or RFC 3339.

use std::str::FromStr;

use anyhow::{Context as _, Result};
use jiff::{
    Span, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// A time that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// RFC 3339.
    At(Timestamp),
    /// So long before now.
    Ago(Span),
    /// The start of a day: so many days before today.
    Day(i64),
    /// What a clock on the wall showed.
    Local(DateTime),
}

/// What can be asked for, for a message.
const FORMS: &str = "it has to be a time before now (30m, 2h, 1d), `today`, `yesterday`, a date (2026-06-01), or a time \
     (2026-06-01T10:00:00Z, 2026-06-01 10:00)";

impl FromStr for Asked {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        match text.to_ascii_lowercase().as_str() {
            "now" => return Ok(Self::Ago(Span::new())),
            "today" => return Ok(Self::Day(0)),
            "yesterday" => return Ok(Self::Day(1)),
            _ => {}
        }
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        if let Ok(date) = text.parse::<Date>()
            && text.len() == "2026-06-01".len()
        {
            return Ok(Self::Local(date.into()));
        }
        if let Ok(time) = text.parse::<DateTime>() {
            return Ok(Self::Local(time));
        }
        // `2h ago` and `-2h` are the same.
        let span = text.trim_end_matches("ago").trim().trim_start_matches(['-', '+']);
        span.parse::<Span>().map(Self::Ago).map_err(|_| FORMS)
    }
}

impl Asked {
    /// The instant; days and times without a zone are those of `zone`.
    pub(super) fn instant(self, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
        let now = zone.to_datetime(now);
        let instant = || match self {
            Self::At(at) => Ok(at),
            Self::Ago(span) => zone.to_timestamp(now.checked_sub(span)?),
            Self::Day(before) => {
                let day = now.date().checked_sub(Span::new().try_days(before)?)?;
                zone.to_timestamp(day.into())
            }
            Self::Local(time) => zone.to_timestamp(time),
        };
        instant().context("--since or --until: there is no such time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<String> {
        let now = "2026-06-02T10:30:00Z".parse().expect("a time");
        let zone = TimeZone::fixed(jiff::tz::Offset::constant(2));
        Some(text.parse::<Asked>().ok()?.instant(now, &zone).expect("a time").to_string())
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2h", "2026-06-02T08:30:00Z"),
            ("30m", "2026-06-02T10:00:00Z"),
            ("1h30m", "2026-06-02T09:00:00Z"),
            ("1d", "2026-06-01T10:30:00Z"),
            ("1w", "2026-05-26T10:30:00Z"),
            ("2h ago", "2026-06-02T08:30:00Z"),
            ("-2h", "2026-06-02T08:30:00Z"),
            ("now", "2026-06-02T10:30:00Z"),
            ("today", "2026-06-01T22:00:00Z"),
            ("yesterday", "2026-05-31T22:00:00Z"),
            ("2026-06-01", "2026-05-31T22:00:00Z"),
            ("2026-06-01 10:00", "2026-06-01T08:00:00Z"),
            ("2026-06-01T10:00:00", "2026-06-01T08:00:00Z"),
            ("2026-06-01T10:00:00Z", "2026-06-01T10:00:00Z"),
            ("2026-06-01T10:00:00+02:00", "2026-06-01T08:00:00Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "soon", "2h later", "2026-13-01", "10"] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
