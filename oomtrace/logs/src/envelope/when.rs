//! When a line was logged, as far as its form tells.

use jiff::{Timestamp, civil};

use super::scan::Scan;

/// When a line was logged. Most forms tell one of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// The kernel's own stamp, nanoseconds since it booted: `local_clock()` (`kernel/printk/printk.c`, `vprintk_store`).
    /// It stands still while the machine is suspended, as `CLOCK_BOOTTIME` does not, and drifts from it by some
    /// milliseconds a day.
    pub boot_ns: Option<u64>,
    /// The wall time as written. In a journal it is when journald read the record: at the time of an OOM up to seconds
    /// after `boot_ns`. In `dmesg -T` it is `boot_ns` added to a boot time, wrong after a suspend.
    pub wall: Option<Wall>,
}

/// A wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// An instant.
    Absolute(Timestamp),
    /// What a clock on that node's wall showed: the zone is not written.
    Local(LocalTime),
}

/// A local time as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Missing in syslog's form.
    pub year: Option<i16>,
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
    /// 0 to 23.
    pub hour: i8,
    /// 0 to 59.
    pub minute: i8,
    /// 0 to 59. A leap second is written as 59.
    pub second: i8,
    /// What is written of the second's fraction.
    pub nanosecond: i32,
}

impl LocalTime {
    /// The time in the year that is written, or else in `year`. `None` for the 29th of February of the wrong year.
    #[must_use]
    pub fn in_year(self, year: i16) -> Option<civil::DateTime> {
        let Self { year: written, month, day, hour, minute, second, nanosecond } = self;
        civil::DateTime::new(written.unwrap_or(year), month, day, hour, minute, second, nanosecond).ok()
    }
}

impl When {
    /// Nanoseconds from `earlier` to this; `None` where the two have no common clock.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<i128> {
        if let (Some(to), Some(from)) = (self.boot_ns, earlier.boot_ns) {
            return Some(i128::from(to) - i128::from(from));
        }
        match (self.wall?, earlier.wall?) {
            (Wall::Absolute(to), Wall::Absolute(from)) => Some(to.as_nanosecond() - from.as_nanosecond()),
            (Wall::Local(to), Wall::Local(from)) => {
                // Any leap year does where neither has one: only turns of the year are off, and they look like long gaps.
                let (to, from) = (to.in_year(2000)?, from.in_year(2000)?);
                Some(to.duration_since(from).as_nanos())
            }
            _ => None,
        }
    }
}

/// What `strftime`'s `%b` gives in the locales C, German, French, Spanish, Italian, Portuguese, Dutch, Polish and Russian, in
/// lower case: `dmesg -T` and `journalctl` print it. Chinese, Japanese and Korean have numbers, some with a blank before.
const MONTHS: [&[&str]; 12] = [
    &["jan", "jän", "janv.", "ene", "gen", "sty", "янв"],
    &["feb", "févr.", "fév", "fev", "lut", "фев"],
    &["mar", "mär", "mars", "mrt", "мар"],
    &["apr", "avril", "avr", "abr", "kwi", "апр"],
    &["may", "mai", "mag", "mei", "maj", "май", "мая"],
    &["jun", "juin", "giu", "cze", "июн"],
    &["jul", "juil.", "lug", "lip", "июл"],
    &["aug", "août", "aoû", "ago", "sie", "авг"],
    &["sep", "sept.", "set", "wrz", "сен"],
    &["oct", "okt", "oct.", "ott", "out", "paź", "окт"],
    &["nov", "nov.", "lis", "ноя"],
    &["dec", "dez", "déc.", "déc", "dic", "gru", "дек"],
];

/// What stands before a line in the journal's text forms and in syslog files.
pub(crate) fn journal(scan: &mut Scan<'_>) -> Option<Wall> {
    let mut first = |read: fn(&mut Scan<'_>) -> Option<Wall>| {
        let mut ahead = *scan;
        let wall = read(&mut ahead)?;
        *scan = ahead;
        Some(wall)
    };
    first(|scan| iso(scan).map(|(timestamp, _)| Wall::Absolute(timestamp)))
        .or_else(|| first(|scan| unix(scan).map(Wall::Absolute)))
        .or_else(|| first(|scan| syslog(scan).map(Wall::Local)))
        .or_else(|| first(full))
        .or_else(|| first(|scan| ctime(scan).map(Wall::Local)))
        .or_else(|| first(|scan| undistanced(scan).map(Wall::Local)))
}

/// `[  153.158837]`, `[  153.158837 <    0.000125>]`: nanoseconds since boot.
pub(crate) fn since_boot(scan: &mut Scan<'_>) -> Option<u64> {
    scan.tag(b"[")?;
    scan.spaces();
    let seconds = scan.number()?;
    let nanos = u64::try_from(scan.fraction()?).ok()?;
    scan.delta()?;
    scan.tag(b"]")?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// A time in a head that is not known, as exports and shippers write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadTime {
    /// With its date.
    Wall(Wall),
    /// `18:49:43.405414`: without a date it is no time.
    OfDay,
}

/// The time that `scan` begins with, in one of the forms that exports and shippers write.
pub(crate) fn in_head(scan: &mut Scan<'_>) -> Option<HeadTime> {
    let readers: [fn(&mut Scan<'_>) -> Option<HeadTime>; 7] = [
        |scan| exported(scan).map(HeadTime::Wall),
        |scan| syslog(scan).map(Wall::Local).map(HeadTime::Wall),
        |scan| ctime(scan).map(Wall::Local).map(HeadTime::Wall),
        |scan| apache(scan).map(HeadTime::Wall),
        |scan| of_console(scan).map(Wall::Local).map(HeadTime::Wall),
        |scan| since_1970(scan).map(Wall::Absolute).map(HeadTime::Wall),
        |scan| clock(scan, None, 1, 1).map(|_| HeadTime::OfDay),
    ];
    readers.into_iter().find_map(|read| {
        let mut ahead = *scan;
        let time = read(&mut ahead)?;
        // A time is not the start of a longer word.
        if ahead.peek().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        *scan = ahead;
        Some(time)
    })
}

/// The time that a field of an export holds.
#[must_use]
pub fn in_field(text: &str) -> Option<Wall> {
    let mut scan = Scan(text.trim().as_bytes());
    match in_head(&mut scan)? {
        HeadTime::Wall(wall) => Some(wall),
        HeadTime::OfDay => None,
    }
}

/// `2026-11-23T23:20:37.158Z`, `2026-11-23 23:20:37.158 +0000 UTC`, `2026/11/23 23:20:37`.
fn exported(scan: &mut Scan<'_>) -> Option<Wall> {
    let year = scan.digits(4)?;
    let separator: &[u8] = if scan.tag(b"-").is_some() { b"-" } else { scan.tag(b"/").map(|()| b"/")? };
    let month = scan.digits(2)?;
    scan.tag(separator)?;
    let day = scan.digits(2)?;
    scan.tag(b" ").or_else(|| scan.tag(b"T"))?;
    let (year, month, day) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    let time = clock(scan, Some(year), month, day)?;
    Some(zoned(scan, time))
}

/// `23/Nov/2026:23:20:37 +0000`.
fn apache(scan: &mut Scan<'_>) -> Option<Wall> {
    let day = i8::try_from(scan.digits(2)?).ok()?;
    scan.tag(b"/")?;
    let name = scan.0.get(..3)?;
    let month = month(std::str::from_utf8(name).ok()?)?;
    scan.0 = &scan.0[3..];
    scan.tag(b"/")?;
    let year = i16::try_from(scan.digits(4)?).ok()?;
    scan.tag(b":")?;
    let time = clock(scan, Some(year), month, day)?;
    Some(zoned(scan, time))
}

/// `Nov 23, 2026 @ 23:20:37.158`, `Nov 23, 2026, 11:20:37 PM`, `11/23/26 11:20:37.158 PM`: what consoles in a browser show.
fn of_console(scan: &mut Scan<'_>) -> Option<LocalTime> {
    let (year, month, day) = if scan.peek()?.is_ascii_digit() {
        let mut two = || {
            let value = scan.small()?;
            scan.tag(b"/")?;
            i8::try_from(value).ok()
        };
        let (month, day) = (two()?, two()?);
        let year = scan.small()?;
        let _ = scan.tag(b",");
        (if year < 100 { year + 2000 } else { year }, month, day)
    } else {
        let (month, day) = month_and_day(scan)?;
        scan.tag(b", ")?;
        let year = i16::try_from(scan.digits(4)?).ok()?;
        let _ = scan.tag(b" @").or_else(|| scan.tag(b","));
        (year, month, day)
    };
    scan.tag(b" ")?;
    let one_digit = scan.peek_at(1) == Some(b':');
    let padded = one_digit.then(|| [b"0", scan.0].concat());
    let mut ahead = padded.as_deref().map_or(*scan, Scan);
    let before = ahead.0.len();
    let time = clock(&mut ahead, Some(year), month, day)?;
    scan.0 = &scan.0[before - ahead.0.len() - usize::from(one_digit)..];
    let afternoon = match scan.0 {
        [b' ', b'A', b'M', ..] => Some(false),
        [b' ', b'P', b'M', ..] => Some(true),
        _ => None,
    };
    let Some(afternoon) = afternoon else { return Some(time) };
    scan.0 = &scan.0[3..];
    let hour = time.hour % 12 + if afternoon { 12 } else { 0 };
    Some(LocalTime { hour, ..time })
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, by how many digits there are: 2001 to 2286.
fn since_1970(scan: &mut Scan<'_>) -> Option<Timestamp> {
    let digits = scan.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = i64::try_from(scan.number()?).ok()?;
    match digits {
        10 => Timestamp::new(number, scan.fraction().unwrap_or(0)).ok(),
        13 => Timestamp::from_millisecond(number).ok(),
        16 => Timestamp::from_microsecond(number).ok(),
        19 => Timestamp::from_nanosecond(number.into()).ok(),
        _ => None,
    }
}

/// A time with the zone that may follow it: `Z`, `+01:00`, ` +0000 UTC`, ` UTC`.
fn zoned(scan: &mut Scan<'_>, time: LocalTime) -> Wall {
    let mut ahead = *scan;
    let _ = ahead.tag(b" ");
    let seconds = if ahead.tag(b"Z").is_some() { Some(0) } else { offset(&mut ahead) };
    let utc = seconds.is_none_or(|seconds| seconds == 0) && {
        let mut named = ahead;
        let _ = named.tag(b" ");
        named.tag(b"UTC").map(|()| ahead = named).is_some()
    };
    let seconds = seconds.or(utc.then_some(0));
    match seconds.and_then(|seconds| absolute(time, seconds)) {
        Some(at) => {
            *scan = ahead;
            Wall::Absolute(at)
        }
        None => Wall::Local(time),
    }
}

/// `Nov 23 23:20:37`, with a fraction in `short-precise`: syslog's form. Some add the year: `Nov 23 2026 23:20:37`.
fn syslog(scan: &mut Scan<'_>) -> Option<LocalTime> {
    let (month, day) = month_and_day(scan)?;
    scan.tag(b" ")?;
    let mut ahead = *scan;
    let year = ahead.digits(4).and_then(|year| ahead.tag(b" ").map(|()| year));
    if year.is_some() {
        *scan = ahead;
    }
    clock(scan, year.and_then(|year| i16::try_from(year).ok()), month, day)
}

/// `2026-11-23 23:20:37` and `2026-11-23T23:20:37.158837`, without the distance from UTC.
fn undistanced(scan: &mut Scan<'_>) -> Option<LocalTime> {
    let (year, month, day) = date(scan)?;
    scan.tag(b" ").or_else(|| scan.tag(b"T"))?;
    clock(scan, Some(year), month, day)
}

/// `Mon Nov 23 23:20:37 2026`: `ctime` in `dmesg -T`.
pub(crate) fn ctime(scan: &mut Scan<'_>) -> Option<LocalTime> {
    weekday(scan)?;
    let (month, day) = month_and_day(scan)?;
    scan.tag(b" ")?;
    let time = clock(scan, None, month, day)?;
    scan.tag(b" ")?;
    Some(LocalTime { year: Some(scan.small()?), ..time })
}

/// `Mon 2026-11-23 23:20:37 CET`: `journalctl -o short-full`. Names of zones are ambiguous, but for UTC; where a zone has no
/// name, it is a number (`-03`, `+0530`).
fn full(scan: &mut Scan<'_>) -> Option<Wall> {
    weekday(scan)?;
    let (year, month, day) = date(scan)?;
    scan.tag(b" ")?;
    let time = clock(scan, Some(year), month, day)?;
    scan.tag(b" ")?;
    let name = scan.token();
    let mut zone = Scan(name);
    match offset(&mut zone).filter(|_| zone.0.is_empty()) {
        Some(seconds) => absolute(time, seconds).map(Wall::Absolute),
        None if name == b"UTC" => absolute(time, 0).map(Wall::Absolute),
        None => (!name.is_empty()).then_some(Wall::Local(time)),
    }
}

/// `2026-11-23T23:20:37.123456+01:00` and its variants: RFC 3339, with a comma in `dmesg --time-format iso`, without a
/// colon in the zone in older `journalctl -o short-iso`. Also tells whether there was a comma.
pub(crate) fn iso(scan: &mut Scan<'_>) -> Option<(Timestamp, bool)> {
    let (year, month, day) = date(scan)?;
    scan.tag(b"T")?;
    let comma = scan.peek_at(8) == Some(b',');
    let time = clock(scan, Some(year), month, day)?;
    if scan.tag(b"Z").is_some() {
        return Some((absolute(time, 0)?, comma));
    }
    Some((absolute(time, offset(scan)?)?, comma))
}

/// `+01:00`, `+0530`, `-03`: a distance from UTC, in seconds.
fn offset(scan: &mut Scan<'_>) -> Option<i32> {
    let sign = if scan.tag(b"-").is_some() { -1 } else { scan.tag(b"+").map(|()| 1)? };
    let hours: i32 = scan.digits(2)?;
    let _ = scan.tag(b":");
    let minutes: i32 = scan.digits(2).unwrap_or(0);
    Some(sign * (hours * 3600 + minutes * 60))
}

/// `1795475954.137400`: `journalctl -o short-unix`.
fn unix(scan: &mut Scan<'_>) -> Option<Timestamp> {
    let seconds = i64::try_from(scan.number()?).ok()?;
    Timestamp::new(seconds, scan.fraction()?).ok()
}

/// In any language.
fn weekday(scan: &mut Scan<'_>) -> Option<()> {
    let word = scan.token();
    (!word.is_empty() && word.len() <= 16 && !word.iter().any(u8::is_ascii_digit)).then_some(())?;
    scan.tag(b" ")
}

fn month_and_day(scan: &mut Scan<'_>) -> Option<(i8, i8)> {
    scan.spaces();
    let month = month(std::str::from_utf8(scan.token()).ok()?)?;
    scan.tag(b" ")?;
    scan.spaces();
    Some((month, scan.small().and_then(|day: i16| i8::try_from(day).ok())?))
}

fn month(word: &str) -> Option<i8> {
    if let Some(number) = word.strip_suffix('月').or_else(|| word.strip_suffix('월')) {
        return number.parse().ok();
    }
    let month = MONTHS.iter().position(|names| names.iter().any(|name| name.eq_ignore_ascii_case(word)))?;
    i8::try_from(month + 1).ok()
}

fn date(scan: &mut Scan<'_>) -> Option<(i16, i8, i8)> {
    let year = scan.digits(4)?;
    scan.tag(b"-")?;
    let month = scan.digits(2)?;
    scan.tag(b"-")?;
    Some((i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(scan.digits(2)?).ok()?))
}

fn clock(scan: &mut Scan<'_>, year: Option<i16>, month: i8, day: i8) -> Option<LocalTime> {
    let mut two = |after: &[u8]| {
        let value = i8::try_from(scan.digits(2)?).ok()?;
        scan.tag(after)?;
        Some(value)
    };
    let (hour, minute, second) = (two(b":")?, two(b":")?, two(b"")?);
    let nanosecond = scan.fraction().unwrap_or(0);
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    valid.then_some(LocalTime { year, month, day, hour, minute, second: second.min(59), nanosecond })
}

fn absolute(time: LocalTime, offset_seconds: i32) -> Option<Timestamp> {
    let civil = time.in_year(0)?;
    jiff::tz::Offset::from_seconds(offset_seconds).ok()?.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> LocalTime {
        let time: civil::DateTime = text.parse().expect("a time");
        LocalTime {
            year: Some(time.year()),
            month: time.month(),
            day: time.day(),
            hour: time.hour(),
            minute: time.minute(),
            second: time.second(),
            nanosecond: time.subsec_nanosecond(),
        }
    }

    /// A wall time as a test has it: in UTC where it ends with `Z`.
    fn wall(text: &str) -> Wall {
        match text.parse() {
            Ok(at) => Wall::Absolute(at),
            Err(_) => Wall::Local(local(text)),
        }
    }

    #[test]
    fn times_of_exports_and_shippers_are_read_in_every_form() {
        for (text, expected) in [
            ("2026-11-23T23:20:37.158Z", "2026-11-23T23:20:37.158Z"),
            ("2026-11-23 23:20:37.158 +0000 UTC", "2026-11-23T23:20:37.158Z"),
            ("2026-11-23 23:20:37 UTC", "2026-11-23T23:20:37Z"),
            ("2026-11-23T23:20:37+01:30", "2026-11-23T21:50:37Z"),
            ("2026-11-23T23:20:37-03", "2026-11-24T02:20:37Z"),
            ("2026/11/23 23:20:37", "2026-11-23T23:20:37"),
            ("2026-11-23 23:20:37,158", "2026-11-23T23:20:37.158"),
            ("Nov 23 2026 23:20:37", "2026-11-23T23:20:37"),
            ("Mon Nov 23 23:20:37 2026", "2026-11-23T23:20:37"),
            ("lun. nov. 23 23:20:37 2026", "2026-11-23T23:20:37"),
            ("23/Nov/2026:23:20:37 +0100", "2026-11-23T22:20:37Z"),
            ("23/Nov/2026:23:20:37", "2026-11-23T23:20:37"),
            ("Nov 23, 2026 @ 23:20:37.158", "2026-11-23T23:20:37.158"),
            ("Nov 23, 2026, 11:20:37 PM", "2026-11-23T23:20:37"),
            ("11/23/26 11:20:37.158 PM", "2026-11-23T23:20:37.158"),
            ("11/23/2026, 9:20:37 AM", "2026-11-23T09:20:37"),
            ("11/23/2026, 12:20:37 AM", "2026-11-23T00:20:37"),
            ("11/23/2026, 12:20:37 PM", "2026-11-23T12:20:37"),
            ("1795476037", "2026-11-23T23:20:37Z"),
            ("1795476037.158", "2026-11-23T23:20:37.158Z"),
            ("1795476037158", "2026-11-23T23:20:37.158Z"),
            ("1795476037158837", "2026-11-23T23:20:37.158837Z"),
            ("1795476037158837000", "2026-11-23T23:20:37.158837Z"),
            ("  2026-11-23T23:20:60Z ", "2026-11-23T23:20:59Z"),
        ] {
            assert_eq!(in_field(text), Some(wall(expected)), "{text}");
        }
        let without_year = LocalTime { year: None, ..local("2026-11-23T23:20:37") };
        assert_eq!(in_field("Nov 23 23:20:37"), Some(Wall::Local(without_year)));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "23:20:37.158",
            "2026-13-23T23:20:37Z",
            "2026-00-23T23:20:37Z",
            "2026-11-32T23:20:37Z",
            "2026-11-00T23:20:37Z",
            "2026-11-23T24:20:37Z",
            "2026-11-23T23:60:37Z",
            "2026-11-23T23:20:61Z",
            "2026-11/23 23:20:37",
            "23/Now/2026:23:20:37",
            "Nov 23, 2026",
            "179547603",
            "17954760371",
            "2026-11-23T23:20:37Zulu",
            "1795476037x",
        ] {
            assert_eq!(in_field(text), None, "{text}");
        }
        assert_eq!(in_head(&mut Scan(b"23:20:37.158 x")), Some(HeadTime::OfDay));
    }

    #[test]
    fn times_of_the_journals_forms_are_read() {
        for (text, expected, rest) in [
            ("2026-11-23T23:20:37.123456+0100 node", "2026-11-23T22:20:37.123456Z", " node"),
            ("2026-11-23T23:20:37,123456-03:30 node", "2026-11-24T02:50:37.123456Z", " node"),
            ("2026-11-23T23:20:37 node", "2026-11-23T23:20:37", " node"),
            ("1795475954.137400 node", "2026-11-23T23:19:14.137400Z", " node"),
            ("Mon 2026-11-23 23:20:37 UTC node", "2026-11-23T23:20:37Z", " node"),
            ("Mon 2026-11-23 23:20:37 +0530 node", "2026-11-23T17:50:37Z", " node"),
            ("Mon 2026-11-23 23:20:37 CET node", "2026-11-23T23:20:37", " node"),
            ("Mon Nov 23 23:20:37 2026] x", "2026-11-23T23:20:37", "] x"),
        ] {
            let mut scan = Scan(text.as_bytes());
            assert_eq!(journal(&mut scan), Some(wall(expected)), "{text}");
            assert_eq!(String::from_utf8_lossy(scan.0), rest, "{text}");
        }
        let mut scan = Scan(b"Nov  3 23:20:37.158 node");
        let time = LocalTime { year: None, ..local("2026-11-03T23:20:37.158") };
        assert_eq!(journal(&mut scan), Some(Wall::Local(time)));
        for text in ["1st 2026-11-23 23:20:37 CET x", "Mon 2026-11-23 23:20:37 ", "2026-11-23", "17954 x"] {
            assert_eq!(journal(&mut Scan(text.as_bytes())), None, "{text}");
        }
    }

    #[test]
    fn months_are_known_in_many_languages() {
        for (word, number) in
            [("Nov", 11), ("DEC", 12), ("janv.", 1), ("août", 8), ("11月", 11), ("3월", 3), ("мая", 5), ("okt", 10)]
        {
            assert_eq!(month(word), Some(number), "{word}");
        }
        assert_eq!((month("Now"), month("x月")), (None, None));
    }

    #[test]
    fn stamps_since_boot_are_in_nanoseconds() {
        for (text, expected) in [
            ("[  153.158837] x", Some(153_158_837_000)),
            ("[  153.158837 <    0.000125>] x", Some(153_158_837_000)),
            ("[  153] x", None),
            ("153.158837] x", None),
            ("[18446744073709551615.0] x", None),
        ] {
            assert_eq!(since_boot(&mut Scan(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn distances_are_of_the_clock_that_both_have() {
        let boot = |boot_ns| When { boot_ns: Some(boot_ns), wall: None };
        let at = |text: &str| When { boot_ns: None, wall: Some(wall(text)) };
        let both = |boot_ns, text: &str| When { boot_ns: Some(boot_ns), ..at(text) };
        let (early, late) = ("2026-11-23T23:20:37", "2026-11-23T23:20:39");
        assert_eq!(boot(5).since(&boot(7)), Some(-2));
        assert_eq!(at(late).since(&at(early)), Some(2_000_000_000));
        assert_eq!(at("2026-11-23T23:20:39Z").since(&at("2026-11-23T23:20:37Z")), Some(2_000_000_000));
        assert_eq!(both(9, early).since(&both(3, late)), Some(6), "the kernel's own first");
        assert_eq!(at("2026-11-23T23:20:39Z").since(&at(early)), None, "one in a zone that is not known");
        assert_eq!(boot(5).since(&at(early)), None);
    }
}
