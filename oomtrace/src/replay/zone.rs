//! The zone of local times: klog's text, `dmesg -T` and syslog's form tell none.
//!
//! In this order: `--time-zone`; where the times of one log are local and the other's are not, the distance at which the
//! kubelet sees containers end when the kernel kills in them; the distance from UTC that another of the logs writes beside its
//! times; else UTC. Where all logs are local, they agree, whatever the zone is.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{
    SignedDuration, Timestamp,
    tz::{Offset, TimeZone},
};
use memchr::memmem;
use tracing::info;

use super::{Inputs, given::Given, input, logs};
use crate::{
    event::{ContainerAction, ContainerId, Event, Moment, Observation},
    source::kernel_log::{self, Line, Wall},
};

/// Zones are a whole number of quarters of an hour from UTC, and not farther.
const STEP: i64 = 15 * 60;
const FARTHEST: i64 = 14 * 3600;
/// A container's end is seen at the earliest so many seconds before its kill, by a clock without fractions, and at the latest
/// so many after it.
const SEEN: std::ops::RangeInclusive<i64> = -2..=35;
/// A log's form shows in its first lines.
const LINES: usize = 64;
/// A zone is looked for in so many bytes of a log.
const SAMPLE_BYTES: u64 = 1 << 20;

/// The zone that the logs tell.
pub(super) fn of_logs(inputs: &Inputs, latest: Option<Timestamp>) -> Result<Option<TimeZone>> {
    let logs = || inputs.kernel_log.iter().chain(&inputs.kubelet_log);
    if logs().any(|path| !path.is_file()) {
        // Standard input, or a pipe: it can be read once.
        return Ok(None);
    }
    let by_kills = by_kills(inputs, latest)?
        .map(|offset| (offset, "the times at which the kubelet saw ends that the kernel made"));
    let mut found = by_kills;
    for path in logs() {
        if found.is_none() {
            let start = input::open(path)?.peek(path, SAMPLE_BYTES)?;
            let of_line = start.split(|byte| *byte == b'\n').find_map(beside);
            found =
                of_line.filter(|offset| *offset != 0).map(|offset| (offset.into(), "a time with its zone in the log"));
        }
    }
    for path in logs() {
        let written = || Ok::<_, anyhow::Error>(first_lines(path)?.iter().find_map(|line| offset(line)));
        if found.is_none() {
            found = written()?.filter(|offset| *offset != 0).map(|offset| (offset.into(), "another log"));
        }
    }
    Ok(found.filter(|(seconds, _)| *seconds != 0).and_then(|(seconds, by)| {
        let zone = TimeZone::fixed(Offset::from_seconds(i32::try_from(seconds).ok()?).ok()?);
        info!("local times are taken for {:#} from UTC according to {by}", SignedDuration::from_secs(seconds));
        Some(zone)
    }))
}

fn first_lines(path: &Given) -> Result<Vec<Vec<u8>>> {
    let mut input = input::open(path)?;
    let mut first = Vec::new();
    input::first_lines(path, &mut input, LINES, |line| first.push(line.to_vec()))?;
    Ok(first)
}

/// The distance from UTC, in seconds, of a line that begins `2026-11-23T23:20:37.158837+01:00`, in brackets or not.
fn offset(line: &[u8]) -> Option<i32> {
    let line = std::str::from_utf8(line.get(..48.min(line.len()))?).ok()?;
    let (date, rest) = line.trim_start_matches('[').split_once('T').filter(|(date, _)| date.len() == 10)?;
    let sign_at = rest.find(['+', '-'])?;
    let digit = |byte: u8| byte.is_ascii_digit() || b":.,".contains(&byte);
    let digits: String = rest[sign_at + 1..].chars().filter(|c| *c != ':').take_while(char::is_ascii_digit).collect();
    let known = date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && rest[..sign_at].bytes().all(digit);
    let seconds = digits.get(..2)?.parse::<i32>().ok()? * 3600 + digits.get(2..4)?.parse::<i32>().ok()? * 60;
    (known && digits.len() == 4).then_some(if rest[sign_at..].starts_with('-') { -seconds } else { seconds })
}

/// The distance from UTC of a time within a line: in what `journalctl` says of itself (`-- Logs begin at Thu 2026-11-23 23:51:07
/// +0430, …`), of what the kubelet observed (`time: 2026-11-23 19:22:59.462702674 +0800 CST m=+78880.8`), and of a runtime's line
/// (`time="2026-11-23T23:20:38+01:00"`).
fn beside(line: &[u8]) -> Option<i32> {
    let of_journal = line.starts_with(b"-- ") && memmem::find(line, b"begin").is_some();
    let starts: [&[u8]; 2] = [b", time: 20", b"time=\"20"];
    let at = if of_journal {
        memmem::find(line, b" 20")? + 1
    } else {
        starts.iter().find_map(|start| Some(memmem::find(line, start)? + start.len() - 2))?
    };
    let text = String::from_utf8_lossy(line.get(at..(at + 48).min(line.len()))?);
    let time = text.get(10..)?;
    let sign_at = time.find(['+', '-'])?;
    let known = text.as_bytes()[..10].iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
        && time[..sign_at].bytes().all(|byte| byte.is_ascii_digit() || b" T:.,".contains(&byte));
    let digits: String = time[sign_at + 1..].chars().filter(|c| *c != ':').take_while(char::is_ascii_digit).collect();
    let seconds = digits.get(..2)?.parse::<i32>().ok()? * 3600 + digits.get(2..4)?.parse::<i32>().ok()? * 60;
    (known && digits.len() == 4).then_some(if time[sign_at..].starts_with('-') { -seconds } else { seconds })
}

/// How far local times are from UTC by what both logs tell of the same containers.
fn by_kills(inputs: &Inputs, latest: Option<Timestamp>) -> Result<Option<i64>> {
    let kernel_is_local = inputs.kernel_log.iter().map(kernel_is_local).collect::<Result<Vec<_>>>()?;
    let Some((Some(kernel_is_local), rest)) = kernel_is_local.split_first() else { return Ok(None) };
    let of_kubelet = inputs.kubelet_log.iter().map(logs::is_local).collect::<Result<Vec<_>>>()?;
    let agree = rest.iter().all(|other| *other == Some(*kernel_is_local));
    if !agree || of_kubelet.is_empty() || of_kubelet.contains(kernel_is_local) {
        return Ok(None);
    }
    let kills = kills(&logs::KernelLogs::read_silently(inputs, &TimeZone::UTC, latest)?.reported);
    let mut kubelet = logs::KubeletLogs::open_silently(inputs, &TimeZone::UTC, latest)?;
    let mut votes: BTreeMap<i64, usize> = BTreeMap::new();
    while !kills.is_empty() && kubelet.read_piece()? {
        for (id, end) in kubelet.reported.drain(..).filter_map(|reported| end(&reported)) {
            let ahead = kills.get(&id).and_then(|killed| distance(end.duration_since(*killed).as_secs()));
            if let Some(ahead) = ahead {
                *votes.entry(ahead).or_default() += 1;
            }
        }
        // No zone but their own makes an end follow its kill by chance.
        if votes.contains_key(&0) {
            return Ok(Some(0));
        }
    }
    // A container that outlived its kill may end at any time.
    Ok(match votes.iter().collect::<Vec<_>>()[..] {
        [(ahead, count)] if *count > 1 || ahead % (2 * STEP) == 0 => {
            Some(if *kernel_is_local { -ahead } else { *ahead })
        }
        _ => None,
    })
}

/// Whether a kernel's log writes local times; `None` where it writes none.
fn kernel_is_local(path: &Given) -> Result<Option<bool>> {
    let mut reader = kernel_log::LineReader::new();
    let lines = first_lines(path)?;
    if lines.first().is_some_and(|line| kernel_log::is_export(line)) {
        return Ok(Some(false));
    }
    Ok(lines.iter().find_map(|line| match reader.read(line) {
        Line::Kernel(message) | Line::Killer(message) => message.when.wall.map(|wall| matches!(wall, Wall::Local(_))),
        Line::Skipped(_) => None,
    }))
}

/// The zone by which an end comes so many seconds after its kill; `None` where no zone does.
fn distance(seconds: i64) -> Option<i64> {
    let zone = (seconds - SEEN.start()).div_euclid(STEP) * STEP;
    (SEEN.contains(&(seconds - zone)) && zone.abs() <= FARTHEST).then_some(zone)
}

/// When the kernel killed last in each container, by logs that tell a date.
fn kills(reported: &[Observation]) -> BTreeMap<ContainerId, Timestamp> {
    let of_kill = |reported: &Observation| match (&reported.event, reported.at) {
        (Event::OomKill(kill), Moment::Wall(at)) => Some((kill.container.as_ref()?.id.clone()?, at)),
        _ => None,
    };
    reported.iter().filter_map(of_kill).collect()
}

/// When the kubelet saw a container end.
fn end(reported: &Observation) -> Option<(ContainerId, Timestamp)> {
    match (&reported.event, reported.at) {
        (Event::Container(change), Moment::Wall(at)) if change.action == ContainerAction::Died => {
            Some((change.container.as_ref()?.id.clone()?, at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_from_utc_is_read_where_one_is_written() {
        for (line, expected) in [
            ("2026-11-24T00:20:37.158837+01:00 node1 kernel: a", Some(3600)),
            ("2026-11-24T04:50:38+0530 node1 kubelet[4]: a", Some(19_800)),
            ("2026-11-23T18:20:38,158837-05:00 a", Some(-18_000)),
            ("2026-11-23T23:20:38.158837+00:00 node1 kernel: a", Some(0)),
            ("2026-11-23T23:20:38.158837Z stderr F I1123 a-b", None),
            ("Nov 23 23:20:37 node1 kernel: a+0100", None),
            ("I1123 23:20:37.000000 1 f.go:1] T+0100", None),
            ("", None),
        ] {
            assert_eq!(offset(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_zone_is_read_from_a_time_within_a_line() {
        for (line, expected) in [
            ("-- Logs begin at Thu 2026-04-11 23:51:07 +0430, end at Fri 2026-04-12 09:29:01 +0430. --", Some(16_200)),
            (
                "I1215 19:22:59.485628 7 helpers.go:814] eviction manager: observations: signal=memory.available, available: 1Ki, capacity: 2Ki, time: 2026-12-15 19:22:59.462702674 +0800 CST m=+7.8",
                Some(28_800),
            ),
            ("Dec 15 19:22:59 node1 containerd[4]: time=\"2026-12-15T19:22:59.4-05:00\" level=info", Some(-18_000)),
            ("Dec 15 19:22:59 node1 containerd[4]: time=\"2026-12-15T19:22:59.4Z\" level=info msg=\"a-b+0100\"", None),
            ("-- Logs begin at Thu 2026-04-11 23:51:07 UTC, end at Fri 2026-04-12 09:29:01 UTC. --", None),
            ("I1215 19:22:59.485628 7 f.go:1] time: 2026 +0800", None),
        ] {
            assert_eq!(beside(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn an_end_that_no_zone_explains_tells_none() {
        let reported = [-2, 0, 35, 36, 3598, 3600, 3634, 3700, -18_001, 19_803, 900_000].map(distance);
        let hour = Some(3600);
        assert_eq!(
            reported,
            [Some(0), Some(0), Some(0), None, hour, hour, hour, None, Some(-18_000), Some(19_800), None]
        );
    }
}
