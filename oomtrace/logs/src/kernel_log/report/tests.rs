//! Reports as other kernels print them, and such as are incomplete, mixed or hostile. The lines are those of the issues
//! named, with names of hosts and pods shortened.

mod names;
mod order;

use oomtrace_model::KnownBy;
use oomtrace_model::SwapCounter;

use super::{Assembler, Decision, Item, Outcome};
use crate::kernel_log::form::{Caller, Message, When};

/// A line at this time, in milliseconds.
fn message(at_ms: u64, caller: Option<u32>, text: &str) -> Message<'_> {
    let when = When { boot_ns: Some(at_ms * 1_000_000), wall: None };
    Message { when, sequence: None, caller: caller.map(Caller::Task), text: text.into(), continues: false }
}

fn items<'a>(messages: impl IntoIterator<Item = Message<'a>>) -> Vec<Item> {
    let mut assembler = Assembler::new();
    let mut items: Vec<_> = messages.into_iter().flat_map(|message| assembler.push(&message)).collect();
    items.extend(assembler.flush());
    items
}

/// A millisecond between two lines.
fn of_text(text: &str) -> Vec<Item> {
    items(text.lines().zip(1..).map(|(line, at)| message(at, None, line)))
}

fn decisions(items: &[Item]) -> Vec<&Decision> {
    items.iter().filter_map(|item| if let Item::Decision(decision) = item { Some(&**decision) } else { None }).collect()
}

fn killed(decision: &Decision) -> Vec<u32> {
    decision.victim.iter().chain(&decision.members).map(|killed| killed.pid).collect()
}

/// Each decision's kills, and the cgroup over its limit.
fn limits(items: &[Item]) -> Vec<(Vec<u32>, Option<&str>)> {
    decisions(items)
        .into_iter()
        .map(|decision| (killed(decision), decision.report.as_deref().and_then(|report| report.oom_cgroup.as_deref())))
        .collect()
}

#[test]
fn linux_4_19_tells_the_limit_in_words_and_the_kill_in_two_lines() {
    // The start as in moby/moby#38352 (4.19.4); the rest as a 4.19 prints it in kubedirector#356, whose victim is a child.
    let items = of_text(
        "thrash invoked oom-killer: gfp_mask=0x6000c0(GFP_KERNEL), nodemask=(null), order=0, oom_score_adj=0\n\
         thrash cpuset=cc6b369add7d52448ae406800daa01f4836195e51190d9ee922fd685446f8368 mems_allowed=0-1\n\
         CPU: 40 PID: 32276 Comm: thrash Not tainted 4.19.4-1.el7.elrepo.x86_64 #1\n\
         Call Trace:\n dump_stack+0x63/0x88\n\
         Task in /kubepods/pod951f6bc5/024952d6 killed as a result of limit of /kubepods/pod951f6bc5\n\
         memory: usage 524288kB, limit 524288kB, failcnt 0\n\
         memory+swap: usage 524288kB, limit 524288kB, failcnt 38\n\
         kmem: usage 16560kB, limit 9007199254740988kB, failcnt 0\n\
         Memory cgroup stats for /kubepods/pod951f6bc5: cache:0KB rss:0KB rss_huge:0KB shmem:0KB\n\
         Memory cgroup stats for /kubepods/pod951f6bc5/024952d6: cache:507172KB rss:448KB rss_huge:0KB shmem:28KB dirty:503316KB\n\
         Tasks state (memory values in pages):\n\
         [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n\
         [  62685]     0 62685     2925      679    65536        0          -998 bash\n\
         [  62769]     0 62769     4382      411    77824        0          -998 cp\n\
         Memory cgroup out of memory: Kill process 62685 (bash) score 0 or sacrifice child\n\
         Killed process 62769 (cp) total-vm:17528kB, anon-rss:356kB, file-rss:1288kB, shmem-rss:0kB\n\
         oom_reaper: reaped process 62769 (cp), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
    );
    let [decision] = decisions(&items)[..] else { unreachable!("one decision") };
    assert_eq!((killed(decision), &decision.outcome), (vec![62769], &Outcome::Killed));
    let victim = decision.victim.as_ref().expect("a victim");
    assert_eq!((&victim.message, victim.uid, victim.pgtables_bytes, victim.oom_score_adj), (&None, None, None, None));
    assert_eq!((victim.total_vm_bytes, victim.rss_shmem_bytes), (Some(17528 << 10), Some(0)));
    let elected = decision.elected.as_ref().expect("who was chosen");
    assert_eq!(
        (elected.message.as_str(), elected.process.pid, elected.score),
        ("Memory cgroup out of memory", 62685, 0)
    );
    let report = decision.report.as_deref().expect("a report");
    let trigger = report.trigger.as_ref().expect("a trigger");
    assert_eq!((trigger.pid, trigger.order, trigger.gfp.as_deref()), (Some(32276), 0, Some("GFP_KERNEL")));
    assert_eq!((report.nodemask.as_deref(), report.mems_allowed.as_deref()), (Some("(null)"), Some("0-1")));
    assert!(report.cpuset.as_ref().is_some_and(|cpuset| cpuset.starts_with("cc6b")));
    assert_eq!(report.oom_cgroup.as_deref(), Some("/kubepods/pod951f6bc5"));
    assert_eq!(report.victim_cgroup.as_deref(), Some("/kubepods/pod951f6bc5/024952d6"));
    assert_eq!(
        (report.constraint.as_deref(), report.global, report.chosen.is_none()),
        (Some("MEMCG"), Some(false), true)
    );
    assert_eq!(report.swap_counter, Some(SwapCounter::MemoryAndSwap));
    assert_eq!(report.kernel.and_then(|kernel| kernel.limit_bytes), None);
    assert_eq!(report.stats[1].get("dirty"), Some(503_316 << 10));
    assert_eq!(report.candidates[0].oom_score_adj, -998);
    let reaped = items.iter().filter(|item| matches!(item, Item::Reaped(reaped) if reaped.left_anon_bytes == Some(0)));
    assert_eq!(reaped.count(), 1);
}

#[test]
fn kernels_of_other_ages_and_vendors_word_the_kill_differently() {
    for (line, uid, pgtables) in [
        // kubernetes/node-problem-detector#480: 4.19.112 and 5.4.49.
        ("Killed process 4249 (python) total-vm:4kB, anon-rss:4kB, file-rss:4kB, shmem-rss:0kB", None, None),
        (
            "Memory cgroup out of memory: Killed process 4249 (python) total-vm:4kB, anon-rss:4kB, file-rss:4kB, shmem-rss:0kB, UID:0 pgtables:112kB oom_score_adj:994",
            Some(0),
            Some(112 << 10),
        ),
        // docker/for-linux#1001: Ubuntu's 5.3.
        (
            "Out of memory: Killed process 4249 ((resolved)) total-vm:4kB, anon-rss:4kB, file-rss:4kB, shmem-rss:0kB",
            None,
            None,
        ),
        // apache/doris#3525: Red Hat's 3.10. kubernetes/kubernetes#56891: without shmem-rss.
        (
            "Killed process 4249 (palo_be), UID 27, total-vm:4kB, anon-rss:4kB, file-rss:4kB, shmem-rss:0kB",
            Some(27),
            None,
        ),
        ("Killed process 4249 (java) total-vm:4kB, anon-rss:4kB, file-rss:13684kB", None, None),
        // None yet: a field more.
        (
            "Out of memory (oom_kill_allocating_task): Killed process 4249 (a) total-vm:4kB, anon-rss:4kB, new:1kB, UID:4294967294 x:1",
            Some(4_294_967_294),
            None,
        ),
    ] {
        let items = of_text(line);
        let victim = decisions(&items)[0].victim.as_ref().expect(line);
        assert_eq!(
            (victim.pid, victim.rss_anon_bytes, victim.uid, victim.pgtables_bytes),
            (4249, Some(4096), uid, pgtables),
            "{line}"
        );
    }
}

#[test]
fn older_tables_have_other_columns() {
    // cri-o/cri-o#1975 (4.14), and the same with its blanks lost in a paste.
    for table in [
        "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name\n\
         [387951]     0 387951   119281     1724      22       4        0          -998 runc:[2:INIT]",
        "[ pid ] uid tgid total_vm rss nr_ptes nr_pmds swapents oom_score_adj name\n\
         [387951] 0 387951 119281 1724 22 4 0 -998 runc:[2:INIT]",
    ] {
        let items = of_text(&format!(
            "a invoked oom-killer: gfp_mask=0x14200ca(GFP_HIGHUSER_MOVABLE), nodemask=(null),  order=0, oom_score_adj=0\n{table}"
        ));
        let report = decisions(&items)[0].report.as_deref().expect("a report");
        let row = &report.candidates[0];
        assert_eq!(
            (row.comm.as_str(), row.rss_pages, row.pgtables_bytes, row.oom_score_adj),
            ("runc:[2:INIT]", 1724, None, -998)
        );
    }
}

#[test]
fn a_limit_that_leaves_nobody_to_kill_is_a_decision_without_a_kill() {
    // systemd/systemd#40208: 6.17.
    let report = "systemd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=100\n\
                  CPU: 10 UID: 1000 PID: 20957 Comm: systemd Not tainted 6.17.3-arch2-1-lily #1 PREEMPT(full)\n\
                  memory: usage 8kB, limit 8kB, failcnt 1\n\
                  Memory cgroup stats for /user.slice/a:\nanon 0\n\
                  Out of memory and no killable processes...\n";
    let items = of_text(&report.repeat(2));
    let reported: Vec<_> =
        decisions(&items).iter().map(|decision| (decision.outcome.clone(), killed(decision))).collect();
    assert_eq!(reported, vec![(Outcome::NoneKillable, vec![]); 2]);
    let report = decisions(&items)[0].report.as_deref().expect("a report");
    assert_eq!((report.oom_cgroup.as_deref(), report.constraint.as_deref()), (Some("/user.slice/a"), Some("MEMCG")));
    assert_eq!(report.trigger.as_ref().and_then(|trigger| trigger.uid), Some(1000));
    // 4.19 says it in words.
    let items = of_text("Memory limit reached of cgroup /a\nOut of memory and no killable processes...");
    assert_eq!(limits(&items), [(vec![], Some("/a"))]);
}

#[test]
fn a_panic_is_the_end_of_a_decision() {
    let start = "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\nMem-Info:\n";
    // sonic-net/sonic-buildimage#2988, and tempesta-tech/tempesta#1789.
    for (end, message) in [
        (
            "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled",
            "Out of memory: compulsory panic_on_oom is enabled",
        ),
        (
            "Out of memory and no killable processes...\nKernel panic - not syncing: System is deadlocked on memory",
            "System is deadlocked on memory",
        ),
        (
            "Kernel panic - not syncing: Out of memory and no killable processes...",
            "Out of memory and no killable processes...",
        ),
    ] {
        let items = of_text(&format!("{start}{end}\nCPU: 1 PID: 1 Comm: a\nCall Trace:"));
        let [decision] = decisions(&items)[..] else { unreachable!("one decision") };
        assert_eq!(decision.outcome, Outcome::Panicked(message.to_owned()));
        assert_eq!(decision.report.as_ref().and_then(|report| report.global), Some(true));
    }
    assert!(of_text("Kernel panic - not syncing: Fatal exception in interrupt").is_empty());
}

#[test]
fn a_person_can_ask_for_a_kill() {
    let items = of_text(
        "sysrq: Manual OOM execution\n\
         kworker/1:2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0\n\
         oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=b,pid=8,uid=0\n\
         Out of memory: Killed process 8 (b) total-vm:4kB, anon-rss:4kB, file-rss:4kB, shmem-rss:0kB",
    );
    let [decision] = decisions(&items)[..] else { unreachable!("one decision") };
    let trigger = decision.report.as_deref().and_then(|report| report.trigger.as_ref()).expect("a trigger");
    assert_eq!((trigger.order, killed(decision)), (-1, vec![8]));
    // 4.19, whose reports may be left out.
    let items = of_text(
        "sysrq: SysRq : Manual OOM execution\n\
         Out of memory: Kill process 4468 ((agetty)) score 0 or sacrifice child\n\
         Killed process 4468 ((agetty)) total-vm:43704kB, anon-rss:1760kB, file-rss:0kB, shmem-rss:0kB\n\
         Out of memory: Kill process 7 (a) score 0 or sacrifice child",
    );
    assert_eq!(decisions(&items).iter().map(|decision| decision.asked).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_cgroups_kill_is_none_that_a_person_asked_for() {
    let of_cgroup = "app invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n\
                     memory: usage 8kB, limit 8kB, failcnt 1\n\
                     oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=b,pid=8,uid=0\n";
    let of_node = "Out of memory: Killed process 9 (c) total-vm:4kB, anon-rss:4kB, file-rss:4kB, shmem-rss:0kB";
    let items = of_text(&format!("sysrq: Manual OOM execution\n{of_cgroup}{of_node}"));
    assert_eq!(decisions(&items).iter().map(|decision| decision.asked).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_victim_that_is_exiting_is_not_a_kill() {
    let start = "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n";
    let exiting = "Memory cgroup out of memory: OOM victim 8 (b) is already exiting. Skip killing the task\n";
    let items = of_text(&format!("{start}{exiting}"));
    let decision = decisions(&items)[0];
    assert_eq!((&decision.outcome, killed(decision), decision.exiting[0].pid), (&Outcome::AlreadyExiting, vec![], 8));
    // The group is killed all the same.
    let group = "Tasks in /a are going to be killed due to memory.oom.group set\n\
                 Memory cgroup out of memory: Killed process 9 (c) total-vm:4kB, anon-rss:4kB, file-rss:4kB, shmem-rss:0kB";
    let items = of_text(&format!("{start}{exiting}{group}"));
    let [decision] = decisions(&items)[..] else { unreachable!("one decision") };
    assert_eq!((&decision.outcome, killed(decision), decision.victim.is_none()), (&Outcome::Killed, vec![9], true));
}

#[test]
fn the_reaper_may_fail() {
    let items = of_text("oom_reaper: unable to reap pid:7682 (a) b)");
    let [Item::Reaped(reaped), Item::Decision(decision)] = &items[..] else { unreachable!("{items:?}") };
    assert!(reaped.process.comm == "a) b" && reaped.left_anon_bytes.is_none());
    // Nobody but a victim is reaped, and its own line is missing.
    assert_eq!((killed(decision), decision.known_by), (vec![7682], Some(KnownBy::Reaper)));
}
