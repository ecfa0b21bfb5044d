//! A node's lines, sorted out: kills, ends, evictions, signals and refusals, each with who it is about.

mod evictions;
mod noticed;
pub(super) mod unkillable;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use oomtrace_model::{
    AllocationRefused, Container, ContainerAction, ContainerChange, ContainerId, ContainerRole, Event, Eviction,
    EvictionPhase, Line, OomKill, OutOfMemoryLog, PanicOnOom, Pod, SenderRole, Signal, Source, UnderOom,
    snapshot::EndRecord,
};

use self::unkillable::{LeftAlone, Unkillable};
use super::{
    Kept, Node,
    digested::Digested,
    fold::Fold,
    groups::killed_in,
    names::{Names, PodKey},
    windows::{EVICTION, HEARD_BEFORE, KILL_REASON_TO_END, NOTICED, SAME_KILL, SECOND, SIGKILL_TO_END, SIGTERM_TO_END},
};

/// A line and its time.
pub(super) type At = (i64, Arc<Digested>);

/// A decision of the kernel's OOM killer, reported by one source or by several.
pub(super) struct Kill {
    pub(super) at: i64,
    pub(super) pod: Option<PodKey>,
    pub(super) container: Option<ContainerId>,
    /// What the sources say together.
    pub(super) reported: OomKill,
    pub(super) lines: Vec<At>,
    /// How many later kills of its chain it stands for, whose lines were let go of.
    pub(super) more: u64,
    /// The time of the last of these; its own, without.
    pub(super) until: i64,
}

impl Kill {
    /// It stands for others that were let go of.
    pub(super) fn stands_for(&mut self, fold: &Fold) {
        self.more = fold.kills();
        self.until = self.until.max(fold.last_kill);
    }

    /// Whether the limit is that of another container than the one it was killed in: of one around the whole node, as of kind,
    /// k3d and minikube.
    pub(super) fn hit_limit_around(&self) -> bool {
        let limited = self.reported.limit.as_ref().and_then(|limit| limit.container.as_ref()?.id.as_ref());
        limited.is_some_and(|limited| self.container.as_ref().is_some_and(|container| container != limited))
    }
}

/// The end of a container.
pub(super) struct Death {
    pub(super) at: i64,
    pub(super) pod: Option<PodKey>,
    pub(super) container: Option<ContainerId>,
    /// The container's name, where the line has it.
    pub(super) name: Option<String>,
    pub(super) exit_code: Option<i32>,
    /// Whether the OOM killer had marked its first process.
    pub(super) oom_victim: bool,
    /// Whether it is a pod's sandbox.
    pub(super) sandbox: bool,
    /// How its first process ended, where the kernel was watched.
    pub(super) exit: Option<FirstExit>,
    /// The kubelet had just been started then, and looked for the first time: the container may have ended any time before.
    pub(super) by_start: Option<i64>,
    pub(super) lines: Vec<At>,
}

/// How a container's first process ended, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstExit {
    /// It exited by itself, with the status that is the container's exit code.
    Status,
    /// A signal ended it.
    Signal,
}

/// A pod that the kubelet evicted.
pub(super) struct Evicted {
    /// When the kubelet chose it.
    pub(super) at: i64,
    /// When it began to end its containers: when it said so, or the choice.
    pub(super) ending: i64,
    pub(super) pod: PodKey,
    pub(super) memory: Option<bool>,
    pub(super) lines: Vec<At>,
    /// What was said about the node in the same pass.
    pub(super) pass: Vec<At>,
}

/// Something that was done to a container: a signal, a probe that failed, the kubelet's telling it to end.
pub(super) struct Cause<T> {
    pub(super) at: i64,
    pub(super) pod: Option<PodKey>,
    pub(super) container: Option<ContainerId>,
    pub(super) what: T,
    pub(super) line: Arc<Digested>,
}

/// All of it, each in the order of time.
#[derive(Default)]
pub(super) struct Evidence {
    pub(super) kills: Vec<Kill>,
    /// Where the kills of a process id are, while they are added.
    by_process: BTreeMap<u32, Vec<usize>>,
    pub(super) deaths: Vec<Death>,
    /// Where the end of a container is.
    ended: BTreeMap<ContainerId, usize>,
    pub(super) evicted: Vec<Evicted>,
    /// What the kubelet's counter of evictions went up by.
    pub(super) counted: Vec<(i64, Eviction)>,
    /// When the kubelet said that the node is short of disk space.
    pub(super) disk_pressure: Vec<i64>,
    pub(super) signals: Vec<Cause<Signal>>,
    pub(super) refusals: Vec<Cause<AllocationRefused>>,
    /// What containers' own logs say of memory that ran out.
    pub(super) logs: Vec<Cause<OutOfMemoryLog>>,
    pub(super) frozen: Vec<Cause<UnderOom>>,
    /// Limits that were hit with nobody to kill.
    pub(super) unkillable: Vec<Cause<LeftAlone>>,
    pub(super) panics: Vec<Cause<PanicOnOom>>,
    changes: Vec<Cause<ContainerChange>>,
    /// Ends that a status calls `OOMKilled`, of containers whose ids it does not have.
    unnamed_kills: Vec<Cause<ContainerChange>>,
    changes_by_pod: BTreeMap<PodKey, Vec<usize>>,
    /// Kills at limits of cgroup v1 above a container's, each with the pod whose limit it is, if it is one's.
    above: Vec<(i64, Option<PodKey>)>,
    /// Kills that were reported long ago, in containers that lived on.
    killed_before: BTreeMap<ContainerId, Arc<Digested>>,
    /// The ends of containers as Kubernetes shows them: as the kubelet reports them, or the runtime reported it.
    shown: BTreeMap<ContainerId, EndRecord>,
    /// Containers whose ends only the runtime has reported of.
    runtimes_word: BTreeSet<ContainerId>,
    /// Charge failures and readings of memory.
    pub(super) pictures: Vec<Cause<()>>,
    /// What containers request, where a reading of their memory has it.
    pub(super) requests: BTreeMap<ContainerId, u64>,
    pub(super) system_ooms: Vec<At>,
    /// The time of the last line from the kubelet: what it has not noticed by then, it may notice yet.
    pub(super) kubelet_until: Option<i64>,
    /// The time of the first one.
    pub(super) kubelet_from: Option<i64>,
}

impl Evidence {
    /// Sorts lines out that are in the order of time.
    pub(super) fn of(lines: &[Kept], names: &Names<'_>, node: &Node) -> Self {
        let heard = node.heard;
        let mut evidence = Self { kubelet_from: heard.from, kubelet_until: heard.until, ..Self::default() };
        let lessons = lines.iter().filter(|kept| kept.lesson);
        let killed = lessons.filter_map(|kept| Some((killed_in(&kept.line.event)?.clone(), Arc::clone(&kept.line))));
        evidence.killed_before = killed.collect();
        evidence.above = lines.iter().filter_map(|kept| noticed::above(kept, names)).collect();
        let mut steps: Vec<(i64, &Eviction, &Arc<Digested>)> = Vec::new();
        for Kept { at, line, .. } in lines.iter().filter(|kept| !kept.lesson) {
            let at = *at;
            if let Some(unkillable) = Unkillable::of(&line.event) {
                let left_alone = LeftAlone::of(&unkillable, line, at);
                evidence.unkillable.push(cause(at, line, names, unkillable.place(), left_alone));
            }
            match &line.event {
                Event::OomKill(kill) => evidence.add_kill(at, kill, line, names),
                Event::ProcessExit(exit) => {
                    let container = exit.container.as_ref().and_then(|container| container.id.clone());
                    let Some(code) = exit.container_exit_code else { continue };
                    let role = exit.container.as_ref().and_then(|container| container.role);
                    evidence.add_death(Death {
                        pod: names.key(exit.pod.as_ref(), container.as_ref(), at),
                        exit_code: Some(code.into()),
                        oom_victim: exit.oom_victim,
                        sandbox: is_sandbox(container.as_ref(), role, names),
                        exit: Some(if exit.signal.is_some() { FirstExit::Signal } else { FirstExit::Status }),
                        ..Death::new(at, container, line)
                    });
                }
                Event::Signal(signal) => {
                    evidence.signals.push(cause(at, line, names, (&signal.pod, &signal.container), (**signal).clone()));
                }
                Event::AllocationRefused(refused) => {
                    let place = (&refused.pod, &refused.container);
                    evidence.refusals.push(cause(at, line, names, place, (**refused).clone()));
                }
                Event::OutOfMemoryLog(log) => {
                    evidence.logs.push(cause(at, line, names, (&log.pod, &log.container), (**log).clone()));
                }
                Event::UnderOom(frozen) => {
                    evidence.frozen.push(cause(at, line, names, (&frozen.pod, &frozen.container), (**frozen).clone()));
                }
                Event::PanicOnOom(panic) => {
                    evidence.panics.push(cause(at, line, names, (&panic.pod, &panic.container), (**panic).clone()));
                }
                Event::Container(change) => evidence.add_change(at, change, line, names),
                Event::ChargeFailures(failures) => {
                    // The line comes at the end of a second, what it reports was before.
                    let at = super::in_line(line, at, &failures.last_ts).map_or(at, |last| last.min(at));
                    evidence.pictures.push(cause(at, line, names, (&failures.pod, &failures.container), ()));
                }
                Event::Pressure(pressure) => {
                    let id = pressure.container.as_ref().and_then(|container| container.id.clone());
                    evidence.requests.extend(id.zip(pressure.request_bytes));
                    evidence.pictures.push(cause(at, line, names, (&pressure.pod, &pressure.container), ()));
                }
                Event::Eviction(eviction) if eviction.phase == EvictionPhase::Counted => {
                    evidence.counted.push((at, (**eviction).clone()));
                }
                Event::Eviction(eviction) => {
                    if eviction.node_conditions.iter().any(|condition| condition == "DiskPressure") {
                        evidence.disk_pressure.push(at);
                    }
                    steps.push((at, eviction, line));
                }
                Event::SystemOom(_) => evidence.system_ooms.push((at, Arc::clone(line))),
                _ => {}
            }
        }
        evidence.evicted = evictions::evicted(&steps, names);
        let of_kubelet = |death: &Death| death.lines.iter().all(|(_, line)| line.source == Source::Kubelet);
        for death in evidence.deaths.iter_mut().filter(|death| of_kubelet(death)) {
            let started = node.thresholds.started(death.at);
            death.by_start = started.filter(|started| death.at - started <= NOTICED);
        }
        for (index, change) in evidence.changes.iter().enumerate() {
            if let Some(pod) = &change.pod {
                evidence.changes_by_pod.entry(pod.clone()).or_default().push(index);
            }
        }
        evidence.begin_evictions();
        evidence.add_noticed(names);
        evidence
    }

    /// Takes in what became of a container.
    fn add_change(&mut self, at: i64, change: &ContainerChange, line: &Arc<Digested>, names: &Names<'_>) {
        let container = change.container.as_ref().and_then(|container| container.id.clone());
        if let (ContainerAction::Died | ContainerAction::Reported, Some(id), Some(_)) =
            (change.action, &container, &change.reason)
        {
            let (exit_code, reason) = (change.exit_code, change.reason.clone());
            let end = EndRecord { exit_code, reason, ended: None, finished: None };
            if line.source != Source::Cri {
                self.runtimes_word.remove(id);
            } else if !self.shown.contains_key(id) {
                self.runtimes_word.insert(id.clone());
            }
            self.shown.entry(id.clone()).or_insert(end);
        }
        let place = (&change.pod, &change.container);
        if change.action != ContainerAction::Died {
            self.changes.push(cause(at, line, names, place, change.clone()));
        } else if container.is_none() && change.reason.as_deref() == Some("OOMKilled") {
            self.unnamed_kills.push(cause(at, line, names, place, change.clone()));
        } else {
            let role = change.container.as_ref().and_then(|container| container.role);
            self.add_death(Death {
                pod: names.key(change.pod.as_ref(), container.as_ref(), at),
                name: change.container.as_ref().and_then(|container| container.name.clone()),
                exit_code: change.exit_code,
                sandbox: change.sandbox == Some(true) || is_sandbox(container.as_ref(), role, names),
                ..Death::new(at, container, line)
            });
        }
    }

    /// An eviction that no pass ranked pods for begins when the kubelet tells the pod's containers to end, as far as it has no
    /// other reason for that: it says that the pod is evicted when they have ended (`evictPod`, `eviction_manager.go`).
    fn begin_evictions(&mut self) {
        let began: Vec<_> = self.evicted.iter().map(|evicted| self.began(evicted)).collect();
        for (evicted, began) in self.evicted.iter_mut().zip(began) {
            evicted.at = evicted.at.min(began.unwrap_or(evicted.at));
        }
    }

    fn began(&self, evicted: &Evicted) -> Option<i64> {
        let reported = self.changes_of(&evicted.pod).filter(|change| {
            let takes = grace(change).unwrap_or(0).saturating_add(NOTICED).min(EVICTION);
            change.what.action == ContainerAction::Killing
                && matches!(change.what.reason.as_deref(), None | Some("Evicted"))
                && (evicted.ending - takes..=evicted.ending).contains(&change.at)
        });
        reported.map(|change| change.at).min().filter(|_| evicted.pass.is_empty())
    }

    /// How Kubernetes shows the end of a container, as the kubelet or the runtime reported.
    pub(super) fn shown(&self, id: &ContainerId) -> Option<&EndRecord> {
        self.shown.get(id)
    }

    /// Whether only the runtime says how a container ended: of a pod that is deleted Kubernetes may never show it.
    pub(super) fn only_runtime_says(&self, id: &ContainerId, names: &Names<'_>) -> bool {
        self.runtimes_word.contains(id) && names.end_reason(id).is_none()
    }

    /// What was said of a pod's containers beside their ends, in the order of time.
    pub(super) fn changes_of<'a>(
        &'a self,
        pod: &PodKey,
    ) -> impl DoubleEndedIterator<Item = &'a Cause<ContainerChange>> {
        self.changes_by_pod.get(pod).into_iter().flatten().filter_map(|index| self.changes.get(*index))
    }

    /// The end of a container.
    pub(super) fn death_of(&self, id: &ContainerId) -> Option<&Death> {
        self.ended.get(id).and_then(|index| self.deaths.get(*index))
    }

    /// What was killed for memory, and when, in a container that outlived it.
    pub(super) fn killed_before(&self, death: &Death) -> Option<(&str, &str)> {
        let id = death.container.as_ref()?;
        let same = || self.kills.iter().find(|kill| kill.container.as_ref() == Some(id) && kill.at < death.at);
        let line = self.killed_before.get(id).or_else(|| Some(&same()?.lines.first()?.1))?;
        let comm = match &line.event {
            Event::OomKill(kill) => kill.victim.task.comm.as_deref(),
            _ => None,
        };
        Some((comm.unwrap_or("a process"), &line.ts))
    }

    /// Whether a container ended by a kill that was reported, and whose line was let go of.
    pub(super) fn ended_by_kill_before(&self, death: &Death) -> bool {
        let line = death.container.as_ref().and_then(|id| self.killed_before.get(id));
        let at = line.and_then(|line| super::nanoseconds(&line.ts));
        at.is_some_and(|at| (at - SECOND..=at + NOTICED).contains(&death.at)) && death.exit_code == Some(137)
    }

    /// Whether Kubernetes calls a container's end `OOMKilled`, as its status or the kubelet's log says. Runtimes do so of every
    /// container in whose cgroup the kernel killed at any time, however it ended at last (containerd's
    /// `internal/cri/server/events.go`, `TaskOOM`).
    pub(super) fn is_shown_as_oom(&self, id: &ContainerId, names: &Names<'_>) -> bool {
        let shown = self.shown(id).and_then(|end| end.reason.as_deref());
        shown.or_else(|| names.end_reason(id)) == Some("OOMKilled")
    }

    /// What the kubelet said whenever it reported this container to end.
    pub(super) fn killings(&self, death: &Death) -> impl Iterator<Item = &Cause<ContainerChange>> {
        let changes = death.pod.iter().flat_map(|pod| self.changes_of(pod));
        changes.filter(|change| change.what.action == ContainerAction::Killing && change.container == death.container)
    }

    /// The same, as far as it may have led to the end.
    fn killings_to_end(&self, death: &Death) -> impl Iterator<Item = &Cause<ContainerChange>> {
        self.killings(death).filter(|reported| {
            let takes = KILL_REASON_TO_END.max(grace(reported).unwrap_or(0).saturating_add(SECOND));
            (death.at.saturating_sub(takes)..=death.at + SECOND).contains(&reported.at)
        })
    }

    /// Whether the kubelet reported this container to end.
    pub(super) fn was_reported_to_end(&self, death: &Death) -> bool {
        self.killings_to_end(death).next().is_some()
    }

    /// Whether it ended because it was asked to, by the kubelet or by a signal: by itself, or by SIGKILL when its time was up.
    fn ended_as_reported(&self, death: &Death) -> bool {
        let by_kubelet = match death.exit_code {
            Some(137) => self
                .killings_to_end(death)
                .any(|reported| grace(reported).is_some_and(|grace| death.at - reported.at >= grace - SECOND)),
            code => code.is_some() && self.was_reported_to_end(death),
        };
        by_kubelet
            || self.signals_from_outside(death).any(|signal| {
                let takes = if signal.what.signal == "SIGKILL" { SIGKILL_TO_END } else { SIGTERM_TO_END };
                death.at - signal.at <= takes
            })
    }

    /// SIGKILL and SIGTERM to a container's first process before its end, but from the kernel and from the container itself.
    pub(super) fn signals_from_outside(&self, death: &Death) -> impl Iterator<Item = &Cause<Signal>> {
        self.signals.iter().filter(|signal| {
            !matches!(signal.what.sender.role, SenderRole::Kernel | SenderRole::SameContainer)
                && matches!(signal.what.signal.as_str(), "SIGKILL" | "SIGTERM")
                && signal.what.target.container_init == Some(true)
                && signal.container.is_some()
                && signal.container == death.container
                && signal.at <= death.at
        })
    }

    fn add_kill(&mut self, at: i64, kill: &OomKill, line: &Arc<Digested>, names: &Names<'_>) {
        let container = kill.container.as_ref().and_then(|container| container.id.clone());
        let pod = names.key(kill.pod.as_ref(), container.as_ref(), at);
        let of_process = process(kill).and_then(|pid| self.by_process.get(&pid)).into_iter().flatten();
        let same = of_process.rev().copied().find(|index| {
            self.kills.get(*index).is_some_and(|other| {
                at - other.at <= SAME_KILL
                    && other.reported.victim.task.comm == kill.victim.task.comm
                    && agree(other.container.as_ref(), container.as_ref())
            })
        });
        if let Some(other) = same.and_then(|index| self.kills.get_mut(index)) {
            other.reported = merged(&other.reported, kill, line.source == Source::Kernel);
            other.pod = other.pod.take().or(pod);
            other.container = other.container.take().or(container);
            other.lines.push((at, Arc::clone(line)));
        } else {
            let lines = vec![(at, Arc::clone(line))];
            if let Some(pid) = process(kill) {
                self.by_process.entry(pid).or_default().push(self.kills.len());
            }
            self.kills.push(Kill { at, pod, container, reported: kill.clone(), lines, more: 0, until: at });
        }
    }

    fn add_death(&mut self, death: Death) {
        // A container ends once: its next start has another id.
        let known = death.container.as_ref().and_then(|id| self.ended.get(id));
        if let Some(known) = known.and_then(|index| self.deaths.get_mut(*index)) {
            let Death { at: _, pod, container: _, name: _, exit_code, oom_victim, sandbox, exit, by_start: _, lines } =
                death;
            known.exit_code = known.exit_code.or(exit_code);
            known.oom_victim |= oom_victim;
            known.sandbox |= sandbox;
            known.exit = known.exit.or(exit);
            known.pod = known.pod.take().or(pod);
            known.lines.extend(lines);
            return;
        }
        if let Some(id) = &death.container {
            self.ended.insert(id.clone(), self.deaths.len());
        }
        self.deaths.push(death);
    }

    /// The kubelet was listened to between these, too.
    pub(super) fn kubelet_spoke(&mut self, first: Timestamp, last: Timestamp) {
        let nanoseconds = |at: Timestamp| i64::try_from(at.as_nanosecond()).ok();
        let (first, last) = (nanoseconds(first), nanoseconds(last));
        self.kubelet_from = self.kubelet_from.into_iter().chain(first).min();
        self.kubelet_until = self.kubelet_until.max(last);
    }

    /// Whether nothing that the kubelet said of this container's end can be missing: it noticed the end, and was listened to
    /// since long before, or since the container was started.
    pub(super) fn kubelet_heard_all(&self, death: &Death, names: &Names<'_>) -> bool {
        let noticed = death.lines.iter().any(|(_, line)| line.source == Source::Kubelet);
        let started = death.container.as_ref().and_then(|id| names.container(id)?.started);
        let since = started.unwrap_or(death.at - HEARD_BEFORE).max(death.at - HEARD_BEFORE);
        noticed && self.kubelet_from.is_some_and(|from| from <= since)
    }

    /// Whether the kubelet was listened to from a time on and for so long.
    pub(super) fn kubelet_covers(&self, from: i64, span: i64) -> bool {
        self.kubelet_from.is_some_and(|first| first <= from)
            && self.kubelet_until.is_some_and(|last| last >= from + span)
    }
}

/// Whether a container is a pod's sandbox.
fn is_sandbox(id: Option<&ContainerId>, role: Option<ContainerRole>, names: &Names<'_>) -> bool {
    role == Some(ContainerRole::Sandbox) || id.is_some_and(|id| names.is_sandbox(id))
}

impl Death {
    /// An end of which nothing more is known.
    fn new(at: i64, container: Option<ContainerId>, line: &Arc<Digested>) -> Self {
        Self {
            at,
            pod: None,
            container,
            name: None,
            exit_code: None,
            oom_victim: false,
            sandbox: false,
            exit: None,
            by_start: None,
            lines: vec![(at, Arc::clone(line))],
        }
    }

    /// Whether the kubelet found it ended when it was started, and nothing tells that it had run shortly before: each start of
    /// the kubelet tells anew of all containers that the runtime has not removed yet, some of them of a former boot.
    pub(super) fn is_old(&self, names: &Names<'_>) -> bool {
        let Some(start) = self.by_start else { return false };
        let seen = self.container.as_ref().and_then(|id| names.container(id));
        seen.is_none_or(|seen| seen.started.is_none_or(|started| started >= start))
    }
}

/// Whether a time stands for one that is not known: at the start of 1970.
pub(super) fn is_before_all(at: i64) -> bool {
    (0..SECOND).contains(&at)
}

/// How long a container has to end, nanoseconds.
fn grace(killing: &Cause<ContainerChange>) -> Option<i64> {
    i64::try_from(killing.what.grace_period_ms?).ok()?.checked_mul(SECOND / 1000)
}

fn cause<T>(
    at: i64,
    line: &Arc<Digested>,
    names: &Names<'_>,
    (pod, container): (&Option<Pod>, &Option<Container>),
    what: T,
) -> Cause<T> {
    let container = container.as_ref().and_then(|container| container.id.clone());
    Cause { at, pod: names.key(pod.as_ref(), container.as_ref(), at), container, what, line: Arc::clone(line) }
}

/// The victim's process id: the log has one id only.
fn process(kill: &OomKill) -> Option<u32> {
    kill.victim.task.tgid.or(kill.victim.task.pid)
}

/// What the kernel decided, where a line tells that.
fn as_kill(line: &Line) -> Option<&OomKill> {
    if let Event::OomKill(kill) = &line.event { Some(kill) } else { None }
}

fn agree<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// What two tellings of a kill say together: the better one's word, and the other's where it has none. The probes know
/// more than the log, and a report more than its last line.
fn merged(first: &OomKill, second: &OomKill, second_by_probes: bool) -> OomKill {
    let second_is_better = second_by_probes || first.limit.is_none() && second.limit.is_some();
    let (better, other) = if second_is_better { (second, first) } else { (first, second) };
    let mut kill = better.clone();
    kill.pod = kill.pod.or_else(|| other.pod.clone());
    kill.container = kill.container.or_else(|| other.container.clone());
    kill.cgroup = kill.cgroup.or_else(|| other.cgroup.clone());
    kill.limit = kill.limit.or_else(|| other.limit.clone());
    kill.constraint = kill.constraint.or_else(|| other.constraint.clone());
    kill.message = kill.message.or_else(|| other.message.clone());
    kill.group = match (kill.group, other.group) {
        (Some(a), Some(b)) => Some(a || b),
        (a, b) => a.or(b),
    };
    if kill.members.is_empty() {
        kill.members.clone_from(&other.members);
    }
    kill.candidates = kill.candidates.or_else(|| other.candidates.clone());
    kill
}
