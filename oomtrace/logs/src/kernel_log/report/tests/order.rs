//! Lines of several decisions, of others, and those that are missing.

use super::{Message, Outcome, When, decisions, items, killed, limits, message, of_text};
use crate::kernel_log::{Assembler, Item};

fn kill(pid: u32) -> String {
    format!(
        "Memory cgroup out of memory: Killed process {pid} (p{pid}) total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0\n"
    )
}

fn group(cgroup: &str) -> String {
    format!("Tasks in {cgroup} are going to be killed due to memory.oom.group set\n")
}

/// A report of the limit of `cgroup` that chose `pid`, without the kill.
fn report(cgroup: &str, pid: u32, others: &[u32]) -> String {
    let rows = others
        .iter()
        .chain(&[pid])
        .map(|pid| format!("[{pid:>7}]     0 {pid:>5}        1        1     4096        0             0 p{pid}\n"))
        .collect::<Vec<_>>()
        .concat();
    format!(
        "t{pid} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n\
         CPU: 0 UID: 0 PID: {pid} Comm: t{pid} Not tainted\n\
         memory: usage 8kB, limit 8kB, failcnt 1\n\
         Memory cgroup stats for {cgroup}:\nanon 4096\n\
         Tasks state (memory values in pages):\n\
         [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n\
         {rows}\
         oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={cgroup},task_memcg={cgroup},task=p{pid},pid={pid},uid=0\n"
    )
}

#[test]
fn a_kill_without_a_report_has_no_limit() {
    let log = format!(
        "{}{}{}{}oom_kill_process: 2 callbacks suppressed\n{}{}",
        report("/a", 1, &[]),
        kill(1),
        kill(2),
        kill(3),
        report("/b", 4, &[]),
        kill(4)
    );
    let items = of_text(&log);
    let reported = [(vec![1], Some("/a")), (vec![2], None), (vec![3], None), (vec![4], Some("/b"))];
    assert_eq!(limits(&items), reported);
    assert!(items.iter().any(|item| matches!(item, Item::Suppressed { reports: 2, .. })));
}

#[test]
fn groups_without_reports_are_reported_apart_by_their_own_line() {
    // As on a node of Kubernetes 1.28 or later in a burst: every container is a group.
    let log = [
        report("/a", 1, &[2]),
        kill(1),
        group("/a/c"),
        kill(1),
        kill(2),
        kill(3),
        group("/b/c"),
        kill(3),
        kill(4),
        kill(5),
        group("/b/c"),
        kill(5),
    ]
    .concat();
    let items = of_text(&log);
    let reported: Vec<_> = decisions(&items)
        .iter()
        .map(|decision| (killed(decision), decision.group.clone(), decision.report.is_some()))
        .collect();
    let group = |path: &str| Some(path.to_owned());
    assert_eq!(
        reported,
        [(vec![1, 2], group("/a/c"), true), (vec![3, 4], group("/b/c"), false), (vec![5], group("/b/c"), false)]
    );
}

#[test]
fn a_kill_much_later_or_for_another_reason_is_no_member() {
    let text = format!("{}{}{}", kill(1), group("/a"), kill(2));
    let global = "Out of memory: Killed process 3 (p3) total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB";
    let late = kill(4);
    let lines =
        text.lines().chain([global]).map(|line| message(5, None, line)).chain([message(20_000, None, late.trim_end())]);
    assert_eq!(limits(&items(lines)), [(vec![1, 2], None), (vec![3], None), (vec![4], None)]);
}

#[test]
fn callers_tell_decisions_and_lines_of_others_apart() {
    let report = report("/a", 1, &[]);
    let (first, second) = (kill(1), kill(2));
    let foreign = [
        "memory: usage 4kB, limit 4kB, failcnt 1",
        "anon 77",
        "[      9]     0     9        1        1     4096        0             0 p9",
    ];
    let mut lines = Vec::new();
    for line in report.lines() {
        lines.push(message(5, Some(10), line));
        lines.extend(foreign[1..].iter().map(|line| message(5, Some(11), line)));
    }
    lines.push(message(5, Some(11), second.trim_end()));
    lines.push(message(5, Some(10), first.trim_end()));
    let items = items(lines);
    // One thread holds `oom_lock` until its kill: this cannot be, and yet no kill gets the other's limit, nor is reported twice.
    assert_eq!(limits(&items), [(vec![1], Some("/a")), (vec![2], None)]);
    let report = decisions(&items)[0].report.as_deref().expect("a report");
    assert_eq!((report.stats[0].values.len(), report.candidates_total), (1, 1));
    assert_eq!(report.trigger.as_ref().and_then(|trigger| trigger.pid), Some(10));
}

#[test]
fn a_kill_by_another_thread_is_of_another_decision() {
    let text = [kill(1), group("/a"), kill(2), kill(3)].concat();
    let callers = [Some(10), Some(10), Some(10), Some(11)];
    let lines = text.lines().zip(callers).map(|(line, caller)| message(5, caller, line));
    assert_eq!(limits(&items(lines)), [(vec![1, 2], None), (vec![3], None)]);
}

#[test]
fn the_victim_of_a_group_is_reported_twice_also_when_it_has_let_go_of_memory() {
    let less = kill(1).replace("anon-rss:4kB", "anon-rss:0kB");
    let items = of_text(&[kill(1), group("/a"), kill(2), less].concat());
    assert_eq!(limits(&items), [(vec![1, 2], None)]);
    assert_eq!(decisions(&items)[0].victim.as_ref().and_then(|victim| victim.rss_anon_bytes), Some(4096));
}

#[test]
fn an_allocation_that_fails_meanwhile_on_another_processor_changes_no_number() {
    let node = |free| {
        format!(
            "Mem-Info:\nactive_anon:1 inactive_anon:2\n free:{free} free_pcp:0\nNode 0 DMA free:{free}kB min:1kB\n{free} pages RAM\n"
        )
    };
    let start = "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n";
    let items = of_text(&[start, &node(7), &node(8)].concat());
    let node = decisions(&items)[0].report.as_deref().and_then(|report| report.node.as_deref()).expect("the node");
    assert_eq!((node.free_pages, node.ram_pages, node.zones.len()), (Some(7), Some(7), 1));
}

#[test]
fn a_kill_after_a_report_of_which_too_much_is_missing_has_no_limit() {
    let start: String = report("/a", 1, &[]).split_inclusive('\n').take(5).collect();
    let lines = start.lines().map(|line| message(1, None, line));
    let kill = kill(1);
    let late = items(lines.chain([message(3000, None, kill.trim_end())]));
    assert_eq!(limits(&late), [(vec![], Some("/a")), (vec![1], None)]);
    let of_node = kill.replace("Memory cgroup out", "Out");
    assert_eq!(limits(&of_text(&[start, of_node].concat())), [(vec![], Some("/a")), (vec![1], None)]);
}

#[test]
fn a_report_without_table_and_choice_is_of_the_kill_that_follows_at_once() {
    // Red Hat's 4.18 with vm.oom_dump_tasks=0.
    let items = of_text(
        "java invoked oom-killer: gfp_mask=0x6000c0(GFP_KERNEL), nodemask=(null), order=0, oom_score_adj=969\n\
         Task in /a/b killed as a result of limit of /a/b\n\
         memory: usage 32461120kB, limit 33554432kB, failcnt 0\n\
         Memory cgroup out of memory: Killed process 7093 (java) total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0",
    );
    assert_eq!(limits(&items), [(vec![7093], Some("/a/b"))]);
}

#[test]
fn lines_of_others_in_between_change_nothing() {
    let truth = limits(&of_text(&[report("/a", 1, &[2]), kill(1), group("/a"), kill(2)].concat())).len();
    assert_eq!(truth, 1);
    let others = "eth0: Link is Up\nCPU: 3 UID: 0 PID: 99 Comm: other Not tainted\nWARNING: at mm/x.c\n[ 12] what\nanon: x\nTask state\n";
    let noisy = [report("/a", 1, &[2]), kill(1), group("/a"), kill(2)]
        .concat()
        .lines()
        .map(|line| format!("{line}\n{others}"))
        .collect::<Vec<_>>()
        .concat();
    let items = of_text(&noisy);
    assert_eq!(limits(&items), [(vec![1, 2], Some("/a"))]);
    let report = decisions(&items)[0].report.as_deref().expect("a report");
    assert_eq!((report.candidates_total, report.trigger.as_ref().and_then(|trigger| trigger.pid)), (2, Some(1)));
}

#[test]
fn blanks_behind_every_line_change_nothing() {
    let log = [report("/a", 1, &[2]), kill(1), group("/a"), kill(2)].concat();
    let padded = log.replace('\n', "               \n");
    let items = of_text(&padded);
    assert_eq!(limits(&items), [(vec![1, 2], Some("/a"))]);
    assert_eq!(decisions(&items)[0].report.as_deref().map(|report| report.candidates_total), Some(2));
}

#[test]
fn a_choice_that_a_pager_cut_still_tells_the_limit() {
    let (above, _) =
        report("/a/b", 1, &[2]).split_once(",task=").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a choice");
    let log = format!("{}>\n{}", above.replace("Memory cgroup stats for /a/b:", "Memory cgroup st>"), kill(1));
    let items = of_text(&log);
    assert_eq!(limits(&items), [(vec![1], Some("/a/b"))]);
    let report = decisions(&items)[0].report.as_deref().expect("a report");
    assert_eq!(
        (report.constraint.as_deref(), report.global, &report.victim_cgroup),
        (Some("MEMCG"), Some(false), &None)
    );
}

#[test]
fn a_group_without_the_line_of_its_victim_is_one_kill_of_it_with_its_report() {
    let log = [report("/a", 1, &[2]), group("/a"), kill(2), kill(1)].concat();
    let items = of_text(&log);
    assert_eq!(limits(&items), [(vec![1, 2], Some("/a"))]);
    // Nothing tells the victim: it is one of those that were killed.
    let none = of_text(&[group("/a"), kill(2), kill(1)].concat());
    assert_eq!(decisions(&none)[0].members.len(), 1);
}

#[test]
fn a_victim_reported_again_among_others_is_of_a_group_without_its_line() {
    let log = [report("/a", 1, &[2, 3]), kill(1), kill(2), kill(1), kill(3)].concat();
    assert_eq!(limits(&of_text(&log)), [(vec![1, 2, 3], Some("/a"))]);
    // The same lines in two files, one behind the other.
    let twice = [kill(1), kill(2), kill(1), kill(2)].concat();
    let lines = twice.lines().zip([1, 2, 1, 2]).map(|(line, at)| message(at, None, line));
    assert!(limits(&items(lines)).iter().all(|(killed, _)| killed.len() == 1));
    // The last of the others is the victim of a group of its own.
    let own = [kill(1), kill(2), kill(3), group("/b"), kill(3), kill(4)].concat();
    assert_eq!(limits(&of_text(&own)), [(vec![1], None), (vec![2], None), (vec![3, 4], None)]);
}

#[test]
fn a_kill_seconds_later_of_none_of_the_groups_processes_is_no_member() {
    let text = [report("/a", 1, &[2]), kill(1), group("/a"), kill(2)].concat();
    let foreign = kill(9);
    let lines = text.lines().map(|line| message(1, None, line)).chain([message(3500, None, foreign.trim_end())]);
    assert_eq!(limits(&items(lines)), [(vec![1, 2], Some("/a")), (vec![9], None)]);
}

#[test]
fn a_line_printed_in_parts_is_put_together_around_the_lines_of_others() {
    // Each `pr_cont` a record of its own: 4.19, or when another processor prints in between.
    let summary = [
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)",
        ",cpuset=",
        "ctr",
        ",mems_allowed=0",
        ",oom_memcg=",
        "/a",
        ",task_memcg=",
        "/a/b",
        ",task=p1,pid=1,uid=0",
    ];
    let old = ["Task in ", "/a/b", " killed as a result of limit of ", "/a"];
    let group = ["Tasks in ", "/a/b", " are going to be killed due to memory.oom.group set"];
    let start = report("/a", 1, &[]).lines().take(2).collect::<Vec<_>>().join("\n");
    let elected = "Memory cgroup out of memory: Kill process 1 (p1) score 1 or sacrifice child";
    let kill = kill(1);
    for between in ["", "eth0: Link is Up"] {
        for parts in [&summary[..], &old] {
            let lines: Vec<&str> = start
                .lines()
                .chain(parts.iter().copied())
                .chain([elected, kill.trim_end()])
                .chain(group)
                .flat_map(|line| [line, between])
                .collect();
            let items =
                items(lines.iter().filter(|line| !line.is_empty()).zip(1..).map(|(line, at)| message(at, None, line)));
            assert_eq!(limits(&items), [(vec![1], Some("/a"))], "{parts:?}");
            let decision = decisions(&items)[0];
            assert_eq!(decision.report.as_deref().and_then(|report| report.victim_cgroup.as_deref()), Some("/a/b"));
            assert_eq!(decision.group.as_deref(), Some("/a/b"));
        }
    }
}

#[test]
fn a_report_cut_at_its_start_says_so_and_keeps_what_is_left() {
    let log = [report("/a", 1, &[2]), kill(1)].concat();
    let lines: Vec<&str> = log.lines().collect();
    for cut in 1..lines.len() {
        let items = of_text(&lines[cut..].join("\n"));
        let [decision] = decisions(&items)[..] else { unreachable!("one decision without the first {cut} lines") };
        assert_eq!(killed(decision), [1], "{cut}");
        let last = cut == lines.len() - 1;
        assert_eq!(decision.report.is_none(), last, "{cut}");
        assert!(
            decision
                .report
                .as_deref()
                .is_none_or(|report| report.start_missing && report.oom_cgroup.as_deref() == Some("/a"))
        );
    }
}

#[test]
fn a_report_whose_kill_is_missing_does_not_take_the_next_one() {
    let items = of_text(&[report("/a", 1, &[2]), kill(7)].concat());
    assert_eq!(limits(&items), [(vec![1], Some("/a")), (vec![7], None)]);
    let items = of_text(&[report("/a", 1, &[]), report("/b", 2, &[]), kill(2)].concat());
    assert_eq!(limits(&items), [(vec![1], Some("/a")), (vec![2], Some("/b"))]);
    // Nor one of the same name: the next replica of the same pod.
    let replica = kill(7).replace("(p7)", "(p1)");
    assert_eq!(limits(&of_text(&[report("/a", 1, &[]), replica].concat())), [(vec![1], Some("/a")), (vec![7], None)]);
    // Nor one much later, although it has the same pid.
    let (report, kill) = (report("/a", 1, &[]), kill(1));
    let lines = report.lines().map(|line| message(1, None, line)).chain([message(90_000, None, kill.trim_end())]);
    assert_eq!(limits(&items_of(lines)), [(vec![1], Some("/a")), (vec![1], None)]);
}

#[test]
fn a_kill_without_its_own_line_is_reported_once_by_the_lines_around_it() {
    let choice = report("/a", 1, &[2]).lines().last().expect("a choice").to_owned();
    let elected = "Memory cgroup out of memory: Kill process 1 (p1) score 900 or sacrifice child\n";
    let reaper = "oom_reaper: reaped process 1 (p1), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB\n";
    let old: String = report("/a", 1, &[2]).replace(&choice, "");
    for (log, limit) in [
        (format!("{choice}\n"), Some("/a")),
        (elected.to_owned(), None),
        (format!("{old}{reaper}"), Some("/a")),
        (format!("{}{}\n", report("/a", 1, &[2]), &kill(1)[..46]), Some("/a")),
        (format!("{}{}\n", report("/a", 1, &[2]), &kill(1)[..48]), Some("/a")),
    ] {
        assert_eq!(limits(&of_text(&log)), [(vec![1], limit)], "{log}");
        // Its own line comes out of order.
        let late = [log.clone(), report("/b", 9, &[]), kill(9), kill(1)].concat();
        assert_eq!(limits(&of_text(&late)), [(vec![1], limit), (vec![9], Some("/b"))], "{late}");
    }
    // The reaper of an earlier kill, whose process is still in the table.
    let earlier = of_text(&[kill(1), old, reaper.to_owned()].concat());
    assert_eq!(limits(&earlier), [(vec![1], None), (vec![], Some("/a"))]);
    assert_eq!(decisions(&earlier)[1].outcome, Outcome::Unknown);
    // A child was killed instead.
    let child = kill(2).replace("Memory cgroup out of memory: ", "");
    assert_eq!(limits(&of_text(&[elected, &child].concat())), [(vec![2], None)]);
}

#[test]
fn another_process_of_the_same_pid_and_name_is_killed_too() {
    // Of the first the kill's line is missing; without any times.
    let timeless = |text: &str| {
        let lines = text.lines().map(|text| Message { when: When::default(), ..message(0, None, text) });
        items(lines.collect::<Vec<_>>())
    };
    let (one, other) = (report("/a", 1, &[]), report("/b", 1, &[]));
    let both = [(vec![1], Some("/a")), (vec![9], None), (vec![1], Some("/b"))];
    assert_eq!(limits(&timeless(&[&*one, &kill(9), &other, &kill(1)].concat())), both);
    // Or of both.
    assert_eq!(limits(&timeless(&[&*one, &kill(9), &other].concat())), both);
    // Long after, it is not the line that was missing.
    let others: String = (100..120).map(|pid| report("/c", pid, &[]) + &kill(pid)).collect();
    let late = limits(&timeless(&[&*one, &others, &kill(1)].concat())).last().cloned().map(|(killed, _)| killed);
    assert_eq!(late, Some(vec![1]));
}

#[test]
fn strangers_do_not_join_a_group_whose_line_is_missing() {
    let text = [kill(7), kill(8), kill(7), kill(9), kill(10)].concat();
    let lines = text.lines().zip([100_000, 100_100, 100_200, 105_000, 112_000]);
    let items = items(lines.map(|(line, at)| message(at, None, line)).collect::<Vec<_>>());
    assert_eq!(limits(&items), [(vec![7, 8], None), (vec![9], None), (vec![10], None)]);
}

fn items_of<'a>(lines: impl Iterator<Item = crate::kernel_log::Message<'a>>) -> Vec<Item> {
    items(lines)
}

#[test]
fn another_thread_of_the_chosen_process_may_be_named() {
    // `find_lock_task_mm`: the first thread has gone.
    let table = report("/a", 1, &[]).replace("[      1]", "[     77]");
    let items = of_text(&[table, kill(77)].concat());
    assert_eq!(limits(&items), [(vec![77], Some("/a"))]);
}

#[test]
fn a_kill_whose_line_is_cut_is_reported_as_such() {
    let whole = kill(1);
    let items = of_text(&format!("{}\neth0: up\n", &whole[..49]));
    assert!(matches!(&items[..], [Item::Torn { text, .. }] if whole.starts_with(text)), "{items:?}");
    // It does not swallow the next.
    let items = of_text(&format!("Memory cgroup out of memory: Killed process 1 (a\n{}", kill(2)));
    assert!(
        matches!(&items[..], [Item::Torn { .. }, Item::Decision(decision)] if killed(decision) == [2]),
        "{items:?}"
    );
}

#[test]
fn what_is_open_is_reported_on_request_and_whether_it_is_settled() {
    let mut assembler = Assembler::new();
    assert!(assembler.settled());
    let report = report("/a", 1, &[]);
    for line in report.lines() {
        assert!(assembler.push(&message(1, None, line)).is_empty());
        assert!(!assembler.settled());
    }
    assert!(assembler.push(&message(1, None, kill(1).trim_end())).is_empty());
    assert!(assembler.settled());
    assert_eq!(limits(&assembler.flush()), [(vec![1], Some("/a"))]);
    assert!(assembler.flush().is_empty());
}
