//! Logs of real kernels, whole and damaged.

mod damaged;

use std::collections::BTreeMap;

use oomtrace_model::SwapCounter;

use super::{
    Assembler, Clock, Decision, Events, Item, Line, LineReader, Machine, Outcome, Skipped, Wall, When, is_export,
};

macro_rules! captures {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../../tests/data/kernel-log/", $name)).as_slice())),*]
    };
}

/// `../shared/captures/kernel-reports`: the log of a virtual machine, from the first line of a report.
pub(in crate::kernel_log) const REPORTS: [(&str, &[u8]); 11] = captures![
    "5.10-global.txt",
    "5.10-memcg-v1.txt",
    "5.10-memcg-v2.txt",
    "5.10-memcg-v2-oomgroup.txt",
    "6.12-global.txt",
    "6.12-memcg-v2.txt",
    "6.12-memcg-v2-oomgroup.txt",
    "7.3-global.txt",
    "7.3-memcg-v2.txt",
    "7.3-memcg-v2-oomgroup.txt",
    "full-6.12-group.txt",
];

/// `../shared/captures/oomkill-1.36-systemd`: a Kubernetes node's log, in all its forms. Most lines of the boot are left
/// out, and in the last one most lines that are not the kernel's.
pub(super) const NODE: [(&str, &[u8]); 5] = captures![
    "oomkill.kmsg",
    "oomkill.dmesg.txt",
    "oomkill.dmesg-T.txt",
    "oomkill.kernel.journal.log",
    "oomkill.journal-all.log",
];

/// `../shared/captures/evict-1.20-systemd`: a node where the kubelet killed, and the kernel did not.
const QUIET: [(&str, &[u8]); 4] =
    captures!["evict.kmsg", "evict.dmesg.txt", "evict.dmesg-T.txt", "evict.kernel.journal.log"];

/// What a log tells, and how many of its lines were passed over, by reason.
pub(super) fn read(log: &[u8]) -> (Vec<Item>, BTreeMap<Skipped, usize>) {
    let (mut reader, mut assembler) = (LineReader::new(), Assembler::new());
    let (mut items, mut skipped) = (Vec::new(), BTreeMap::new());
    for line in log.split(|byte| *byte == b'\n') {
        match reader.read(line) {
            Line::Kernel(message) => items.extend(assembler.push(&message)),
            Line::Killer(_) => {}
            Line::Skipped(why) => *skipped.entry(why).or_default() += 1,
        }
    }
    items.extend(assembler.flush());
    (items, skipped)
}

pub(super) fn decisions(log: &[u8]) -> Vec<Decision> {
    read(log)
        .0
        .into_iter()
        .filter_map(|item| if let Item::Decision(decision) = item { Some(*decision) } else { None })
        .collect()
}

fn capture(name: &str) -> &'static [u8] {
    REPORTS.iter().chain(&NODE).find(|(known, _)| *known == name).map(|(_, log)| *log).expect("a capture")
}

/// The same decision, without its times: the forms tell different ones.
fn timeless(mut decision: Decision) -> Decision {
    decision.when = When::default();
    decision.victim.iter_mut().chain(&mut decision.members).for_each(|killed| killed.when = When::default());
    decision
}

#[test]
fn every_kernel_says_whom_it_killed_and_for_which_limit() {
    let reported: Vec<_> = REPORTS
        .iter()
        .flat_map(|(name, log)| {
            decisions(log).into_iter().map(move |decision| {
                let report = decision.report.as_deref().expect("a report");
                let victim = decision.victim.as_ref().expect("a victim");
                assert_eq!(decision.outcome, Outcome::Killed, "{name}");
                assert!(!report.start_missing && !report.given_up, "{name}");
                assert_eq!(
                    report.chosen.as_ref().map(|chosen| (chosen.pid, &chosen.comm)),
                    Some((victim.pid, &victim.comm))
                );
                assert_eq!(report.chosen_uid, victim.uid);
                let members: Vec<_> = decision.members.iter().map(|member| member.pid).collect();
                let limit = report.oom_cgroup.as_deref().unwrap_or("node").rsplit('/').next();
                (
                    *name,
                    victim.pid,
                    members,
                    report.constraint.clone().expect("constraint"),
                    limit.map(ToOwned::to_owned),
                )
            })
        })
        .collect();
    let reported: Vec<_> = reported
        .iter()
        .map(|(name, pid, members, constraint, limit)| {
            (*name, *pid, members.as_slice(), constraint.as_str(), limit.as_deref().unwrap_or(""))
        })
        .collect();
    assert_eq!(
        reported,
        [
            ("5.10-global.txt", 108, &[][..], "NONE", "node"),
            ("5.10-memcg-v1.txt", 114, &[], "MEMCG", "ctr2222"),
            ("5.10-memcg-v2.txt", 172, &[], "MEMCG", "ctr2222"),
            ("5.10-memcg-v2.txt", 173, &[], "MEMCG", "ctr2222"),
            ("5.10-memcg-v2-oomgroup.txt", 120, &[117, 118, 119], "MEMCG", "ctr4444"),
            ("6.12-global.txt", 155, &[], "NONE", "node"),
            ("6.12-memcg-v2.txt", 216, &[], "MEMCG", "ctr2222"),
            ("6.12-memcg-v2.txt", 217, &[], "MEMCG", "ctr2222"),
            ("6.12-memcg-v2-oomgroup.txt", 163, &[160, 161, 162], "MEMCG", "ctr4444"),
            ("7.3-global.txt", 125, &[], "NONE", "node"),
            ("7.3-memcg-v2.txt", 187, &[], "MEMCG", "ctr2222"),
            ("7.3-memcg-v2.txt", 188, &[], "MEMCG", "ctr2222"),
            ("7.3-memcg-v2-oomgroup.txt", 132, &[129, 130, 131], "MEMCG", "ctr4444"),
            ("full-6.12-group.txt", 163, &[160, 161, 162], "MEMCG", "ctr4444"),
        ]
    );
}

#[test]
fn a_report_of_a_limit_tells_trigger_counters_statistics_and_candidates() {
    let decision = decisions(capture("7.3-memcg-v2.txt")).remove(0);
    let victim = decision.victim.as_ref().expect("a victim");
    let report = decision.report.as_deref().expect("a report");
    let trigger = report.trigger.as_ref().expect("a trigger");
    // The trigger is not the victim: `head` wrote into the pipe that `tail` reads.
    assert_eq!((trigger.comm.as_str(), trigger.pid, trigger.uid), ("head", Some(186), Some(0)));
    assert_eq!((victim.comm.as_str(), victim.pid), ("tail", 187));
    assert_eq!(
        (trigger.order, trigger.gfp_mask, trigger.gfp.as_deref()),
        (0, 0x0050_0cc2, Some("GFP_HIGHUSER|__GFP_ACCOUNT"))
    );
    let memory = report.memory.expect("the counter");
    assert_eq!((memory.usage_bytes, memory.limit_bytes), (20480 << 10, Some(20480 << 10)));
    assert_eq!(report.swap_counter, Some(SwapCounter::Swap));
    assert_eq!(report.global, Some(false));
    assert_eq!(report.victim_cgroup.as_deref(), Some("/kubepods/besteffort/pod1111/ctr2222"));
    assert_eq!(report.stats[0].get("kernel_stack").map(|_| ()), Some(()));
    let row = report.candidates.iter().find(|row| row.pid == victim.pid).expect("the victim's row");
    assert_eq!(row.rss_anon_pages.map(|pages| pages * 4096), victim.rss_anon_bytes);
    assert_eq!(row.pgtables_bytes, victim.pgtables_bytes);
    assert_eq!(report.candidates_total, 3);
}

#[test]
fn a_report_of_the_node_tells_its_memory_and_an_allocation_that_fails_later_changes_nothing() {
    // In this log a "page allocation failure" prints the node's memory once more after the kill.
    let all = decisions(capture("7.3-global.txt"));
    assert_eq!(all.len(), 1);
    let report = all[0].report.as_deref().expect("a report");
    let node = report.node.as_deref().expect("the node's memory");
    assert_eq!((report.global, report.memory, report.oom_cgroup.as_deref()), (Some(true), None, None));
    assert_eq!((node.free_pages, node.ram_pages, node.reserved_pages), (Some(381), Some(65403), Some(12625)));
    assert_eq!((node.active_anon_pages, node.swap_total_bytes), (Some(42589), Some(0)));
    let zones: Vec<_> =
        node.zones.iter().map(|zone| (zone.name.as_str(), zone.free_bytes >> 10, zone.min_bytes)).collect();
    assert_eq!(zones, [("DMA", 772, Some(136 << 10)), ("DMA32", 752, Some(1652 << 10))]);
    assert_eq!(report.candidates_total, 2);
}

#[test]
fn cgroup_v1_counts_memory_with_swap_and_the_kernels_memory() {
    let decision = decisions(capture("5.10-memcg-v1.txt")).remove(0);
    let report = decision.report.as_deref().expect("a report");
    assert_eq!(report.swap_counter, Some(SwapCounter::MemoryAndSwap));
    let swap = report.swap.expect("memory+swap");
    assert_eq!((swap.usage_bytes, swap.limit_bytes), (20480 << 10, None));
    assert_eq!(report.kernel.map(|kernel| kernel.usage_bytes), Some(96 << 10));
    assert_eq!(report.memory.map(|memory| memory.failcnt), Some(21));
    assert_eq!(report.stats[0].get("anon"), Some(20_815_872));
}

#[test]
fn a_nodes_log_tells_the_same_kills_in_every_form_and_as_many_as_happened() {
    // `truth.json`: 5 kills of one container, 1 of an init container, 1 of a guaranteed pod; each in a group of one.
    let (_, kmsg) = NODE[0];
    let first: Vec<_> = decisions(kmsg).into_iter().map(timeless).collect();
    assert_eq!(first.len(), 7);
    for (name, log) in NODE {
        let reported: Vec<_> = decisions(log).into_iter().map(timeless).collect();
        assert!(reported == first, "{name}");
    }
    for decision in &first {
        assert!(decision.group.is_some() && decision.members.is_empty(), "the victim is reported twice, and is one");
        let report = decision.report.as_deref().expect("a report");
        assert_eq!(report.group_is_of_victim(decision), Some(true));
        assert!(report.stats[0].values.len() > 50);
    }
    // The guaranteed pod has one container, and its limit was hit as the pod's.
    let limits: Vec<_> = first.iter().map(|decision| decision.report.as_deref().expect("a report").limit()).collect();
    assert_eq!(limits, [64, 48, 64, 64, 64, 64, 64].map(|mib| Some(mib << 20)));
    let of_pod = |decision: &&Decision| {
        decision
            .report
            .as_deref()
            .and_then(|report| report.oom_cgroup.as_deref())
            .is_some_and(|path| !path.contains("/cri-containerd-"))
    };
    assert_eq!(
        first.iter().filter(of_pod).filter_map(|decision| decision.victim.as_ref()).map(|v| v.pid).collect::<Vec<_>>(),
        [1436]
    );
}

impl super::Report {
    fn group_is_of_victim(&self, decision: &Decision) -> Option<bool> {
        Some(decision.group.as_ref()? == self.victim_cgroup.as_ref()?)
    }

    fn limit(&self) -> Option<u64> {
        self.memory?.limit_bytes
    }
}

#[test]
fn a_node_without_a_kill_has_none_in_any_form() {
    for (name, log) in QUIET {
        let (items, skipped) = read(log);
        assert_eq!(items, [], "{name}");
        assert!(skipped.keys().all(|why| !matches!(why, Skipped::Unreadable(_))), "{name}: {skipped:?}");
    }
}

#[test]
fn each_form_tells_its_own_time() {
    let time = |name: &str| decisions(capture(name))[0].when;
    assert_eq!(time("oomkill.kmsg"), When { boot_ns: Some(153_158_837_000), wall: None });
    assert_eq!(time("oomkill.dmesg.txt"), When { boot_ns: Some(153_158_837_000), wall: None });
    let local = |name| match time(name).wall {
        Some(Wall::Local(local)) => format!("{:?} {}", local.year, local.in_year(2026).expect("a date")),
        other => format!("{other:?}"),
    };
    assert_eq!(local("oomkill.dmesg-T.txt"), "Some(2026) 2026-11-23T23:20:38");
    assert_eq!(local("oomkill.journal-all.log"), "None 2026-11-23T23:20:38");
    let wall = match time("oomkill.kernel.journal.log").wall {
        Some(Wall::Absolute(timestamp)) => timestamp.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(wall, "2026-11-23T23:20:38.248961Z");
}

#[test]
fn lines_of_others_in_a_whole_journal_are_counted() {
    let (_, skipped) = read(capture("oomkill.journal-all.log"));
    assert_eq!(skipped.keys().copied().collect::<Vec<_>>(), [Skipped::Blank, Skipped::NotKernel]);
    assert!(skipped[&Skipped::NotKernel] > 100, "{skipped:?}");
}

#[test]
fn nothing_of_a_real_log_is_unreadable() {
    for (name, log) in REPORTS.iter().chain(&NODE) {
        let (items, skipped) = read(log);
        assert!(skipped.keys().all(|why| !matches!(why, Skipped::Unreadable(_))), "{name}: {skipped:?}");
        assert!(items.iter().all(|item| !matches!(item, Item::Torn { .. })), "{name}");
    }
}

/// Makes of dmesg's lines what another program would print of them.
fn as_form(log: &[u8], line: impl Fn(&str, &str) -> String) -> Vec<u8> {
    let log = std::str::from_utf8(log).expect("text");
    let lines = log.lines().filter_map(|text| text.strip_prefix('[')?.split_once("] "));
    lines.map(|(time, text)| line(time.trim(), text) + "\n").collect::<String>().into_bytes()
}

#[test]
fn the_forms_that_no_capture_has_tell_the_same_kills() {
    let log = capture("oomkill.dmesg.txt");
    let truth: Vec<_> = decisions(log).into_iter().map(timeless).collect();
    let micros = |time: &str| time.replace('.', "").parse::<u64>().expect("a number");
    let json = |text: &str| serde_json::to_string(text).expect("JSON");
    let forms = [
        as_form(log, |time, text| format!("[{time:>12}][    T1] {text}")),
        as_form(log, |time, text| format!("[{time:>12}] [T1] {text}")),
        as_form(log, |time, text| format!("<6>[{time:>12}] {text}")),
        as_form(log, |time, text| format!("kern  :info  : [{time:>12}] {text}")),
        as_form(log, |time, text| format!("\x1b[32m[{time:>12}] \x1b[0m\x1b[33m{text}\x1b[0m")),
        as_form(log, |time, text| format!("2026-11-23T23:20:38,{}+01:00 {text}", &time[time.len() - 6..])),
        as_form(log, |time, text| format!("[{time:>12}] node1 kernel: {text}")),
        as_form(log, |_, text| format!("Nov 23 23:20:37 kernel: {text}")),
        as_form(log, |time, text| format!("Nov  3 23:20:37 node1 kernel: [{time:>12}] {text}")),
        as_form(log, |_, text| format!("Nov 23 23:20:37.123456 node1 kernel: {text}")),
        as_form(log, |_, text| format!("2026-11-23T23:20:37+0000 node1 kernel: {text}")),
        as_form(log, |_, text| format!("Mon 2026-11-23 23:20:37 UTC node1 kernel: {text}")),
        as_form(log, |_, text| format!("1795475954.137400 node1 kernel: {text}")),
        as_form(log, |_, text| format!("<4>Nov 23 23:20:37 node1 kernel: {text}")),
        as_form(log, |time, text| format!("<4>1 2026-11-23T23:20:37.123456Z node1 kernel - - - [{time:>12}] {text}")),
        as_form(log, |_, text| format!("10.0.0.2: kern: warning: [2026-11-23T23:20:37.123456Z]: {text}")),
        as_form(log, |_, text| format!("kernel: {text}")),
        as_form(log, |_, text| text.to_owned()),
        as_form(log, |time, text| {
            let us = micros(time);
            let text = json(text);
            format!(
                "{{\"__REALTIME_TIMESTAMP\":\"1795475954137667\",\"_SOURCE_MONOTONIC_TIMESTAMP\":\"{us}\",\"_TRANSPORT\":\"kernel\",\"SYSLOG_FACILITY\":\"0\",\"SYSLOG_IDENTIFIER\":\"kernel\",\"MESSAGE\":{text}}}"
            )
        }),
        as_form(log, |_, text| format!("{{\"MESSAGE\":{:?},\"_TRANSPORT\":\"kernel\"}}", text.as_bytes())),
    ];
    for form in &forms {
        let reported: Vec<_> = decisions(form).into_iter().map(timeless).map(without_caller).collect();
        let line =
            String::from_utf8_lossy(&form[..form.iter().position(|byte| *byte == b'\n').unwrap_or(0)]).into_owned();
        assert_eq!(reported.len(), 7, "{line}");
        assert!(reported == truth, "{line}");
    }
}

#[test]
fn behind_a_head_that_is_not_known_nobody_is_killed() {
    let log = capture("oomkill.dmesg.txt");
    for head in ["node1|kern|", "prefix: ", "node1: kernel: "] {
        let decisions = decisions(&as_form(log, |_, text| format!("{head}{text}")));
        assert!(decisions.iter().all(|decision| decision.victim.is_none()), "{head}");
    }
}

#[test]
fn an_export_of_the_journal_tells_what_its_json_tells() {
    let log = std::str::from_utf8(capture("oomkill.dmesg.txt")).expect("text");
    let (mut json, mut export) = (Vec::new(), Vec::new());
    let texts = log.lines().filter_map(|text| text.strip_prefix('[')?.split_once("] "));
    // Records of several lines are binary in an export.
    let texts: Vec<_> = texts.map(|(time, text)| (time, text.replace("Tasks state", "\nTasks state"))).collect();
    for (time, text) in &texts {
        let us = time.trim().replace('.', "");
        let wall = 1_795_475_884_300_000 + us.parse::<u64>().expect("a number");
        let message = serde_json::to_string(text).expect("JSON");
        json.push(format!(
            "{{\"__REALTIME_TIMESTAMP\":\"{wall}\",\"_TRANSPORT\":\"kernel\",\"_SOURCE_MONOTONIC_TIMESTAMP\":\"{us}\",\"MESSAGE\":{message}}}"
        ));
        export.extend(format!("__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP={wall}\n_TRANSPORT=kernel\n").bytes());
        if text.contains('\n') {
            export.extend(b"MESSAGE\n");
            export.extend((text.len() as u64).to_le_bytes());
            export.extend(format!("{text}\n").bytes());
        } else {
            export.extend(format!("MESSAGE={text}\n").bytes());
        }
        export.extend(format!("_SOURCE_MONOTONIC_TIMESTAMP={us}\n\n").bytes());
        // What a process writes under the kernel's name.
        export.extend(b"__CURSOR=s=1;i=3\n_TRANSPORT=syslog\nSYSLOG_IDENTIFIER=kernel\nMESSAGE=Killed process 1 (a) total-vm:8kB, anon-rss:4kB\n\n");
    }
    export.truncate(export.len() - 1);
    assert!(is_export(&export));
    let printed = |reported: &[oomtrace_model::Observation]| -> Vec<String> {
        reported.iter().map(|reported| format!("{:?} {:?}", reported.at, reported.event)).collect()
    };
    let events = || Events::new(Clock::default(), Machine::default());
    let mut of_json = events();
    let mut expected: Vec<_> = json.iter().flat_map(|line| of_json.push_line(line.as_bytes())).collect();
    expected.extend(of_json.finish());
    assert!(expected.len() > 7);
    for piece in [1, 7, 4096] {
        let mut of_export = events();
        let mut reported: Vec<_> = export.chunks(piece).flat_map(|piece| of_export.push_export(piece)).collect();
        reported.extend(of_export.finish());
        assert_eq!(of_export.statistics().kernel_lines, texts.len() as u64);
        assert!(printed(&reported) == printed(&expected), "in pieces of {piece}");
    }
}

#[test]
fn a_record_of_many_lines_is_read_like_a_line_for_each() {
    // Linux 5.10 prints `memory.stat` and the node's counts as one record each: in dmesg lines of one time.
    for name in ["5.10-memcg-v1.txt", "5.10-memcg-v2.txt", "5.10-global.txt", "7.3-global.txt"] {
        let log = std::str::from_utf8(capture(name)).expect("text");
        let mut kmsg = String::new();
        let mut last = "";
        for (time, text) in log.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] ")) {
            if time == last {
                kmsg += "\\x0a";
            } else {
                kmsg.extend(["\n6,1,", &time.trim().replace('.', ""), ",-;"]);
            }
            kmsg += text;
            last = time;
        }
        assert!(kmsg.contains("\\x0a"));
        let reported = |log: &[u8]| decisions(log).into_iter().map(timeless).collect::<Vec<_>>();
        assert!(reported(kmsg.as_bytes()) == reported(log.as_bytes()), "{name}");
    }
}

/// A made-up caller gives a made-up pid of the trigger.
fn without_caller(mut decision: Decision) -> Decision {
    if let Some(trigger) = decision.report.as_deref_mut().and_then(|report| report.trigger.as_mut())
        && trigger.pid == Some(1)
    {
        trigger.pid = decision.victim.as_ref().map(|victim| victim.pid);
    }
    decision
}
