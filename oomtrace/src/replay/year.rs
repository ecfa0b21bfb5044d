//! The year of times that are written without one: klog's text and syslog's form.
//!
//! One decision for all logs, as they are of one node: `--year`; else a date with a year that stands on a line beside such a
//! time, of the same day (containerd's `time=`, klog's `time:`); else the first date with a year in any of the logs, or in
//! `journalctl`'s first line; else when the pods were made; else each log's last change.

use anyhow::Result;
use jiff::{Span, Timestamp, civil, tz::TimeZone};
use memchr::memmem;
use tracing::info;

use super::{Inputs, given::Given, input};
use crate::{
    source::{
        envelope::{
            learnt::Wanted,
            when::{self, LocalTime, Wall},
        },
        kernel_log::KernelLines,
        kubelet_log::KubeletLines,
    },
    timeline::Background,
};

/// A date is looked for in so many bytes of a log.
const SAMPLE_BYTES: u64 = 8 << 20;
/// Lines that show whether a log's times have years.
const LINES: usize = 64;
/// Logs without a year are of less than one from where they begin, but for the slack on both sides.
const ALMOST_A_YEAR: i64 = 363 * 24;
/// Where no such time was found, what comes is taken to be nearest to the date that is known.
const HALF_A_YEAR: i64 = 182 * 24;
/// Times are dated as if a log may be later than its end by so many hours.
const SLACK: i64 = 24;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time that no line without a year is later than; `None` where nothing but the logs' last change tells.
pub(super) fn latest(inputs: &Inputs, known: &Background) -> Result<Option<Timestamp>> {
    if let Some(year) = inputs.year {
        let end = civil::date(year, 12, 31).at(23, 59, 59, 0);
        let end = TimeZone::UTC.to_timestamp(end)?;
        return Ok(Some(end.checked_sub(Span::new().hours(SLACK))?));
    }
    let paths = || inputs.kernel_log.iter().chain(&inputs.kubelet_log).filter(|path| path.is_file());
    let mut starts = Vec::new();
    for path in paths() {
        starts.push((path, input::open(path)?.peek(path, SAMPLE_BYTES)?));
    }
    if !starts.iter().any(|(_, start)| has_times_without_year(start)) {
        return Ok(None);
    }
    let beside = starts.iter().find_map(|(path, start)| Some((beside(start)?, in_words(path))));
    let first = || starts.iter().find_map(|(path, start)| Some((first(start)?, in_words(path))));
    let created = || {
        let created = known.snapshot.pods.values().filter_map(|pod| pod.created).max()?;
        Some((created, "the pods' creation".to_owned()))
    };
    let Some((date, by)) = beside.or_else(first).or_else(created) else { return Ok(None) };
    info!("times without a year are of the one in which their logs begin nearest to {date:.0}: by {by} (else: --year)");
    let begin = starts.iter().filter_map(|(_, start)| begins(start, date)).min();
    let latest = match begin {
        Some(begin) => begin.checked_add(Span::new().hours(ALMOST_A_YEAR)),
        None => date.checked_add(Span::new().hours(HALF_A_YEAR)),
    };
    Ok(latest.ok())
}

/// Where a log begins whose first times are nearest to a date; one that has its newest line first begins at its end.
fn begins(start: &[u8], date: Timestamp) -> Option<Timestamp> {
    let undated = |wall| match wall {
        Wall::Local(local) if local.year.is_none() => nearest(local, date),
        _ => None,
    };
    let times: Vec<_> = walls(lines(start).take(LINES)).filter_map(undated).collect();
    let (first, last) = (times.first()?, times.last()?);
    if first <= last {
        return Some(*first);
    }
    let behind = lines(start).count().saturating_sub(LINES);
    walls(lines(start).skip(behind)).filter_map(undated).min()
}

/// A time without a year in the year in which it is nearest to a date.
fn nearest(local: LocalTime, date: Timestamp) -> Option<Timestamp> {
    let year = TimeZone::UTC.to_datetime(date).year();
    let in_years = (year - 1..=year + 1).filter_map(|year| TimeZone::UTC.to_timestamp(local.in_year(year)?).ok());
    in_years.min_by_key(|at| at.duration_since(date).abs())
}

fn in_words(path: &Given) -> String {
    format!("a date in {path}")
}

fn lines(start: &[u8]) -> impl Iterator<Item = &[u8]> {
    start.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn walls<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = Wall> {
    let kernel = KernelLines::new().ok();
    lines.filter_map(move |line| {
        let of_kernel = kernel.as_ref().and_then(|kernel| kernel.when(line).wall);
        of_kernel.or_else(|| KubeletLines.when(line).wall)
    })
}

fn has_times_without_year(start: &[u8]) -> bool {
    let klog = || lines(start).take(LINES).any(|line| KubeletLines.text_at(line).is_some());
    walls(lines(start).take(LINES)).any(|wall| matches!(wall, Wall::Local(local) if local.year.is_none())) || klog()
}

/// The first date with a year on a line that has the same day without one.
fn beside(start: &[u8]) -> Option<Timestamp> {
    memmem::find_iter(start, b"20").find_map(|at| {
        let date = date_at(start, at)?;
        let line = start[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let days = [date.1, date.1.yesterday().ok()?, date.1.tomorrow().ok()?];
        let head = &start[line..at];
        days.into_iter().any(|day| has_day(head, day)).then_some(date.0)
    })
}

/// Whether a line begins with this day, as syslog or klog write it.
fn has_day(head: &[u8], day: civil::Date) -> bool {
    let month = usize::try_from(day.month() - 1).ok().and_then(|month| MONTHS.get(month)).copied().unwrap_or_default();
    let syslog = [format!("{month} {:>2} ", day.day()), format!("{month} {:02} ", day.day())];
    let klog = format!("{:02}{:02} ", day.month(), day.day());
    let of_klog = memmem::find_iter(head, klog.as_bytes())
        .any(|at| at > 0 && b"IWEF".contains(&head[at - 1]) && (at == 1 || !head[at - 2].is_ascii_alphanumeric()));
    of_klog || syslog.iter().any(|day| memmem::find(&head[..head.len().min(80)], day.as_bytes()).is_some())
}

/// A date with its time that begins here.
fn date_at(start: &[u8], at: usize) -> Option<(Timestamp, civil::Date)> {
    let text = start.get(at..(at + 40).min(start.len()))?;
    let shape = b"0000-00-00T00:00:00";
    let fits = text.iter().zip(shape).all(|(byte, is)| match is {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b' '),
        _ => byte == is,
    });
    if text.len() < shape.len() || !fits || (at > 0 && start[at - 1].is_ascii_digit()) {
        return None;
    }
    instant(when::in_field(&String::from_utf8_lossy(text))?)
}

/// The instant, in UTC where no zone is written: it is for the year.
fn instant(wall: Wall) -> Option<(Timestamp, civil::Date)> {
    let at = match wall {
        Wall::Absolute(at) => at,
        Wall::Local(local) => TimeZone::UTC.to_timestamp(local.in_year(local.year?)?).ok()?,
    };
    Some((at, TimeZone::UTC.to_datetime(at).date()))
}

/// The first date with a year that stands before a line, or in what `journalctl` says of itself, or klog of its file.
fn first(start: &[u8]) -> Option<Timestamp> {
    let own = lines(start).take(LINES).find_map(|line| {
        let of_journal = line.starts_with(b"-- ") && memmem::find(line, b"begin").is_some();
        if let Some(created) = line.strip_prefix(b"Log file created at: ") {
            return instant(when::in_field(&String::from_utf8_lossy(created))?);
        }
        of_journal.then(|| memmem::find_iter(line, b"20").filter_map(|at| date_at(line, at)).last())?
    });
    own.or_else(|| walls(lines(start).take(LINES)).find_map(instant)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_beside_a_time_of_the_same_day_has_its_year() {
        let year = |log: &str| beside(log.as_bytes()).map(|at| at.strftime("%F").to_string());
        let day = Some("2023-10-12".to_owned());
        for log in [
            "Oct 12 19:00:20 n1 containerd[2388]: time=\"2023-10-12T19:00:20.879932879Z\" level=info msg=\"a\"\n",
            "I1012 19:00:20.879932 1 a.go:1] eviction manager: observations: signal=memory.available, available: 1Ki, capacity: 2Ki, time: 2023-10-12 19:00:19.1 +0000 UTC m=+3\n",
            "Oct 12 01:30:20 n1 kubelet[4]: I1012 01:30:20.1 4 a.go:1] time: 2023-10-12 23:30:19 -0500\nOct 12 01:00:00 n1 a: 2023-10-12 00:00:00 b",
        ] {
            assert_eq!(year(log).is_some(), day.is_some(), "{log}");
        }
        // A certificate's end is of another day.
        let certificate = "I1012 19:00:20.879932 1 a.go:1] Certificate expiration is 2025-01-04 19:00:20 +0000 UTC\n";
        assert_eq!(year(certificate), None);
        assert_eq!(year("Oct 12 19:00:20 n1 kernel: 12023-10-12 19:00:20\n"), None);
    }

    #[test]
    fn a_journals_own_first_line_has_a_year() {
        let log = "-- Logs begin at Mon 2023-01-09 10:00:00 UTC, end at Thu 2023-10-12 19:00:20 UTC. --\nOct 12 19:00:20 n1 kernel: a\n";
        assert_eq!(first(log.as_bytes()), "2023-10-12T19:00:20Z".parse().ok());
        assert_eq!(
            first(b"Log file created at: 2023/10/12 19:00:20\nI1012 19:00:20.1 1 a.go:1] b\n"),
            "2023-10-12T19:00:20Z".parse().ok()
        );
        assert_eq!(first(b"[Thu Oct 12 19:00:20 2023] a\n"), "2023-10-12T19:00:20Z".parse().ok());
        assert_eq!(first(b"Oct 12 19:00:20 n1 kernel: a\n"), None);
    }
}
