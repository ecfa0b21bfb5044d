//! When the node booted: a kernel log may count from there and tell no date.
//!
//! In this order: `--boot-time`; a recording, whose lines have both times; the same kill in another log that has the date;
//! what the kubelet or the runtime noticed of the same container or process; else nothing, and times are given from boot.

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use crate::{
    event::{ContainerAction, ContainerId, Event, Line, Moment, Observation, OomKill},
    timeline::Background,
};

/// Recordings of one boot agree on it to within this: clocks are set, and drift.
const AGREE: SignedDuration = SignedDuration::from_secs(60);
/// The kubelet looks for ends each second.
pub(super) const ENDED_AFTER: SignedDuration = SignedDuration::from_secs(1);
/// cAdvisor logs an OOM about so long after the kernel (seen: 0.8 to 1.0 s).
pub(super) const NOTICED_AFTER: SignedDuration = SignedDuration::from_millis(850);

/// Wall time at the kernel's stamp 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zero(Option<Timestamp>);

impl Zero {
    /// Wall time of a stamp. Where the boot is not known, times count from 1970.
    pub(super) fn wall(self, boot_ns: u64) -> Timestamp {
        let since = SignedDuration::from_nanos(i64::try_from(boot_ns).unwrap_or(i64::MAX));
        self.0.unwrap_or(Timestamp::UNIX_EPOCH).checked_add(since).unwrap_or(Timestamp::MAX)
    }
}

/// What everything but the kubelet's log says of it, where it matters; `None` where only that can tell.
pub(super) fn zero(
    asked: Option<Timestamp>,
    recorded: &[Line],
    kernel: &[Observation],
    known: &Background,
) -> Option<Zero> {
    let from_boot = from_boot(kernel);
    if asked.is_some() || from_boot.is_empty() {
        return Some(Zero(asked));
    }
    let found = by_recordings(recorded)
        .map(|zero| (zero, "a recording"))
        .or_else(|| by_other_log(&from_boot, kernel).map(|zero| (zero, "the same kill in another log")))
        .or_else(|| by_runtime(&from_boot, known).map(|zero| (zero, "the runtime's time of the container's end")));
    found.map(|(zero, by)| said(zero, by))
}

/// What the whole of the kubelet's log says of it.
pub(super) fn zero_by_kubelet(kernel: &[Observation], kubelet: &[Observation]) -> Zero {
    if let Some(zero) = by_kubelet(&from_boot(kernel), kubelet) {
        return said(zero, "what the kubelet noticed of the same containers");
    }
    warn!(
        "the kernel's log counts from the node's boot, and nothing says when that was: times are given as if it were \
         1970-01-01 (give --boot-time, or a log with dates)"
    );
    Zero(None)
}

fn said(zero: Timestamp, by: &str) -> Zero {
    info!("the node booted at {zero:.3} according to {by}");
    Zero(Some(zero))
}

fn from_boot(kernel: &[Observation]) -> Vec<(u64, &OomKill)> {
    kernel.iter().filter_map(|reported| Some((stamp(reported)?, kill(&reported.event)?))).collect()
}

fn stamp(reported: &Observation) -> Option<u64> {
    match reported.at {
        Moment::Boot(boot_ns) => Some(boot_ns),
        Moment::Wall(_) => None,
    }
}

fn kill(event: &Event) -> Option<&OomKill> {
    match event {
        Event::OomKill(kill) => Some(kill),
        _ => None,
    }
}

fn before(wall: Timestamp, boot_ns: u64) -> Option<Timestamp> {
    wall.checked_sub(SignedDuration::from_nanos(i64::try_from(boot_ns).ok()?)).ok()
}

fn by_recordings(recorded: &[Line]) -> Option<Timestamp> {
    let mut zeros = recorded.iter().filter_map(|line| before(line.ts.parse().ok()?, line.boot_ns?));
    let first = zeros.next()?;
    // Of several boots, nothing says which one the log is of.
    zeros.all(|zero| zero.duration_since(first).abs() < AGREE).then_some(first)
}

fn same(a: &OomKill, b: &OomKill) -> bool {
    let pid = |kill: &OomKill| kill.victim.task.tgid.or(kill.victim.task.pid);
    pid(a).is_some() && pid(a) == pid(b) && a.victim.task.comm == b.victim.task.comm && id(a) == id(b)
}

fn id(kill: &OomKill) -> Option<&ContainerId> {
    kill.container.as_ref()?.id.as_ref()
}

/// The least of all pairs: a log that tells the date late tells it late, never early.
fn least(zeros: impl Iterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
    zeros.flatten().min()
}

fn by_other_log(from_boot: &[(u64, &OomKill)], kernel: &[Observation]) -> Option<Timestamp> {
    let dated: Vec<_> = kernel
        .iter()
        .filter_map(|reported| match reported.at {
            Moment::Wall(wall) => Some((wall, kill(&reported.event)?)),
            Moment::Boot(_) => None,
        })
        .collect();
    least(from_boot.iter().flat_map(|(boot_ns, kill)| {
        dated.iter().filter(|(_, other)| same(kill, other)).map(|(wall, _)| before(*wall, *boot_ns))
    }))
}

fn by_runtime(from_boot: &[(u64, &OomKill)], known: &Background) -> Option<Timestamp> {
    least(from_boot.iter().map(|(boot_ns, kill)| {
        let id = id(kill)?;
        let (_, _, container) = known.snapshot.container(id)?;
        before(container.ends.get(id)?.finished?, *boot_ns)
    }))
}

fn by_kubelet(from_boot: &[(u64, &OomKill)], kubelet: &[Observation]) -> Option<Timestamp> {
    let noticed = |wanted: ContainerAction, late: SignedDuration| {
        let changes: Vec<_> = kubelet
            .iter()
            .filter_map(|reported| match (&reported.event, reported.at) {
                (Event::Container(change), Moment::Wall(wall)) if change.action == wanted => {
                    Some((change.container.as_ref()?.id.as_ref()?, wall))
                }
                _ => None,
            })
            .collect();
        let zero = least(from_boot.iter().flat_map(|(boot_ns, kill)| {
            changes.iter().filter(|(other, _)| id(kill) == Some(*other)).map(|(_, wall)| before(*wall, *boot_ns))
        }));
        zero.and_then(|zero| zero.checked_sub(late).ok())
    };
    let of_node = || {
        least(from_boot.iter().flat_map(|(boot_ns, kill)| {
            let pid = kill.victim.task.tgid.or(kill.victim.task.pid);
            kubelet.iter().filter_map(move |reported| match (&reported.event, reported.at) {
                (Event::SystemOom(oom), Moment::Wall(wall)) if oom.pid.is_some() && oom.pid == pid => {
                    Some(before(wall, *boot_ns))
                }
                _ => None,
            })
        }))
    };
    noticed(ContainerAction::OomNoticed, NOTICED_AFTER)
        .or_else(of_node)
        .or_else(|| noticed(ContainerAction::Died, ENDED_AFTER))
}
