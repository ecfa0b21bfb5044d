//! The lines that open a report: whose allocation failed.

use super::pieces;

/// The task whose allocation could not be met. Often not the victim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub comm: String,
    /// Its thread id, from the line of `dump_stack` that follows (`dump_stack_print_info`, `lib/dump_stack.c`).
    pub pid: Option<u32>,
    /// The real user id, from the same. In 6.12, not in 5.10.
    pub uid: Option<u32>,
    /// The allocation's flags, as that kernel's bits.
    pub gfp_mask: u32,
    /// The same by name. From 4.6.
    pub gfp: Option<String>,
    /// 2^order pages were asked for; -1 for a kill that a person asked for (SysRq-f).
    pub order: i32,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// The NUMA nodes allowed by a policy; up to 4.20 in this line.
    pub nodemask: Option<String>,
}

/// `tail invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`. The name may contain these words: the
/// last ones are the kernel's, as nothing of a process's follows.
pub(super) fn invoked(text: &str) -> Option<Trigger> {
    let (comm, rest) = text.rsplit_once(" invoked oom-killer: gfp_mask=0x")?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    let gfp_mask = u32::from_str_radix(&rest[..end], 16).ok()?;
    let rest = &rest[end..];
    let gfp = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(names, _)| names.to_owned());
    let nodemask = rest.split_once(", nodemask=").map(|(_, rest)| pieces::bitmap(rest).0.to_owned());
    let after = |key| Some(rest.split_once(key)?.1.split(',').next()?.trim_end());
    let order = after(", order=").or_else(|| after(" order="))?.parse().ok()?;
    let oom_score_adj = after("oom_score_adj=").and_then(|value| value.parse().ok());
    let comm = pieces::is_comm(comm).then(|| comm.to_owned())?;
    Some(Trigger { comm, pid: None, uid: None, gfp_mask, gfp, order, oom_score_adj, nodemask })
}

/// `CPU: 0 UID: 0 PID: 125 Comm: tail Not tainted …`: pid and uid, where it is of `comm`: another processor may be
/// printing a stack of its own.
pub(super) fn stack_of(text: &str, comm: &str) -> Option<(u32, Option<u32>)> {
    let (_, rest) = pieces::number::<u32>(text.strip_prefix("CPU: ")?)?;
    let (uid, rest) = match rest.strip_prefix(" UID: ") {
        Some(rest) => pieces::number(rest).map(|(uid, rest)| (Some(uid), rest))?,
        None => (None, rest),
    };
    let (pid, rest) = pieces::number(rest.strip_prefix(" PID: ")?)?;
    let after = rest.strip_prefix(" Comm: ")?.strip_prefix(comm)?;
    (after.is_empty() || after.starts_with(' ')).then_some((pid, uid))
}

/// `tail cpuset=<name> mems_allowed=0`: `cpuset_print_current_mems_allowed`, `kernel/cgroup/cpuset.c`, up to 4.20.
pub(super) fn cpuset_of<'a>(text: &'a str, comm: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(comm)?.strip_prefix(" cpuset=")?.rsplit_once(" mems_allowed=")
}
