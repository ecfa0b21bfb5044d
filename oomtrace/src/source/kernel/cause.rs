//! What made the OOM killer choose: `out_of_memory`, `mm/oom_kill.c`.

use oomtrace_common::record::Decision;

use super::{
    machine::{known_i32, text},
    paths::Paths,
};
use crate::event::Cause;

/// What made the kernel come to this decision.
pub(super) fn of(decision: &Decision, paths: &Paths) -> Cause {
    let told = Cause::of(known_i32(decision.order), text(&decision.message).as_deref());
    if told != Cause::Ordinary {
        return told;
    }
    // `memory_max_write` of cgroup v2 kills until what is in use fits. Whoever writes is not over the limit himself.
    let outside = match (paths.path(decision.limit_cgroup_id), paths.path(decision.trigger.cgroup_id)) {
        (Some(limit), Some(trigger)) => !is_inside(trigger, limit),
        _ => false,
    };
    if outside && decision.limit_cgroup_id != 0 && decision.trigger.tgid != decision.victim.tgid {
        return Cause::LimitLowered;
    }
    Cause::Ordinary
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
    fn the_order_and_the_message_tell_a_person_and_a_sysctl() {
        let mut decision = Decision { order: -1, ..Decision::zeroed() };
        assert_eq!(of(&decision, &Paths::default()), Cause::Sysrq);
        let message = b"Out of memory (oom_kill_allocating_task)";
        decision.order = 0;
        decision.message[..message.len()].copy_from_slice(message);
        assert_eq!(of(&decision, &Paths::default()), Cause::AllocatingTask);
    }
}
