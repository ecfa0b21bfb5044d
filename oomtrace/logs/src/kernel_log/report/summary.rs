//! The line that names the cgroups, and the older one.

use super::pieces;

const START: &str = "oom-kill:constraint=";

/// `oom-kill:constraint=…`: `dump_oom_summary`, `cpuset_print_current_mems_allowed`, `mem_cgroup_print_oom_context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Without `CONSTRAINT_`.
    pub(super) constraint: String,
    /// `(null)`, or the nodes allowed by a policy.
    pub(super) nodemask: Option<String>,
    /// The name of the trigger's cpuset; missing where the kernel has none.
    pub(super) cpuset: Option<String>,
    /// The nodes that it may use.
    pub(super) mems_allowed: Option<String>,
    /// `global_oom`: no cgroup's limit. `None` where the kernel has no memory cgroups.
    pub(super) global: Option<bool>,
    /// The cgroup over its limit.
    pub(super) oom_cgroup: Option<String>,
    /// The victim's.
    pub(super) task_cgroup: Option<String>,
    /// The victim's name.
    pub(super) comm: String,
    /// The victim's pid.
    pub(super) pid: u32,
    /// The victim's real user id.
    pub(super) uid: Option<u32>,
}

/// Whether it begins such a line, which is printed in up to eight parts.
pub(super) fn starts(text: &str) -> bool {
    text.starts_with(START)
}

/// Reads
/// `oom-kill:constraint=C,nodemask=N,cpuset=S,mems_allowed=M,(oom_memcg=/A|global_oom),task_memcg=/B,task=T,pid=P,uid=U`.
///
/// S, A, B and T are chosen by others, and may contain commas, `=` and all these keys. So it is read from both ends:
///
/// - From the right, P and U are numbers, and no name follows them: the last keys count.
/// - From the left, C and N have their own alphabets. S is a name without `/`, so it ends at the first `,mems_allowed=`
///   whose list is followed by a key and a path.
/// - A is B or above it: of the places that could divide them, only one has that.
/// - B and T are divided by what is known of the victim's name from its row in the table, or from the line of its kill
///   (`comm_of`). Else at the first place that leaves a name of 15 bytes or less: anybody can choose a name, but only a
///   container that may make cgroups a path.
pub(super) fn read<'k>(text: &str, comm_of: impl Fn(u32) -> Option<&'k str>) -> Option<Summary> {
    let (constraint, rest) = text.strip_prefix(START)?.split_once(',')?;
    let (rest, uid) = rest.rsplit_once(",uid=")?;
    let (rest, pid) = rest.rsplit_once(",pid=")?;
    let (pid, uid) = (pid.parse().ok()?, pieces::uid(uid)?);
    let (nodemask, rest) = match rest.strip_prefix("nodemask=") {
        Some(rest) => {
            let (nodemask, rest) = pieces::bitmap(rest);
            (Some(nodemask), rest)
        }
        None => (None, rest),
    };
    let (cpuset, mems_allowed, rest) = cpuset(rest)?;
    let (body, comm) = divide_task(rest, comm_of(pid))?;
    let (global, oom_cgroup, task_cgroup) = cgroups(body)?;
    Some(Summary {
        constraint: constraint.strip_prefix("CONSTRAINT_").unwrap_or(constraint).to_owned(),
        nodemask: nodemask.map(ToOwned::to_owned),
        cpuset: cpuset.map(ToOwned::to_owned),
        mems_allowed: mems_allowed.map(ToOwned::to_owned),
        global,
        oom_cgroup: oom_cgroup.map(ToOwned::to_owned),
        task_cgroup: task_cgroup.map(ToOwned::to_owned),
        comm: comm.to_owned(),
        pid,
        uid: Some(uid),
    })
}

/// What is left of such a line that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest<'a> {
    pub(super) constraint: &'a str,
    pub(super) nodemask: Option<String>,
    pub(super) cpuset: Option<&'a str>,
    pub(super) mems_allowed: Option<String>,
    pub(super) global: bool,
    pub(super) oom_cgroup: Option<&'a str>,
    pub(super) task_cgroup: Option<&'a str>,
    pub(super) comm: Option<&'a str>,
    pub(super) pid: Option<u32>,
}

/// Reads what a pager, a viewer or a hand left of such a line: keys may be missing (`…,...,oom_memcg=/a`), and the last value
/// may be cut. `None` where nothing of it says whose limit it was.
pub(super) fn read_rest(text: &str) -> Option<Rest<'_>> {
    let line = text.trim_end().trim_end_matches(['>', '…']);
    let constraint = line.strip_prefix(START)?.split(',').next()?.strip_prefix("CONSTRAINT_")?;
    let after = |key: &str| line.find(key).map(|at| &line[at + key.len()..]);
    // Only what another field follows is whole.
    let whole = |key: &str| after(key)?.split_once(',').map(|(value, _)| value);
    let numbers = |key: &str| {
        let (numbers, more) = pieces::bitmap(after(key)?);
        more.starts_with(',').then(|| numbers.to_owned())
    };
    let oom_cgroup = whole(",oom_memcg=").filter(|path| path.starts_with('/'));
    // Of a path that was cut, what is above the last name is known.
    let above = |path: &'_ str| path.rfind('/').unwrap_or(0);
    let task_cgroup = whole(",task_memcg=").or_else(|| after(",task_memcg=").map(|path| &path[..above(path)]));
    let task_cgroup = task_cgroup
        .filter(|task| task.starts_with('/') && oom_cgroup.is_none_or(|limit| pieces::is_within(task, limit)));
    let comm = whole(",task=").filter(|comm| pieces::is_comm(comm));
    let pid = whole(",pid=").and_then(|pid| pid.parse().ok());
    let of_node = line.contains(",global_oom") || matches!(constraint, "NONE" | "CPUSET" | "MEMORY_POLICY");
    let of_cgroup = oom_cgroup.is_some() || (constraint == "MEMCG" && (task_cgroup.is_some() || pid.is_some()));
    Some(Rest {
        constraint,
        nodemask: numbers(",nodemask="),
        cpuset: whole(",cpuset="),
        mems_allowed: numbers(",mems_allowed="),
        global: if of_cgroup { false } else { of_node.then_some(true)? },
        oom_cgroup,
        task_cgroup,
        comm,
        pid,
    })
}

/// The line as the kernel writes it, where a hand put blanks between its fields: `oom-kill: constraint=C, nodemask=N, …`.
pub(super) fn without_blanks(text: &str) -> Option<String> {
    let fields = text.strip_prefix("oom-kill:")?.trim_start();
    let is_spaced = fields.len() + "oom-kill:".len() < text.len() || fields.split_once(',')?.1.starts_with(' ');
    is_spaced.then(|| format!("oom-kill:{}", fields.replace(", ", ",")))
}

type Cpuset<'a> = (Option<&'a str>, Option<&'a str>, &'a str);

/// `,cpuset=S,mems_allowed=M`, and the rest with its comma.
fn cpuset(text: &str) -> Option<Cpuset<'_>> {
    let Some(names) = text.strip_prefix(",cpuset=") else { return Some((None, None, text)) };
    let ends = || {
        names.match_indices(",mems_allowed=").map(|(at, key)| {
            let (list, rest) = pieces::bitmap(&names[at + key.len()..]);
            (Some(&names[..at]), Some(list), rest)
        })
    };
    ends()
        .find(|(_, _, rest)| rest.starts_with(",oom_memcg=/") || rest.starts_with(",global_oom,task_memcg=/"))
        .or_else(|| ends().filter(|(_, _, rest)| rest.starts_with(",task=")).last())
}

/// `…,task=T`.
fn divide_task<'a>(text: &'a str, known: Option<&str>) -> Option<(&'a str, &'a str)> {
    let key = ",task=";
    if let Some(known) = known
        && let Some(before) = text.strip_suffix(known).and_then(|text| text.strip_suffix(key))
    {
        return Some((before, &text[before.len() + key.len()..]));
    }
    let mut places = text.match_indices(key).map(|(at, _)| (&text[..at], &text[at + key.len()..]));
    places.find(|(_, comm)| pieces::is_comm(comm))
}

type Cgroups<'a> = (Option<bool>, Option<&'a str>, Option<&'a str>);

/// `,oom_memcg=A,task_memcg=B`, `,global_oom,task_memcg=B`, or nothing.
fn cgroups(text: &str) -> Option<Cgroups<'_>> {
    if text.is_empty() {
        return Some((None, None, None));
    }
    if let Some(task) = text.strip_prefix(",global_oom,task_memcg=") {
        return Some((Some(true), None, Some(task)));
    }
    let (oom, task) = divide_paths(text.strip_prefix(",oom_memcg=")?, ",task_memcg=")?;
    Some((Some(false), Some(oom), Some(task)))
}

/// The paths on both sides of `key`: the first is the second's or above it.
fn divide_paths<'a>(text: &'a str, key: &str) -> Option<(&'a str, &'a str)> {
    let places = || text.match_indices(key).map(|(at, _)| (&text[..at], &text[at + key.len()..]));
    places().find(|(above, below)| pieces::is_within(below, above)).or_else(|| places().next())
}

/// `Task in /a/b killed as a result of limit of /a`: the victim's cgroup and the one over its limit; or `Memory limit
/// reached of cgroup /a`, where there is nobody to kill. `mem_cgroup_print_oom_info`, `mm/memcontrol.c`, up to 4.20.
///
/// The second is the first or above it: a path that is not was cut, and is left out.
pub(super) fn limit_of(text: &str) -> Option<(Option<&str>, Option<&str>)> {
    // What ends a column of a table.
    let text = text.trim_end_matches([' ', '|', '"', '`']);
    if let Some(limit) = text.strip_prefix("Memory limit reached of cgroup ") {
        return Some((None, Some(limit)));
    }
    let key = " killed as a result of limit of ";
    let paths = text.strip_prefix("Task in ")?;
    let places = || paths.match_indices(key).map(|(at, _)| (&paths[..at], &paths[at + key.len()..]));
    match places().find(|(below, above)| pieces::is_within(below, above)) {
        Some((below, above)) => above.starts_with('/').then_some((Some(below), Some(above))),
        None => places().next().filter(|(_, cut)| cut.starts_with('/')).map(|(below, _)| (Some(below), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rest: &str) -> Option<[Option<String>; 4]> {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        read_rest(rest).map(|rest| {
            [owned(rest.oom_cgroup), owned(rest.task_cgroup), owned(rest.comm), rest.pid.map(|pid| pid.to_string())]
        })
    }

    fn texts(texts: [&str; 4]) -> [Option<String>; 4] {
        texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    #[test]
    fn what_is_left_of_a_line_is_read_and_no_value_that_may_be_cut() {
        let limit = "oom-kill:constraint=CONSTRAINT_MEMCG,...,oom_memcg=/a.slice/b.service";
        assert_eq!(of(limit), None, "the path may go on");
        let process = format!("{limit},task=java,pid=7");
        assert_eq!(of(&process), Some(texts(["/a.slice/b.service", "", "java", ""])), "so may a number");
        assert_eq!(of(&format!("{process},uid=0")), Some(texts(["/a.slice/b.service", "", "java", "7"])));
        let paged = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0-1,3,global_oom,task_memcg=/user.slice/user-10>";
        assert_eq!(of(paged), Some(texts(["", "/user.slice", "", ""])));
        assert_eq!(read_rest(paged).and_then(|rest| rest.mems_allowed).as_deref(), Some("0-1,3"));
        let of_pid = "oom-kill:constraint=CONSTRAINT_NONE,global_oom,task_memcg=/a,task=java,pid=71>";
        assert_eq!(of(of_pid), Some(texts(["", "/a", "java", ""])));
        let other = "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/a/b,task_memcg=/a/bc,task=x";
        assert_eq!(of(other), Some(texts(["/a/b", "", "", ""])), "the victim is within the limit");
        assert_eq!(of("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpus"), None);
    }

    #[test]
    fn a_constraint_says_whether_it_was_the_node_where_the_key_that_does_is_left_out() {
        let global = |text: &str| read_rest(text).map(|rest| (rest.constraint.to_owned(), rest.global));
        let cpuset = "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=(null),cpuset=test,mems_allowed=0";
        assert_eq!(global(cpuset), Some(("CPUSET".to_owned(), true)));
        assert_eq!(read_rest(cpuset).and_then(|rest| rest.cpuset), Some("test"));
        let victim = "oom-kill:constraint=CONSTRAINT_MEMCG,...,task=sh,pid=514879,uid=0";
        assert_eq!(global(victim), Some(("MEMCG".to_owned(), false)), "of a cgroup that is left out");
        assert_eq!(of(victim), Some(texts(["", "", "sh", "514879"])));
        assert_eq!(global("oom-kill:constraint=CONSTRAINT_MEM"), None, "of a limit or of a policy");
    }

    #[test]
    fn a_limit_of_which_the_path_was_cut_is_not_known() {
        let limit = |limit: &str| {
            let line = format!("Task in /kubepods/pod1/c1 killed as a result of limit of {limit}");
            limit_of(&line).map(|(task, limit)| (task == Some("/kubepods/pod1/c1"), limit.map(ToOwned::to_owned)))
        };
        assert_eq!(limit("/kubepods/pod1"), Some((true, Some("/kubepods/pod1".to_owned()))));
        assert_eq!(limit("/kubepods/pod1 |"), Some((true, Some("/kubepods/pod1".to_owned()))), "in a table");
        assert_eq!(limit("/kubepo"), Some((true, None)));
        assert_eq!(limit("kubepods"), None);
    }

    #[test]
    fn blanks_between_fields_are_a_hands() {
        let spaced =
            "oom-kill: constraint=CONSTRAINT_CPUSET, mems_allowed=0, global_oom, task_memcg=/docker/a, task=b c";
        let read = "oom-kill:constraint=CONSTRAINT_CPUSET,mems_allowed=0,global_oom,task_memcg=/docker/a,task=b c";
        assert_eq!(without_blanks(spaced).as_deref(), Some(read));
        assert_eq!(without_blanks(read), None);
        assert_eq!(
            without_blanks("oom-kill:constraint=CONSTRAINT_NONE,task=a, b,pid=1,uid=0"),
            None,
            "a name may have them"
        );
    }
}
