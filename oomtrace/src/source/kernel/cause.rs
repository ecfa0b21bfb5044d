//! What made the OOM killer choose: `out_of_memory`, `mm/oom_kill.c`.

use oomtrace_common::record::{Decision, MemcgCounters};

use super::{
    machine::{known, known_i32, text},
    paths::Paths,
};
use crate::event::Cause;

/// What made the kernel decide so.
pub(super) fn of(decision: &Decision, paths: &Paths) -> Cause {
    let reported = Cause::of(known_i32(decision.order), text(&decision.message).as_deref());
    if reported != Cause::Ordinary {
        return reported;
    }
    // `memory_max_write` of cgroup v2 kills until what is in use fits. The writer is not over the limit itself.
    let outside = match (paths.path(decision.limit_cgroup_id), paths.path(decision.trigger.cgroup_id)) {
        (Some(limit), Some(trigger)) => !is_inside(trigger, limit),
        _ => false,
    };
    let is_cgroups = decision.limit_cgroup_id != 0 && known(decision.limit_cgroup_id).is_some();
    if is_cgroups && (outside && decision.trigger.tgid != decision.victim.tgid || is_far_over(&decision.counters)) {
        return Cause::LimitLowered;
    }
    Cause::Ordinary
}

/// Whether more is in use than charges add up to: more than an eighth of the limit, and than 1024 pages. A limit that is set below what
/// is in use without waiting (`O_NONBLOCK`) has the next charge kill, whose task is in the cgroup.
fn is_far_over(counters: &MemcgCounters) -> bool {
    let (Some(usage), Some(max)) = (known(counters.memory_usage_pages), known(counters.memory_max_pages)) else {
        return false;
    };
    usage > max.saturating_add((max / 8).max(1024))
}

/// Whether a cgroup is another one, or below it.
fn is_inside(path: &str, other: &str) -> bool {
    other == "/" || path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;
    use crate::source::kernel::CgroupPath;

    #[test]
    fn a_trigger_outside_of_the_cgroup_has_lowered_its_limit() {
        let mut paths = Paths::default();
        for (id, path) in [(1, "/kubepods/pod1"), (2, "/kubepods/pod1/a"), (3, "/kubepods/pod11"), (4, "/")] {
            paths.remember(CgroupPath { id, path: path.to_owned() });
        }
        for (trigger, cause) in [
            (1, Cause::Ordinary),
            (2, Cause::Ordinary),
            (3, Cause::LimitLowered),
            (4, Cause::LimitLowered),
            (9, Cause::Ordinary),
        ] {
            let mut decision = Decision { limit_cgroup_id: 1, ..Decision::zeroed() };
            decision.trigger.cgroup_id = trigger;
            decision.victim.tgid = 7;
            assert_eq!(of(&decision, &paths), cause, "trigger in cgroup {trigger}");
        }
    }

    #[test]
    fn what_is_far_over_a_limit_was_there_before_the_limit() {
        let mut decision = Decision { limit_cgroup_id: 1, ..Decision::zeroed() };
        for (usage, max, cause) in [
            (5120, 5120, Cause::Ordinary),
            (5300, 5120, Cause::Ordinary),
            (8192, 5120, Cause::LimitLowered),
            (u64::MAX, 5120, Cause::Ordinary),
            (900, 0, Cause::Ordinary),
        ] {
            (decision.counters.memory_usage_pages, decision.counters.memory_max_pages) = (usage, max);
            assert_eq!(of(&decision, &Paths::default()), cause, "{usage} of {max}");
        }
    }

    #[test]
    fn the_order_and_the_message_tell_a_person_and_a_sysctl() {
        let mut decision = Decision { order: -1, ..Decision::zeroed() };
        assert_eq!(of(&decision, &Paths::default()), Cause::Sysrq);
        let message = b"Out of memory (oom_kill_allocating_task)";
        decision.order = 0;
        decision.message[..message.len()].copy_from_slice(message);
        assert_eq!(of(&decision, &Paths::default()), Cause::AllocatingTask);
    }
}
