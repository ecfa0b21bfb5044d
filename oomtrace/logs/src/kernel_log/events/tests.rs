//! Logs of real kernels, as events.

use oomtrace_model::{Level, OomKill, SwapCounter};

use super::*;
use crate::kernel_log::tests::{NODE, REPORTS};

fn read(log: &[u8], clock: Clock) -> (Vec<Observation>, Statistics) {
    let mut events = Events::new(clock, Machine::default());
    let mut reported: Vec<_> = log.split(|byte| *byte == b'\n').flat_map(|line| events.push_line(line)).collect();
    reported.extend(events.finish());
    (reported, events.statistics().clone())
}

fn log(name: &str) -> &'static [u8] {
    REPORTS.iter().chain(&NODE).find(|(known, _)| *known == name).map(|(_, log)| *log).expect("a capture")
}

fn kills(log: &[u8]) -> Vec<OomKill> {
    let (reported, _) = read(log, Clock::default());
    reported
        .into_iter()
        .filter_map(|reported| if let Event::OomKill(kill) = reported.event { Some(*kill) } else { None })
        .collect()
}

fn lines(text: &str) -> Vec<Observation> {
    read(text.as_bytes(), Clock::default()).0
}

#[test]
fn a_kill_carries_all_that_its_report_says() {
    let kill = kills(log("6.12-memcg-v2-oomgroup.txt")).remove(0);
    let victim = &kill.victim;
    assert_eq!((victim.task.pid, victim.task.tgid, victim.task.uid), (Some(163), Some(163), Some(0)));
    assert_eq!((victim.task.comm.as_deref(), victim.task.oom_score_adj), (Some("tail"), Some(0)));
    assert_eq!(victim.memory.total_vm_bytes, Some(22120 * 1024));
    assert_eq!(victim.memory.rss_anon_bytes, Some(19968 * 1024));
    assert_eq!(victim.memory.rss_shmem_bytes, Some(1324 * 1024));
    assert_eq!((victim.memory.swap_bytes, victim.memory.pgtables_bytes), (Some(0), Some(80 * 1024)));
    // 5323 resident pages, and 20 of page tables.
    assert_eq!(victim.points, Some(5343));
    assert_eq!(kill.trigger.pid, Some(163));
    assert_eq!(kill.trigger.tgid, Some(163));
    assert_eq!((kill.constraint.as_deref(), kill.order), (Some("MEMCG"), Some(0)));
    assert_eq!((kill.gfp.as_deref(), kill.gfp_mask), (Some("GFP_KERNEL"), Some(0xcc0)));
    assert_eq!(kill.message.as_deref(), Some("Memory cgroup out of memory"));
    assert_eq!(
        kill.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()),
        kill.limit.as_ref().and_then(|limit| limit.cgroup.as_deref())
    );
    let limit = kill.limit.as_ref().expect("a limit");
    assert_eq!((limit.usage_bytes, limit.limit_bytes), (Some(20 << 20), Some(20 << 20)));
    assert_eq!(
        (limit.swap_usage_bytes, limit.swap_limit_bytes, limit.swap_counter),
        (Some(0), None, Some(SwapCounter::Swap))
    );
    // How much swap there is, the report of a cgroup does not tell.
    assert_eq!(limit.total_bytes, None);
    assert_eq!(kill.group, Some(true));
    let members: Vec<_> = kill.members.iter().filter_map(|member| member.tgid).collect();
    assert_eq!(members, [160, 161, 162]);
    assert_eq!(kill.candidates_weighed, Some(4));
    let candidates: Vec<_> = kill.candidates.iter().flatten().map(|row| (row.task.pid, row.points)).collect();
    let points = [(163, 5343), (160, 405), (161, 341), (162, 340)];
    assert_eq!(candidates, points.map(|(pid, points)| (Some(pid), Some(points))));
}

#[test]
fn the_victim_of_a_group_is_marked_once_and_every_member_with_it() {
    let (reported, _) = read(log("6.12-memcg-v2-oomgroup.txt"), Clock::default());
    let marks: Vec<_> = reported
        .iter()
        .filter_map(|reported| {
            if let Event::OomVictim(victim) = &reported.event { Some((victim.task.pid, victim.why)) } else { None }
        })
        .collect();
    let group = |pid| (Some(pid), Why::Group);
    assert_eq!(marks, [(Some(163), Why::Killed), group(160), group(161), group(162)]);
    assert!(reported.iter().all(|reported| matches!(reported.at, Moment::Boot(stamp) if stamp > 2_000_000_000)));
}

#[test]
fn every_kernel_tells_limit_and_size_of_a_kill() {
    for (name, log) in REPORTS {
        for kill in kills(log) {
            let limit = kill.limit.as_ref().expect(name);
            assert!(limit.limit_bytes.is_some_and(|limit| limit >= 20 << 20), "{name}: {limit:?}");
            assert_eq!(limit.level == Some(Level::Node), name.contains("global"), "{name}");
            assert!(limit.level != Some(Level::Node) || limit.total_bytes == limit.limit_bytes, "{name}");
            let candidates = kill.candidates.as_ref().expect(name);
            assert_eq!(candidates.first().and_then(|row| row.task.pid), kill.victim.task.pid, "{name}");
            assert_eq!(candidates.first().and_then(|row| row.points), kill.victim.points, "{name}");
            assert_eq!(
                candidates.first().map(|row| row.memory.total_vm_bytes),
                Some(kill.victim.memory.total_vm_bytes),
                "{name}"
            );
            assert!(kill.trigger.pid.is_some() && kill.order == Some(0) && kill.gfp.is_some(), "{name}");
        }
    }
}

#[test]
fn a_nodes_log_tells_the_same_kills_in_every_form() {
    let reported: Vec<_> = NODE
        .iter()
        .map(|(name, log)| {
            kills(log)
                .into_iter()
                .map(|kill| {
                    let limit = kill.limit.expect(name);
                    let uid = kill.pod.and_then(|pod| pod.uid).map(|uid| uid.to_string());
                    let container = kill.container.and_then(|container| container.id).map(|id| id.to_string());
                    (uid.expect(name), container.expect(name), kill.victim.task.comm, limit.level, limit.limit_bytes)
                })
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(!reported[0].is_empty());
    assert!(
        reported[0].iter().any(|kill| kill.3 == Some(Level::Pod))
            && reported[0].iter().any(|kill| kill.3 == Some(Level::Container))
    );
    for (form, (name, _)) in reported.iter().zip(NODE) {
        assert_eq!(form, &reported[0], "{name}");
    }
}

#[test]
fn each_form_is_reported_in_the_time_that_it_has() {
    let booted = "2026-11-23T23:18:04Z".parse().expect("a time");
    for (name, log) in NODE {
        let clock = Clock {
            booted: Some(booted),
            latest: Some("2026-11-24T00:00:00Z".parse().expect("a time")),
            ..Clock::default()
        };
        let (reported, statistics) = read(log, clock);
        assert_eq!(statistics.untimed, 0, "{name}");
        for reported in reported {
            let at = if let Moment::Wall(at) = reported.at { Some(at) } else { None }.expect(name);
            assert!(at.to_string().starts_with("2026-11-23T23:2"), "{name}: {at}");
        }
    }
}

#[test]
fn a_kill_without_its_report_tells_no_limit_but_the_nodes() {
    let reported = lines(
        "[1.0] Memory cgroup out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:5 pgtables:4kB oom_score_adj:900\n\
         [2.0] Out of memory: Killed process 8 (b) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:5 pgtables:4kB oom_score_adj:900",
    );
    let kills: Vec<_> = reported
        .iter()
        .filter_map(|reported| if let Event::OomKill(kill) = &reported.event { Some(kill) } else { None })
        .collect();
    assert_eq!(kills[0].constraint.as_deref(), Some("MEMCG"));
    assert!(kills[0].limit.is_none() && kills[0].candidates.is_none() && kills[0].candidates_weighed.is_none());
    assert_eq!((kills[0].victim.task.uid, kills[0].victim.task.tgid), (Some(5), None));
    let node = kills[1].limit.as_ref().expect("the node's");
    assert_eq!((node.level, node.limit_bytes), (Some(Level::Node), None));
}

#[test]
fn the_group_tells_the_container_where_the_report_was_left_out() {
    let container = "7".repeat(64);
    let reported = lines(&format!(
        "[1.0] Memory cgroup out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB\n\
         [1.0] Tasks in /kubepods/pod01234567-89ab-cdef-0123-456789abcdef/{container} are going to be killed due to memory.oom.group set\n\
         [1.0] Memory cgroup out of memory: Killed process 8 (b) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
    ));
    let kill = if let Event::OomKill(kill) = &reported[0].event { Some(kill) } else { None }.expect("a kill");
    let id = |known: &Option<oomtrace_model::Container>| {
        known.as_ref().and_then(|known| known.id.clone()).map(|id| id.to_string())
    };
    assert_eq!(id(&kill.container), Some(container.clone()));
    assert_eq!(id(&kill.members[0].container), Some(container));
}

#[test]
fn a_decision_that_kills_nobody_is_reported_as_one() {
    let opening = "[1.0] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n";
    for (end, message, victim) in [
        ("[1.0] Out of memory and no killable processes...", Some("Out of memory and no killable processes"), None),
        (
            "[1.0] Memory cgroup out of memory: OOM victim 8 (b) is already exiting. Skip killing the task",
            None,
            Some(8),
        ),
    ] {
        let reported = lines(&format!("{opening}{end}"));
        let decision =
            if let Event::OomDecision(decision) = &reported[0].event { Some(decision) } else { None }.expect(end);
        assert_eq!(decision.message.as_deref(), message);
        assert_eq!(decision.victim.task.pid, victim);
        assert!(!reported.iter().any(|reported| matches!(reported.event, Event::OomKill(_) | Event::Error(_))));
    }
    let reported = lines(opening);
    assert!(
        matches!(reported[0].event, Event::OomDecision(_)) && matches!(reported[1].event, Event::Error(_)),
        "{reported:?}"
    );
}

#[test]
fn a_panic_for_want_of_memory_is_reported_as_the_probes_tell_it() {
    let opening = "[1.0] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n[1.0] Mem-Info:\n";
    for (end, sysctl) in [
        ("[1.0] Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled", 2),
        ("[1.0] Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled", 1),
        ("[1.0] Kernel panic - not syncing: System is deadlocked on memory", 0),
        ("[1.0] Out of memory and no killable processes...", 0),
    ] {
        let reported = lines(&format!("{opening}{end}"));
        let [Observation { event: Event::PanicOnOom(panic), .. }] = &reported[..] else {
            unreachable!("{end}: {reported:?}")
        };
        assert_eq!((panic.panic_on_oom, panic.trigger.comm.as_deref()), (sysctl, Some("a")), "{end}");
        assert_eq!(panic.limit.as_ref().and_then(|limit| limit.level), Some(Level::Node));
    }
}

#[test]
fn what_the_line_of_a_kill_says_counts_where_the_report_does_not() {
    let opening = "[1.0] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n";
    let old = "[1.0] Out of memory: Kill process 134320 (java) score 512 or sacrifice child";
    let level = |text: &str| kills(text.as_bytes())[0].limit.as_ref().and_then(|limit| limit.level);
    assert_eq!(level(&format!("{opening}{old}")), Some(Level::Node));
    // The line's time was cut, or its reason.
    let kill =
        "Memory cgroup out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB";
    for cut in ["56870] ", ""] {
        let kill = kills(format!("{cut}{}", &kill[cut.is_empty().into()..]).as_bytes()).remove(0);
        assert_eq!(
            (kill.message.as_deref(), kill.constraint.as_deref()),
            (Some("Memory cgroup out of memory"), Some("MEMCG"))
        );
        assert!(kill.limit.is_none());
    }
    // So much of it that what is left tells neither reason.
    for cut in [15, 16, 27] {
        let kill = kills(&kill.as_bytes()[cut..]).remove(0);
        assert_eq!((kill.victim.task.pid, kill.message, kill.constraint), (Some(7), None, None), "{cut}");
        assert!(kill.limit.is_none());
    }
    let kill = kills(&kill.as_bytes()[14..]).remove(0);
    assert_eq!(kill.message.as_deref(), Some("Memory cgroup out of memory"));
}

#[test]
fn a_log_whose_start_goes_on_with_a_line_that_was_cut_off_tells_no_kill_by_it() {
    let kill =
        "    [  100.0] Out of memory: Killed process 8 (b) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB";
    assert_eq!(kills(kill.as_bytes()).len(), 1);
    assert_eq!(kills(format!("{kill}\n    [  100.5] a").as_bytes()).len(), 1);
    assert_eq!(kills(format!("{kill}\nNov 23 23:20:37 node1 app[1]: a").as_bytes()).len(), 0);
}

#[test]
fn the_nodes_memory_in_a_report_of_a_cgroup_is_of_another() {
    let log = std::str::from_utf8(log("6.12-memcg-v2-oomgroup.txt")).expect("text");
    let node =
        "[    2.0] Mem-Info:\n[    2.0] 65403 pages RAM\n[    2.0] 12625 pages reserved\n[    2.0] Total swap = 0kB\n";
    let (start, rest) = log.split_at(log.find('\n').expect("a line") + 1);
    let time = &start[..start.find(']').expect("a time")];
    let mixed = format!("{start}{}{rest}", node.replace("[    2.0", time));
    assert_eq!(kills(mixed.as_bytes())[0].limit.as_ref().map(|limit| limit.total_bytes), Some(None));
}

#[test]
fn the_reaper_is_reported_with_its_victim_also_when_it_is_faster_than_the_next_decision() {
    let reported = lines(
        "[1.0] Out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB\n\
         [3.5] oom_reaper: reaped process 7 (a), now anon-rss:12kB, file-rss:0kB, shmem-rss:0kB\n\
         [4.0] oom_reaper: unable to reap pid:9 (c)",
    );
    let reaped: Vec<_> = reported
        .iter()
        .filter_map(|reported| if let Event::OomReaped(reaped) = &reported.event { Some(reaped) } else { None })
        .collect();
    assert_eq!(
        (reaped[0].decision, reaped[0].left_anon_bytes, reaped[0].since_kill_ms),
        (Some(1), Some(12 << 10), Some(2500.0))
    );
    assert_eq!((reaped[1].decision, reaped[1].task.pid, reaped[1].left_anon_bytes), (None, Some(9), None));
}

#[test]
fn what_the_rate_limit_left_out_is_reported_as_lost() {
    let reported = lines("[1.0] oom_kill_process: 12 callbacks suppressed");
    assert!(
        matches!(reported[0].event, Event::Lost(Lost { from: LostFrom::KernelReport, count: 12, .. })),
        "{reported:?}"
    );
}

#[test]
fn thousandths_of_the_limit_are_added_for_the_score_adjustment() {
    let report = |adjustment: i32| {
        format!(
            "[1.0] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n\
             [1.0] memory: usage 40960kB, limit 40960kB, failcnt 1\n\
             [1.0] swap: usage 0kB, limit 0kB, failcnt 0\n\
             [1.0] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n\
             [1.0] [      7]     0     7     1000      500    40960       20          {adjustment:4} a\n\
             [1.0] [      8]     0     8     1000      900    40960       20         -1000 never\n\
             [1.0] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/x,task_memcg=/x,task=a,pid=7,uid=0\n\
             [1.0] Memory cgroup out of memory: Killed process 7 (a) total-vm:4000kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
        )
    };
    // 10240 pages are the limit: 10 for a thousandth, as the kernel divides first.
    for (adjustment, points) in [(0, 530), (900, 9530), (-100, -470)] {
        let kill = kills(report(adjustment).as_bytes()).remove(0);
        assert_eq!(kill.victim.points, Some(points));
        assert_eq!(kill.candidates_weighed, Some(2));
        assert_eq!(kill.candidates.map(|rows| rows.len()), Some(1));
        assert_eq!(kill.limit.and_then(|limit| limit.total_bytes), Some(40960 << 10));
    }
}

#[test]
fn reports_that_end_without_a_kill_are_counted() {
    let none = "Memory limit reached of cgroup /a\nOut of memory and no killable processes...\n";
    let (_, statistics) = read(none.repeat(3).as_bytes(), Clock::default());
    assert_eq!((statistics.decisions, statistics.without_kill, statistics.without_end), (3, 3, 0));
}
