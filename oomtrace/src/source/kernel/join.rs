//! One decision of the OOM killer arrives as several records: paths, the decision, candidates, a mark for every victim, the end.
//! Here they become one `oom_kill` and an `oom_victim` for each mark.
//!
//! A kill is emitted when its victim is marked, before the kernel writes its report: that takes seconds on a serial console. The
//! others of a group follow as they are marked. A decision that kills nobody is emitted when its end arrives; where that cannot be
//! seen, or was lost, when the next record that is not part of it arrives, or when it is long overdue ([`Joiner::flush`]).

use std::cmp::Reverse;

use oomtrace_common::{
    layout::rung,
    record::{self, Decision, Mark},
};

use super::{
    cause,
    charges::Charges,
    decode::{Record, command_line},
    exits::Exits,
    limits,
    machine::{Machine, known, known_i32, known_u32, reported, task, text},
    paths::Paths,
    refusals::Refusals,
    signals,
    under_oom::Frozen,
};
use crate::{
    event::{Candidate, Event, Observation, OomKill, OomVictim, Victim, Why},
    probe::{Counts, Quiet},
};

/// Joins records to events.
pub struct Joiner {
    machine: Machine,
    paths: Paths,
    exits: Exits,
    charges: Charges,
    refusals: Refusals,
    frozen: Frozen,
    open: Option<Open>,
    /// What the process that is about to be marked was started as, with its id.
    command_line: Option<(u32, String)>,
}

/// A decision whose end has not come yet.
struct Open {
    number: u64,
    /// Missing where its record was lost.
    decision: Option<Box<Decision>>,
    candidates: Vec<record::Candidate>,
    /// Those that are not emitted yet.
    marks: Vec<Mark>,
    /// Whether its kill was emitted.
    emitted: bool,
    /// The kernel's own signal to the victim comes before the mark; it is emitted after the kill.
    later: Vec<Record>,
}

impl Open {
    fn new(number: u64, decision: Option<Box<Decision>>) -> Self {
        Self { number, decision, candidates: Vec::new(), marks: Vec::new(), emitted: false, later: Vec::new() }
    }
}

impl Joiner {
    /// A joiner that has seen nothing.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            paths: Paths::default(),
            exits: Exits::default(),
            charges: Charges::default(),
            refusals: Refusals::default(),
            frozen: Frozen::default(),
            open: None,
            command_line: None,
        }
    }

    /// Takes a record; gives what it completes.
    pub fn push(&mut self, record: Record) -> Vec<Observation> {
        if let (Some(open), Record::Exit(_) | Record::Signal(_) | Record::Reaping(_)) = (&mut self.open, &record)
            && !open.emitted
        {
            open.later.push(record);
            return Vec::new();
        }
        match record {
            Record::Path(path) => {
                self.paths.remember(path);
                Vec::new()
            }
            Record::Decision(decision) => {
                let number = decision.header.decision;
                let reported = self.flush();
                self.open = Some(Open::new(number, Some(decision)));
                reported
            }
            Record::Mark(mark) if mark.header.decision == 0 => {
                let mut reported = self.flush();
                reported.extend(self.tell_lone_mark(&mark));
                self.exits.mark(mark);
                reported
            }
            Record::Mark(mark) => {
                self.exits.mark(mark.clone());
                let mut reported = self.flush_unless(mark.header.decision);
                let is_kill = self.is_kill(&mark);
                let open = self.opened(mark.header.decision);
                if open.emitted {
                    // The first to be killed was the victim.
                    reported.push(self.victim(&mark, if is_kill { Why::Group } else { Why::AlreadyDying }));
                } else {
                    open.marks.push(*mark);
                    if is_kill {
                        reported.extend(self.emit_kill());
                    }
                }
                reported
            }
            Record::Candidate(candidate) => {
                let reported = self.flush_unless(candidate.header.decision);
                self.opened(candidate.header.decision).candidates.push(*candidate);
                reported
            }
            Record::Exit(exit) => self.exits.tell(&exit, &self.paths).into_iter().collect(),
            Record::Signal(signal) => signals::tell(&signal, &self.paths).into_iter().collect(),
            Record::ChargeFailure(failure) => {
                self.charges.tell(&failure, &self.paths, &self.machine).into_iter().collect()
            }
            Record::Refusal(refusal) => {
                self.refusals.note(&refusal, &self.paths, &self.machine);
                Vec::new()
            }
            Record::UnderOom(wait) => self.frozen.tell(&wait, &self.paths, &self.machine).into_iter().collect(),
            Record::Reaping(step) => self.exits.reap(&step, &self.paths).into_iter().collect(),
            Record::Alone(record) => record.to_event(&self.paths, &self.machine).into_iter().collect(),
            Record::CommandLine(line) => {
                let text = line.text.get(..line.len as usize).unwrap_or(&line.text);
                self.command_line = command_line(text).map(|text| (line.tgid, text));
                Vec::new()
            }
            Record::DecisionEnd(_) => self.flush(),
            // Facts, not events: the reader of the records keeps them.
            Record::CgroupMade(_) | Record::CgroupGone(_) => Vec::new(),
        }
    }

    /// Takes what the probes have counted by `now_ns`, `CLOCK_BOOTTIME`. Gives what there is to tell of it, and what does not
    /// need to be counted on. At the `end` of tracing that is everything.
    pub fn count(&mut self, now_ns: u64, counts: &Counts, end: bool) -> (Vec<Observation>, Quiet) {
        let (mut reported, charges) = self.charges.poll(now_ns, &counts.charges, end, &self.machine);
        let (refused, refusals) = self.refusals.poll(now_ns, &counts.refusals, counts.commit_limit_bytes, end);
        reported.extend(refused);
        reported.extend(self.frozen.poll(now_ns));
        (reported, Quiet { charges, refusals })
    }

    /// The cgroups that are frozen instead of killed, with their paths as far as these are known.
    pub fn frozen(&self) -> impl Iterator<Item = (u64, Option<&str>)> {
        self.frozen.waiting()
    }

    /// A cgroup is frozen no more, though not every end of a wait was seen.
    pub fn is_frozen_no_more(&mut self, cgroup_id: u64, now_ns: u64) {
        self.frozen.is_over(cgroup_id, now_ns);
    }

    /// The path of a cgroup, where its record came lately.
    #[must_use]
    pub fn path(&self, cgroup_id: u64) -> Option<&str> {
        self.paths.path(cgroup_id)
    }

    /// Gives what is open, as its end is missing.
    pub fn flush(&mut self) -> Vec<Observation> {
        let reported = self.emit_kill();
        self.open = None;
        reported
    }

    /// Gives the open decision with what is known of it by now; nothing where that was done.
    fn emit_kill(&mut self) -> Vec<Observation> {
        let Some(mut open) = self.open.take() else { return Vec::new() };
        if open.emitted {
            self.open = Some(open);
            return Vec::new();
        }
        let mut reported = self.tell_decision(&open);
        open.emitted = true;
        open.marks.clear();
        let later = std::mem::take(&mut open.later);
        self.open = Some(open);
        reported.extend(later.into_iter().flat_map(|record| self.push(record)));
        reported
    }

    /// Gives what is open, where that is another decision.
    fn flush_unless(&mut self, number: u64) -> Vec<Observation> {
        if self.open.as_ref().is_some_and(|open| open.number != number) { self.flush() } else { Vec::new() }
    }

    /// The open decision; one of which nothing else is known where its record was lost.
    fn opened(&mut self, number: u64) -> &mut Open {
        self.open.get_or_insert_with(|| Open::new(number, None))
    }

    /// Whether this mark is a kill. Without the signals' tracepoint, whatever a decision marks counts as killed.
    fn is_kill(&self, mark: &Mark) -> bool {
        if self.machine.sees_signals {
            mark.sigkill == 1
        } else {
            mark.header.decision != 0 || mark.rung != rung::FUNCTION
        }
    }

    fn tell_decision(&self, open: &Open) -> Vec<Observation> {
        let victim = open.marks.iter().find(|mark| self.is_kill(mark));
        let boot_ns = open.decision.as_ref().map(|decision| decision.header.boot_ns);
        let mut kill = match (&open.decision, victim) {
            (Some(decision), victim) => self.kill(decision, victim),
            (None, Some(victim)) => self.kill_without_decision(victim),
            (None, None) => return open.marks.iter().map(|mark| self.victim(mark, Why::AlreadyDying)).collect(),
        };
        kill.decision = Some(open.number);
        kill.group = open
            .decision
            .as_ref()
            .and_then(|decision| known(decision.group_cgroup_id))
            .map(|group| group != 0 && victim.is_some());
        kill.candidates = self.candidates(open);
        let event = if victim.is_some() || !self.machine.sees_marks {
            Event::OomKill(Box::new(kill))
        } else {
            Event::OomDecision(Box::new(kill))
        };
        let boot_ns = boot_ns.or(victim.map(|mark| mark.header.boot_ns)).unwrap_or(0);
        let mut reported = vec![reported(boot_ns, event)];
        reported.extend(
            open.marks
                .iter()
                .map(|mark| self.victim(mark, if self.is_kill(mark) { Why::Killed } else { Why::AlreadyDying })),
        );
        reported
    }

    fn candidates(&self, open: &Open) -> Option<Vec<Candidate>> {
        known_u32(open.decision.as_ref()?.weighed)?;
        let mut candidates: Vec<_> = open
            .candidates
            .iter()
            .map(|candidate| Candidate {
                task: task(&candidate.task, self.paths.path(candidate.task.cgroup_id)),
                memory: self.machine.memory(&candidate.memory),
                points: Some(candidate.points),
            })
            .collect();
        candidates.sort_by_key(|candidate| Reverse(candidate.points));
        Some(candidates)
    }

    /// A mark outside of `oom_kill_process`, or where that cannot be seen.
    fn tell_lone_mark(&self, mark: &Mark) -> Vec<Observation> {
        if !self.is_kill(mark) {
            return vec![self.victim(mark, Why::AlreadyDying)];
        }
        let kill = Event::OomKill(Box::new(self.kill_without_decision(mark)));
        vec![reported(mark.header.boot_ns, kill), self.victim(mark, Why::Killed)]
    }

    fn victim(&self, mark: &Mark, why: Why) -> Observation {
        let task = task(&mark.task, self.paths.path(mark.task.cgroup_id));
        let victim = OomVictim {
            why,
            decision: (mark.header.decision != 0).then_some(mark.header.decision),
            pod: task.pod.clone(),
            container: task.container.clone(),
            cgroup: self.paths.cgroup(mark.task.cgroup_id),
            memory: self.machine.memory(&mark.memory),
            task,
        };
        reported(mark.header.boot_ns, Event::OomVictim(Box::new(victim)))
    }

    /// The decision, with the victim as it was marked: that is the thread whose memory the kernel reports.
    fn kill(&self, decision: &Decision, mark: Option<&Mark>) -> OomKill {
        let (who, memory) = mark.map_or((&decision.victim, &decision.memory), |mark| (&mark.task, &mark.memory));
        let victim = task(who, self.paths.path(who.cgroup_id));
        OomKill {
            known_by: None,
            time_unknown: false,
            decision: Some(decision.header.decision),
            pod: victim.pod.clone(),
            container: victim.container.clone(),
            cgroup: self.paths.cgroup(who.cgroup_id),
            trigger: task(&decision.trigger, self.paths.path(decision.trigger.cgroup_id)),
            victim: Victim {
                task: victim,
                memory: self.machine.memory(memory),
                points: known(decision.points).map(u64::cast_signed),
                command_line: self.command_line(who.tgid),
            },
            cause: Some(cause::of(decision, &self.paths)),
            limit: known(decision.limit_cgroup_id).map(|id| {
                limits::of(id, &decision.counters, self.machine.bytes(decision.total_pages), &self.paths, &self.machine)
            }),
            constraint: known_u32(decision.constraint).map(constraint),
            nodemask: None,
            cpuset: None,
            mems_allowed: None,
            memory_nodes: Vec::new(),
            cgroup_memory: None,
            order: known_i32(decision.order),
            gfp: known_u32(decision.gfp_mask).map(|mask| self.machine.gfp_flags.describe(mask.into())),
            gfp_mask: known_u32(decision.gfp_mask),
            message: text(&decision.message),
            group: None,
            members: Vec::new(),
            members_omitted: 0,
            candidates_weighed: known_u32(decision.weighed),
            candidates: None,
            candidates_omitted: 0,
            containers_charged: None,
        }
    }

    /// The limit of a cgroup, or with id 0 the node's.
    fn command_line(&self, tgid: u32) -> Option<String> {
        self.command_line.as_ref().filter(|(of, _)| *of == tgid).map(|(_, line)| line.clone())
    }

    fn kill_without_decision(&self, mark: &Mark) -> OomKill {
        let victim = task(&mark.task, self.paths.path(mark.task.cgroup_id));
        OomKill {
            known_by: None,
            time_unknown: false,
            decision: None,
            pod: victim.pod.clone(),
            container: victim.container.clone(),
            cgroup: self.paths.cgroup(mark.task.cgroup_id),
            trigger: task(&mark.trigger, self.paths.path(mark.trigger.cgroup_id)),
            victim: Victim {
                task: victim,
                memory: self.machine.memory(&mark.memory),
                points: None,
                command_line: self.command_line(mark.task.tgid),
            },
            ..OomKill::default()
        }
    }
}

/// `enum oom_constraint`, `include/linux/oom.h`, without its prefix.
fn constraint(value: u32) -> String {
    match value {
        0 => "NONE".to_owned(),
        1 => "CPUSET".to_owned(),
        2 => "MEMORY_POLICY".to_owned(),
        3 => "MEMCG".to_owned(),
        unknown => unknown.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use oomtrace_common::record::{ABSENT, DecisionEnd, Exit, Task};

    use super::*;
    use crate::source::kernel::machine::tests::machine;

    fn joiner() -> Joiner {
        Joiner::new(machine())
    }

    fn who(tgid: u32) -> Task {
        Task { tid: tgid, tgid, cgroup_id: ABSENT, ..Task::zeroed() }
    }

    fn decision(number: u64, victim: u32) -> Record {
        let mut decision = Box::new(Decision::zeroed());
        decision.header.decision = number;
        decision.victim = who(victim);
        Record::Decision(decision)
    }

    fn mark(number: u64, tgid: u32, sigkill: bool) -> Record {
        let mut mark = Box::new(Mark::zeroed());
        mark.header.decision = number;
        mark.task = who(tgid);
        mark.sigkill = u32::from(sigkill);
        mark.rung = rung::FUNCTION;
        Record::Mark(mark)
    }

    fn end(number: u64) -> Record {
        let mut end = DecisionEnd::zeroed();
        end.header.decision = number;
        Record::DecisionEnd(end)
    }

    /// The events that records make, in short; what is still open at their end is flushed.
    fn reported(records: Vec<Record>) -> Vec<String> {
        let mut joiner = joiner();
        let mut reported: Vec<_> = records.into_iter().flat_map(|record| joiner.push(record)).collect();
        reported.extend(joiner.flush());
        in_short(reported)
    }

    fn in_short(reported: Vec<Observation>) -> Vec<String> {
        reported
            .into_iter()
            .map(|reported| match reported.event {
                Event::OomKill(kill) => {
                    let group = if kill.group == Some(true) { " of a group" } else { "" };
                    format!("kill {}{group} limit {}", kill.victim.task.tgid.unwrap_or(0), kill.limit.is_some())
                }
                Event::OomDecision(kill) => format!("decision {}", kill.victim.task.tgid.unwrap_or(0)),
                Event::OomVictim(victim) => format!("victim {} {:?}", victim.task.tgid.unwrap_or(0), victim.why),
                Event::ProcessExit(exit) => {
                    let tgid = exit.task.tgid.unwrap_or(0);
                    format!("exit {tgid} signal {:?} after {:?} ms", exit.signal, exit.since_mark_ms)
                }
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_decision_with_its_mark_and_end_is_one_kill_and_one_victim() {
        let records = vec![decision(1, 10), mark(1, 10, true), end(1)];
        assert_eq!(reported(records), ["kill 10 limit true", "victim 10 Killed"]);
    }

    #[test]
    fn a_kill_is_reported_at_its_mark_and_the_others_of_its_group_as_they_follow() {
        let mut joiner = joiner();
        let Record::Decision(mut first) = decision(1, 10) else { unreachable!("it is one") };
        first.group_cgroup_id = 42;
        let mut pushed = |record| in_short(joiner.push(record));
        assert!(pushed(Record::Decision(first)).is_empty());
        assert_eq!(pushed(mark(1, 10, true)), ["kill 10 of a group limit true", "victim 10 Killed"]);
        assert_eq!(pushed(mark(1, 11, true)), ["victim 11 Group"]);
        assert_eq!(pushed(mark(1, 12, false)), ["victim 12 AlreadyDying"]);
        assert!(pushed(end(1)).is_empty());
        assert!(pushed(decision(2, 20)).is_empty(), "nothing is emitted twice");
    }

    #[test]
    fn a_group_is_known_before_any_of_its_members_is_killed() {
        let group_of = |id| {
            let mut joiner = joiner();
            let Record::Decision(mut first) = decision(1, 10) else { unreachable!("it is one") };
            first.group_cgroup_id = id;
            joiner.push(Record::Decision(first));
            match joiner.push(mark(1, 10, true)).into_iter().next().map(|reported| reported.event) {
                Some(Event::OomKill(kill)) => kill.group,
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!([group_of(0), group_of(42), group_of(ABSENT)], [Some(false), Some(true), None]);
    }

    #[test]
    fn a_mark_of_a_dying_task_is_never_a_kill_inside_a_decision_or_outside() {
        assert_eq!(
            reported(vec![decision(1, 10), mark(1, 10, false), end(1)]),
            ["decision 10", "victim 10 AlreadyDying"]
        );
        assert_eq!(reported(vec![mark(0, 10, false)]), ["victim 10 AlreadyDying"]);
    }

    #[test]
    fn a_decision_whose_victim_had_gone_killed_nobody() {
        assert_eq!(reported(vec![decision(1, 10), end(1)]), ["decision 10"]);
    }

    #[test]
    fn a_lost_end_or_decision_costs_no_kill_and_mixes_none_up() {
        let without_end = vec![decision(1, 10), mark(1, 10, true), decision(2, 20), mark(2, 20, true), end(2)];
        let both = ["kill 10 limit true", "victim 10 Killed", "kill 20 limit true", "victim 20 Killed"];
        assert_eq!(reported(without_end), both);
        let without_decision = vec![decision(1, 10), mark(1, 10, true), mark(2, 20, true), end(2)];
        assert_eq!(
            reported(without_decision),
            ["kill 10 limit true", "victim 10 Killed", "kill 20 limit false", "victim 20 Killed"]
        );
    }

    #[test]
    fn a_victim_that_ends_before_the_kernel_is_done_is_reported_after_its_kill_and_once() {
        let exit = || {
            let mut exit = Box::new(Exit::zeroed());
            exit.header.boot_ns = 5_500_000;
            exit.task = Task { oom_marked: 1, ..who(10) };
            exit.code = 9;
            Record::Exit(exit)
        };
        let records = vec![decision(1, 10), mark(1, 10, true), exit(), exit(), end(1), exit()];
        assert_eq!(
            reported(records),
            ["kill 10 limit true", "victim 10 Killed", "exit 10 signal Some(\"SIGKILL\") after Some(5.5) ms"]
        );
    }

    #[test]
    fn candidates_are_reported_most_points_first() {
        let candidate = |tgid, points| {
            let mut candidate = Box::new(record::Candidate::zeroed());
            candidate.header.decision = 1;
            candidate.task = who(tgid);
            candidate.points = points;
            Record::Candidate(candidate)
        };
        let mut joiner = joiner();
        let records = [decision(1, 10), candidate(11, 5), candidate(10, 90), mark(1, 10, true), end(1)];
        let reported: Vec<_> = records.into_iter().flat_map(|record| joiner.push(record)).collect();
        let Some(Observation { event: Event::OomKill(kill), .. }) = reported.first() else {
            unreachable!("{reported:?}")
        };
        let points: Vec<_> = kill.candidates.iter().flatten().map(|candidate| candidate.points).collect();
        assert_eq!(points, [Some(90), Some(5)]);
    }

    #[test]
    fn a_kill_of_which_only_the_mark_is_seen_is_reported_without_a_limit() {
        assert_eq!(reported(vec![mark(0, 10, true)]), ["kill 10 limit false", "victim 10 Killed"]);
    }
}
