//! Names that processes and containers chose.

use super::{decisions, items, message, of_text};
use crate::kernel_log::{Line, LineReader, report::Decision};

/// 15 bytes or less, as the kernel keeps them.
const NAMES: [&str; 16] = [
    "npm start",
    "(sd-pam)",
    "runc:[2:INIT]",
    "a) total-vm:1kB",
    "), anon-rss:1kB",
    ") score 1 or",
    "x,pid=1,uid=2",
    "a,task=b",
    ",task=",
    ",task_memcg=/a",
    "Killed process",
    " (7) total-vm:",
    "a\nb",
    "\n\n\n",
    "  12 34 ",
    "é\u{fffd}\"'\\",
];

fn report(name: &str, oom: &str, task: &str) -> Vec<String> {
    vec![
        format!("{name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=-5"),
        format!("CPU: 0 UID: 5 PID: 4242 Comm: {name} Not tainted 6.12.0 #1"),
        "Tasks state (memory values in pages):".to_owned(),
        "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name".to_owned(),
        format!("[   4242]     5  4242       99       88    4096        0            -5 {name}"),
        format!(
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=0-1,3,cpuset=/,mems_allowed=0-1,3,oom_memcg={oom},task_memcg={task},task={name},pid=4242,uid=5"
        ),
        format!(
            "Memory cgroup out of memory: Killed process 4242 ({name}) total-vm:396kB, anon-rss:352kB, file-rss:0kB, shmem-rss:0kB, UID:5 pgtables:4kB oom_score_adj:-5"
        ),
        "Tasks in /a are going to be killed due to memory.oom.group set".to_owned(),
        format!("Memory cgroup out of memory: OOM victim 4243 ({name}) is already exiting. Skip killing the task"),
    ]
}

fn check(decision: &Decision, name: &str, oom: &str, task: &str) {
    let victim = decision.victim.as_ref().expect("a victim");
    assert_eq!(
        (victim.pid, victim.comm.as_str(), victim.rss_anon_bytes, victim.uid),
        (4242, name, Some(352 << 10), Some(5))
    );
    assert_eq!(decision.exiting[0].comm, name);
    let report = decision.report.as_deref().expect("a report");
    let trigger = report.trigger.as_ref().expect("a trigger");
    assert_eq!((trigger.comm.as_str(), trigger.pid, trigger.oom_score_adj), (name, Some(4242), Some(-5)));
    assert_eq!((report.candidates[0].comm.as_str(), report.candidates[0].rss_pages), (name, 88));
    assert_eq!((report.oom_cgroup.as_deref(), report.victim_cgroup.as_deref()), (Some(oom), Some(task)));
    let chosen = report.chosen.as_ref().expect("who was chosen");
    assert_eq!((chosen.pid, chosen.comm.as_str(), report.chosen_uid), (4242, name, Some(5)));
    assert_eq!((report.nodemask.as_deref(), report.mems_allowed.as_deref()), (Some("0-1,3"), Some("0-1,3")));
}

#[test]
fn a_process_may_call_itself_anything() {
    for name in NAMES {
        let lines = report(name, "/kubepods/pod1", "/kubepods/pod1/ctr");
        let items = items(lines.iter().zip(1..).map(|(line, at)| message(at, None, line)));
        assert_eq!(items.len(), 1, "{name:?}");
        check(decisions(&items)[0], name, "/kubepods/pod1", "/kubepods/pod1/ctr");
    }
}

#[test]
fn a_container_may_call_its_cgroups_anything() {
    for path in [
        "/a,task_memcg=/a",
        "/x,task=y",
        "/x,task=y,pid=1,uid=2",
        "/ killed as a result of limit of /b",
        "/a, b: cache:/oom_memcg=/c",
        "/oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)",
    ] {
        for name in NAMES {
            let below = format!("{path}/ctr,task_memcg=");
            let lines = report(name, path, &below);
            let items = items(lines.iter().zip(1..).map(|(line, at)| message(at, None, line)));
            check(decisions(&items)[0], name, path, &below);
        }
        let items = of_text(&format!(
            "Task in {path}/b killed as a result of limit of {path}\nMemory cgroup stats for {path}: cache:4KB rss:0KB"
        ));
        let report = decisions(&items)[0].report.as_deref().expect("a report");
        assert_eq!(report.oom_cgroup.as_deref(), Some(path));
        assert_eq!(report.stats[0].cgroup, path);
    }
}

#[test]
fn without_a_table_the_line_of_the_kill_tells_the_name() {
    // `vm.oom_dump_tasks` is 0, and the cgroup's name looks like the start of a task's.
    let mut lines = report("b,task=c", "/x,task=y", "/x,task=y");
    lines.drain(2..5);
    let items = items(lines.iter().zip(1..).map(|(line, at)| message(at, None, line)));
    let report = decisions(&items)[0].report.as_deref().expect("a report");
    assert_eq!(report.victim_cgroup.as_deref(), Some("/x,task=y"));
    assert_eq!(report.chosen.as_ref().map(|chosen| chosen.comm.as_str()), Some("b,task=c"));
}

#[test]
fn where_nothing_else_tells_the_name_the_path_is_taken_as_the_shorter() {
    // Any process can choose a name; a name of a cgroup that looks like this one takes the right to make cgroups.
    for name in ["a,task=b", ",task=,task="] {
        let items = of_text(&report(name, "/x", "/x/y")[5]);
        let report = decisions(&items)[0].report.as_deref().expect("a report");
        assert_eq!(
            (report.victim_cgroup.as_deref(), report.chosen.as_ref().map(|chosen| &*chosen.comm)),
            (Some("/x/y"), Some(name))
        );
    }
}

#[test]
fn a_row_with_a_name_that_is_none_is_no_row() {
    let lines = report("a", "/x", "/x");
    let row = lines[4].replace(" a", " sixteen bytes...");
    assert!(
        decisions(&of_text(&[&lines[3], &row[..]].join("\n")))[0]
            .report
            .as_ref()
            .is_some_and(|report| report.candidates_total == 0)
    );
}

#[test]
fn a_cpuset_may_be_called_like_the_keys_after_it() {
    for cpuset in
        ["a,mems_allowed=0", "a,mems_allowed=0,oom_memcg=", "a,mems_allowed=,global_oom,task_memcg=", ",cpuset="]
    {
        let items = of_text(&format!(
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset={cpuset},mems_allowed=0,global_oom,task_memcg=/a,task=b,pid=1,uid=-2"
        ));
        let report = decisions(&items)[0].report.as_deref().expect("a report");
        assert_eq!(report.cpuset.as_deref(), Some(cpuset));
        assert_eq!(
            (report.global, report.oom_cgroup.as_deref(), report.victim_cgroup.as_deref()),
            (Some(true), None, Some("/a"))
        );
        assert_eq!(report.chosen_uid, Some(u32::MAX - 1));
    }
}

#[test]
fn a_line_end_in_a_name_breaks_the_record_in_forms_without_escapes() {
    let kill = "Memory cgroup out of memory: Killed process 9 (a\nb\n) total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB";
    let dmesg = kill.lines().map(|line| format!("[    1.000000] {line}\n")).collect::<Vec<_>>().concat();
    let journal = format!("Nov 23 23:20:37 h kernel: {}", kill.replace('\n', "\n                          "));
    let kmsg = format!("3,1,1,-;{}", kill.replace('\n', "\\x0a"));
    for log in [dmesg, journal, kmsg] {
        let mut reader = LineReader::new();
        let messages = log.lines().filter_map(|line| match reader.read(line.as_bytes()) {
            Line::Kernel(message) => Some(message),
            Line::Killer(_) | Line::Skipped(_) => None,
        });
        let items = items(messages.collect::<Vec<_>>());
        let victim = decisions(&items)[0].victim.as_ref().expect("a victim");
        assert_eq!((victim.pid, victim.comm.as_str()), (9, "a\nb\n"), "{log}");
    }
}

#[test]
fn no_name_can_pretend_to_be_a_kill() {
    // What a process can get into the log at most: its name of 15 bytes in a line of another.
    for name in ["Killed process ", ": Killed process", "process 1 (x) t", "\nKilled process"] {
        let text = format!(
            "{name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\nsegfault in {name}[7]: error 4"
        );
        assert!(decisions(&of_text(&text)).iter().all(|decision| decision.victim.is_none()), "{name}");
    }
    // A name of more than 15 bytes is none.
    let long = "Killed process 1 (sixteen bytes...) total-vm:1kB, anon-rss:1kB";
    assert!(decisions(&of_text(long)).is_empty());
}
