//! Logs cut, mixed up, and endless.

use std::collections::BTreeSet;

use super::{NODE, REPORTS, capture, read};
use crate::kernel_log::{
    Assembler, Item, Line, LineReader, Outcome,
    form::MAX_LINE_BYTES,
    report::{CgroupStats, Decision},
};

fn all() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    REPORTS.into_iter().chain(NODE)
}

type Observation = BTreeSet<(u32, String, Option<u64>, Option<u64>)>;

/// Whether each was killed in the whole log too. Where its own line is missing or cut, no size is reported.
fn is_of(reported: &Observation, truth: &Observation) -> bool {
    let same = |(pid, comm, total_vm, anon): &(u32, String, Option<u64>, Option<u64>)| {
        let mut known = truth.iter().filter(|known| (known.0, &known.1) == (*pid, comm));
        known.any(|known| total_vm.is_none() || (known.2, known.3) == (*total_vm, *anon))
    };
    reported.iter().all(same)
}

/// What was killed in a damaged log: pid, name, and the sizes.
fn reported(log: &[u8]) -> Observation {
    let (items, _) = read(log);
    let decisions = items.into_iter().filter_map(|item| if let Item::Decision(it) = item { Some(it) } else { None });
    decisions
        .flat_map(|decision| decision.victim.into_iter().chain(decision.members).collect::<Vec<_>>())
        .map(|killed| (killed.pid, killed.comm, killed.total_vm_bytes, killed.rss_anon_bytes))
        .collect()
}

#[test]
fn a_log_that_ends_at_any_byte_tells_no_kill_that_was_not() {
    for name in ["7.3-memcg-v2-oomgroup.txt", "5.10-memcg-v1.txt"] {
        let log = capture(name);
        let truth = reported(log);
        for end in 0..=log.len() {
            assert!(is_of(&reported(&log[..end]), &truth), "{name} up to {end}");
        }
    }
}

#[test]
fn a_log_that_begins_at_any_byte_tells_no_kill_that_was_not_and_all_that_it_has_whole() {
    let log = capture("7.3-memcg-v2-oomgroup.txt");
    let truth = reported(log);
    for start in 0..log.len() {
        let part = &log[start..];
        let reported = reported(part);
        assert!(is_of(&reported, &truth), "from {start}");
        let whole = part.windows(7).any(|window| window == b"] Memor");
        assert!(!whole || !reported.is_empty(), "from {start}");
    }
}

#[test]
fn a_line_torn_at_any_byte_costs_no_other_line_and_invents_none() {
    let log = capture("6.12-memcg-v2-oomgroup.txt");
    let truth = reported(log);
    for at in 0..log.len() {
        let torn = [&log[..at], b"\n", &log[at..]].concat();
        let reported = reported(&torn);
        assert!(is_of(&reported, &truth), "{at}: {reported:?}");
        assert!(reported.len() + 1 >= truth.len(), "{at}: {reported:?}");
    }
}

#[test]
fn a_byte_lost_or_a_line_lost_never_gives_a_kill_to_another_limit() {
    // Two decisions with one limit each; without its summary, table and counters a kill has no limit, never the other's.
    let log = [capture("5.10-memcg-v2.txt"), capture("7.3-memcg-v2-oomgroup.txt")].concat();
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    for lost in 0..lines.len() {
        for many in [1, 5, 40, 120] {
            let mut damaged = lines.clone();
            damaged.drain(lost..(lost + many).min(lines.len()));
            for decision in read(&damaged.concat()).0 {
                let Item::Decision(decision) = decision else { continue };
                let Some(limit) = decision.report.as_ref().and_then(|report| report.oom_cgroup.as_deref()) else {
                    continue;
                };
                let of_group = decision.victim.as_ref().is_some_and(|victim| (129..=132).contains(&victim.pid));
                assert!(
                    decision.victim.is_none() || limit.ends_with("ctr4444") == of_group,
                    "{lost}+{many}: {decision:?}"
                );
            }
        }
    }
}

/// Numerical Recipes' generator: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % end.max(1)
    }
}

#[test]
fn thousands_of_damaged_logs_never_panic_and_never_name_a_process_that_is_not_in_them() {
    let mut random = Random(7);
    let logs: Vec<_> = all().collect();
    for round in 0..4000 {
        let (name, log) = logs[random.below(logs.len())];
        let start = random.below(log.len());
        let mut log = log[start..(start + 6000).min(log.len())].to_vec();
        for _ in 0..random.below(12) {
            let at = random.below(log.len());
            let byte = [b'\n', b' ', b',', b'=', b')', b'[', 0, 0x1b, 0xff, b'\\', b'{', b'9'][random.below(12)];
            match random.below(5) {
                0 => log[at] = byte,
                1 => log.insert(at, byte),
                2 => drop(log.drain(at..(at + random.below(200)).min(log.len()))),
                3 => {
                    let copy = log[at..(at + random.below(300)).min(log.len())].to_vec();
                    let to = random.below(log.len());
                    log.splice(to..to, copy);
                }
                _ => log.truncate(at.max(1)),
            }
            if log.is_empty() {
                log.push(b'x');
            }
        }
        for (pid, ..) in reported(&log) {
            let has = |text: String| log.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(has(format!("process {pid} (")) || has(format!(",pid={pid},")), "{name} {round}: {pid}");
        }
    }
}

#[test]
fn lines_of_any_length_and_any_bytes_are_read_up_to_a_limit() {
    let mut reader = LineReader::new();
    let long = [b"[ 1.5] ".as_slice(), &vec![b'a'; 4 * MAX_LINE_BYTES]].concat();
    let Line::Kernel(message) = reader.read(&long) else { unreachable!("it has a time in front") };
    assert!(message.text.len() <= MAX_LINE_BYTES);
    for byte in 0..=u8::MAX {
        for head in ["", "[", "<", "{", "6,", "6,1,2,-;", "[ 1.5] ", "Nov 23 23:20:37 h kernel: ", "2026-", "kern  :"] {
            let line = [head.as_bytes(), &vec![byte; 300]].concat();
            let _ = reader.read(&line);
            let _ = LineReader::new().read(&line);
        }
    }
}

fn assemble(assembler: &mut Assembler, lines: impl IntoIterator<Item = String>) -> Vec<Item> {
    let mut reader = LineReader::new();
    let mut items = Vec::new();
    for line in lines {
        if let Line::Kernel(message) = reader.read(line.as_bytes()) {
            items.extend(assembler.push(&message));
        }
    }
    items
}

const START: [&str; 5] = [
    "[ 1.000000] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "[ 1.000000] memory: usage 8kB, limit 8kB, failcnt 1",
    "[ 1.000000] Memory cgroup stats for /a:",
    "[ 1.000000] Tasks state (memory values in pages):",
    "[ 1.000000] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
];

fn decision(items: &[Item]) -> &Decision {
    let decision = items.iter().find_map(|item| if let Item::Decision(it) = item { Some(it) } else { None });
    decision.expect("a decision")
}

#[test]
fn of_a_node_of_many_processes_the_likeliest_candidates_are_kept_and_all_are_counted() {
    let rows = (1..=50_000_u32).map(|pid| {
        // The largest comes last but one.
        let rss = if pid == 49_999 { 1_000_000 } else { pid % 977 };
        format!("[ 1.000000] [{pid:>7}]     0 {pid:>5} 9 {rss} 4096 0 0 task")
    });
    let mut assembler = Assembler::new();
    let mut items = assemble(&mut assembler, START.into_iter().map(ToOwned::to_owned).chain(rows));
    items.extend(assembler.flush());
    let report = decision(&items).report.as_deref().expect("a report");
    assert_eq!((report.candidates_total, report.candidates.len()), (50_000, 1024));
    assert!(report.candidates.iter().any(|row| row.pid == 49_999));
    assert!(report.candidates.iter().all(|row| row.rss_pages > 900));
}

#[test]
fn a_report_that_never_ends_is_given_up_and_bounded() {
    let mut assembler = Assembler::new();
    let stats = (0..400_000).map(|at| {
        let what = ["anon", "Node 0 DMA free:1kB", "memory.c: noise", "Memory cgroup stats for /a: cache:1KB"][at % 4];
        format!("[ 1.000000] {what} {at}")
    });
    let start = START[..3].iter().map(|line| (*line).to_owned());
    let items = assemble(&mut assembler, start.chain(stats));
    let given_up = decision(&items);
    assert_eq!(given_up.outcome, Outcome::Unknown);
    let report = given_up.report.as_deref().expect("a report");
    assert!(report.given_up);
    assert!(report.stats.len() <= CgroupStats::MOST_CGROUPS);
    assert!(report.stats.iter().all(|stats| stats.values.len() <= CgroupStats::MOST_VALUES));
}

#[test]
fn a_group_of_any_size_is_bounded_and_counted() {
    let kill = |pid| {
        format!(
            "[ 1.0] Memory cgroup out of memory: Killed process {pid} (a) total-vm:4kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
        )
    };
    let group = "[ 1.0] Tasks in /a are going to be killed due to memory.oom.group set".to_owned();
    let mut assembler = Assembler::new();
    let mut items = assemble(&mut assembler, [kill(1), group].into_iter().chain((1..5000).map(kill)));
    items.extend(assembler.flush());
    let decision = decision(&items);
    assert_eq!((decision.members.len(), decision.members_omitted), (1024, 5000 - 2 - 1024));
}
