//! What the kernel's log has from before: all that it still holds, read at once by syslog(2).
//!
//! Unlike `/dev/kmsg` that needs no device, which a container as a rule does not have; `CAP_SYSLOG` is enough.

use std::io;

use super::{Events, swap_total_bytes};
use crate::{
    event::{Event, Moment, Observation},
    node::hierarchy::Hierarchy,
    source::kernel_log::{Clock, Machine},
};

/// `SYSLOG_ACTION_READ_ALL`, `SYSLOG_ACTION_SIZE_BUFFER`, `include/linux/syslog.h`.
const READ_ALL: libc::c_int = 3;
const SIZE_BUFFER: libc::c_int = 10;

/// What the kernel's log still holds.
#[derive(Debug, Default)]
pub struct Before {
    /// The kernel's stamp of its oldest line, in nanoseconds; `None` where it has none with a stamp.
    pub oldest_ns: Option<u64>,
    /// Kills, in order.
    pub kills: Vec<Observation>,
}

/// Reads the kernel's log as it stands.
///
/// # Errors
///
/// Fails where it may not be read.
pub fn before(hierarchy: Option<&Hierarchy>) -> io::Result<Before> {
    let machine = Machine { page_size: Some(rustix::param::page_size() as u64), swap_total_bytes: swap_total_bytes() };
    Ok(kills(&whole_log()?, machine, hierarchy))
}

fn whole_log() -> io::Result<Vec<u8>> {
    // SAFETY: this action takes no buffer.
    let size = unsafe { libc::klogctl(SIZE_BUFFER, std::ptr::null_mut(), 0) };
    let mut log = vec![0; usize::try_from(size).map_err(|_| io::Error::last_os_error())?];
    // SAFETY: the buffer is as long as is said.
    let len = unsafe { libc::klogctl(READ_ALL, log.as_mut_ptr().cast(), size) };
    log.truncate(usize::try_from(len).map_err(|_| io::Error::last_os_error())?);
    Ok(log)
}

fn kills(log: &[u8], machine: Machine, hierarchy: Option<&Hierarchy>) -> Before {
    let mut events = Events::new(Clock::default(), machine);
    let lines = log.split(|byte| *byte == b'\n').filter(|line| is_kernels(line));
    let mut reported: Vec<Observation> = lines.flat_map(|line| events.push_line(line)).collect();
    reported.extend(events.flush());
    reported.retain(|reported| matches!((&reported.event, reported.at), (Event::OomKill(_), Moment::Boot(_))));
    if let Some(hierarchy) = hierarchy {
        for reported in &mut reported {
            super::process::fill_ids(&mut reported.event, hierarchy);
        }
    }
    Before { oldest_ns: log.split(|byte| *byte == b'\n').find_map(stamp_ns), kills: reported }
}

/// Of facility 0, which no process can write with: `<6>` is level 6 of it, `<14>` of the next.
fn is_kernels(line: &[u8]) -> bool {
    matches!(line, [b'<', b'0'..=b'7', b'>', ..])
}

/// Of `<6>[   12.345678] …`.
fn stamp_ns(line: &[u8]) -> Option<u64> {
    let line = str::from_utf8(line).ok()?;
    let (seconds, micros) = line.split_once('[')?.1.split_once(']')?.0.trim().split_once('.')?;
    let (seconds, micros): (u64, u64) = (seconds.parse().ok()?, micros.parse().ok()?);
    seconds.checked_mul(1_000_000)?.checked_add(micros)?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_have_the_time_since_boot_and_the_oldest_line_says_how_far_back_the_log_goes() {
        let log = b"<6>[   12.500000] a line\n\
                    <4>[  100.000000] memhog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=984\n\
                    <6>[  100.000100] memory: usage 65536kB, limit 65536kB, failcnt 10\n\
                    <6>[  100.000200] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=memhog,pid=42,uid=0\n\
                    <3>[  100.000300] Memory cgroup out of memory: Killed process 42 (memhog) total-vm:70000kB, anon-rss:60000kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:200kB oom_score_adj:984\n";
        let forged = String::from_utf8_lossy(log).replace("<4>", "<12>").replace("<6>", "<14>").replace("<3>", "<11>");
        assert!(kills(forged.as_bytes(), Machine::default(), None).kills.is_empty());
        let before = kills(log, Machine::default(), None);
        assert_eq!(before.oldest_ns, Some(12_500_000_000));
        let at: Vec<_> = before.kills.iter().map(|kill| kill.at).collect();
        assert!(matches!(at[..], [Moment::Boot(100_000_000_000..=100_000_300_000)]), "{at:?}");
    }
}
