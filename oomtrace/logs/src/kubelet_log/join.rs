//! What the lines say together: events, with what a line lacks taken from its neighbours.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};
use oomtrace_model::{
    Container, ContainerAction as Action, ContainerChange, ContainerId, Event, Eviction, EvictionPhase, Moment,
    NOTICED, Observation, Pod, Signal, Source, SystemOom, bounded::Bounded,
};

use super::{
    container::{self, Ended, Said},
    eviction,
    klog::Message,
    names::Names,
    pass::Pass,
};

/// A death is reported by two goroutines, milliseconds apart in either order; a second is for a node that is out of breath.
const HELD: Duration = Duration::from_secs(2);
/// A kill is noticed at once, unless it was before the kubelet was started.
const NOTICED_LATE: SignedDuration = SignedDuration::from_secs(5);
/// So much may the times of one kill differ that a kubelet logs more than once.
const SAME_KILL: SignedDuration = SignedDuration::from_secs(10);
/// Deaths that wait for their other half.
const DYING: usize = 256;
/// How much of what was reported is remembered, so that it is reported once.
const REMEMBERED: usize = 4096;

/// Makes events of messages, in their order.
pub(super) struct Joiner {
    names: Names,
    pass: Pass,
    dying: VecDeque<Dying>,
    /// Containers that are to end with another grace period than their own, and perhaps reported once more.
    overridden: VecDeque<(Timestamp, ContainerChange)>,
    /// The container whose start was killed last: the next error of its pod's has its names.
    start_killed: Option<(Timestamp, ContainerId)>,
    /// OOMs of any limit, each of which a pod's status may tell better.
    ooms: VecDeque<(Timestamp, SystemOom)>,
    /// When processes were killed, by pid and name.
    killed: Bounded<(u32, Option<String>), Timestamp>,
    /// Whether this kubelet tells exit codes (from 1.22 to 1.25 on, depending on the patch): then a death without one is a
    /// sandbox's.
    logs_exit_codes: bool,
    /// Why containers will be killed, by what is known of them.
    reasons: Bounded<Key, String>,
    /// Pods that are to go, and why.
    leaving: Bounded<(Option<String>, Option<String>), &'static str>,
    /// Why pods had to go for a critical one, the last time.
    preempting: Option<String>,
    reported: Bounded<(ContainerId, Option<String>, Option<i32>), ()>,
    /// OOMs that conmon noticed, in containers of whose id only the start is known.
    conmon: VecDeque<(Timestamp, String)>,
    /// The latest evictions and refusals, with the words for each.
    evicting: VecDeque<(EvictionPhase, Pod, String)>,
}

/// A container by its id, or by its pod and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id(ContainerId),
    Name(Option<String>, Option<String>, String),
}

/// Half of what is reported of a death.
struct Dying {
    at: Timestamp,
    pod: Pod,
    id: ContainerId,
    exit_code: Option<i32>,
}

impl Joiner {
    pub(super) fn new() -> Self {
        Self {
            names: Names::default(),
            pass: Pass::default(),
            dying: VecDeque::new(),
            overridden: VecDeque::new(),
            start_killed: None,
            ooms: VecDeque::new(),
            logs_exit_codes: false,
            reasons: Bounded::new(REMEMBERED),
            leaving: Bounded::new(REMEMBERED),
            preempting: None,
            reported: Bounded::new(REMEMBERED),
            killed: Bounded::new(REMEMBERED),
            conmon: VecDeque::new(),
            evicting: VecDeque::new(),
        }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Takes a message in; adds to `reported` what it, and those before it, turn out to say.
    pub(super) fn push(&mut self, at: Timestamp, message: &Message<'_>, reported: &mut Vec<Observation>) {
        self.let_go(|since, held| at.duration_since(since).unsigned_abs() > held, reported);
        if let Some(said) = eviction::read(message) {
            match said {
                eviction::Said::NewPass => self.pass.restart(),
                eviction::Said::Step(step) => self.step(at, step, reported),
                eviction::Said::Configured(thresholds) => {
                    self.pass.restart();
                    for threshold in thresholds {
                        self.step(at, Box::new(threshold), reported);
                    }
                }
            }
        } else if let Some(said) = container::read(message) {
            self.said(at, said, reported);
        }
    }

    /// Takes in what a container runtime says.
    pub(super) fn push_runtime(&mut self, at: Timestamp, change: ContainerChange, reported: &mut Vec<Observation>) {
        reported.push(Observation { source: Source::Cri, at: Moment::Wall(at), event: self.completed(change) });
    }

    /// A signal, with its pod's uid.
    pub(super) fn named(&self, mut signal: Signal) -> Event {
        if let Some(pod) = &mut signal.pod {
            self.names.complete_pod(pod);
        }
        Event::Signal(Box::new(signal))
    }

    /// Takes in an OOM in a container of whose id only the start is written; it may be in a later line.
    pub(super) fn push_conmon(&mut self, at: Timestamp, begins: &str, reported: &mut Vec<Observation>) {
        let known =
            self.conmon.iter().any(|(before, id)| id == begins && at.duration_since(*before).unsigned_abs() <= HELD);
        if known {
            return;
        }
        if self.conmon.len() == DYING {
            self.conmon.pop_front();
        }
        self.conmon.push_back((at, begins.to_owned()));
        self.report_conmon(false, reported);
    }

    /// Reports the OOMs whose container is known, or all.
    fn report_conmon(&mut self, all: bool, reported: &mut Vec<Observation>) {
        for (at, begins) in std::mem::take(&mut self.conmon) {
            let id = self.names.id_that_begins(&begins);
            if id.is_none() && !all {
                self.conmon.push_back((at, begins));
                continue;
            }
            let message = id.is_none().then(|| format!("{}{begins}", ContainerChange::ID_BEGINS));
            let container = id.map(|id| Container { id: Some(id), ..Container::default() });
            let change = ContainerChange { container, message, ..ContainerChange::new(Action::OomNoticed) };
            self.push_runtime(at, change, reported);
        }
    }

    /// Reports what still waits for more: after the last line, or when none has come for a while.
    pub(super) fn flush(&mut self, reported: &mut Vec<Observation>) {
        self.let_go(|_, _| true, reported);
        self.report_conmon(true, reported);
    }

    fn step(&mut self, at: Timestamp, mut step: Box<Eviction>, reported: &mut Vec<Observation>) {
        let news = self.pass.take(&mut step);
        if let Some(pod) = &mut step.pod {
            self.names.complete_pod(pod);
            self.names.learn(Some(pod), None);
        }
        for pod in &mut step.pods {
            self.names.complete_pod(pod);
            self.names.learn(Some(pod), None);
        }
        for used in &mut step.containers {
            self.names.complete(&mut step.pod, Some(&mut used.container));
        }
        if news && !self.is_repeated(&step) {
            reported.push(observed(at, Event::Eviction(step)));
        }
    }

    /// A line and the Event of it say the same.
    fn is_repeated(&mut self, step: &Eviction) -> bool {
        let words = match (step.phase, &step.message) {
            (EvictionPhase::Evicting, Some(message)) => message.clone(),
            (EvictionPhase::AdmissionRefused, _) => step.node_conditions.join(" "),
            _ => return false,
        };
        let Some(pod) = &step.pod else { return false };
        let same = |(phase, known, said): &(EvictionPhase, Pod, String)| {
            *phase == step.phase && *said == words && (&known.namespace, &known.name) == (&pod.namespace, &pod.name)
        };
        if self.evicting.iter().any(same) {
            return true;
        }
        self.evicting.push_back((step.phase, pod.clone(), words));
        if self.evicting.len() > 16 {
            self.evicting.pop_front();
        }
        false
    }

    fn said(&mut self, at: Timestamp, said: Said, reported: &mut Vec<Observation>) {
        match said {
            Said::Change(change) => {
                let change = self.changed(*change);
                let change = if change.action == Action::Killing { self.with_overridden(change) } else { change };
                reported.push(observed(at, Event::Container(Box::new(change))));
            }
            Said::KillOverridden(change) => {
                let change = self.changed(*change);
                let change = self.with_overridden(change);
                self.overridden.push_back((at, change));
                if self.overridden.len() > DYING
                    && let Some((at, change)) = self.overridden.pop_front()
                {
                    reported.push(observed(at, Event::Container(Box::new(change))));
                }
            }
            Said::Dated(was, said) => {
                let old = at.duration_since(was) > NOTICED_LATE;
                self.said(if old { was } else { at }, *said, reported);
            }
            Said::SystemOom(oom, died) => {
                if died.is_some_and(|died| self.is_logged_again(&oom, died)) {
                    return;
                }
                // A kubelet that was started anew logs what it finds in the kernel's log, however old.
                let old = died.filter(|died| at.duration_since(*died) > NOTICED_LATE);
                if old.is_none() && oom.of_any_limit && self.ooms.len() < DYING {
                    self.ooms.push_back((at, oom));
                } else {
                    reported.push(observed(old.unwrap_or(at), Event::SystemOom(Box::new(oom))));
                }
            }
            Said::Reported(ends) => self.reported(at, ends, reported),
            Said::Added(pods) => {
                for pod in pods {
                    self.names.learn(Some(&pod), None);
                    self.leaving.remove(&(pod.namespace, pod.name));
                }
            }
            Said::Deleted(pods) => {
                for pod in pods {
                    let full = (pod.namespace.clone(), pod.name.clone());
                    if self.leaving.insert(full, "PodDeleted") != Some("PodDeleted") {
                        let change = ContainerChange { pod: Some(pod), ..ContainerChange::new(Action::PodDeleted) };
                        reported.push(observed(at, self.completed(change)));
                    }
                }
            }
            Said::Started(pod, id) => reported.push(self.started(at, pod, id)),
            Said::Died(pod, id) => self.dies(Dying { at, pod, id, exit_code: None }, reported),
            Said::Finished(pod, id, code) => {
                self.logs_exit_codes = true;
                self.dies(Dying { at, pod, id, exit_code: Some(code) }, reported);
            }
            Said::KillReason(pod, container, reason) => {
                self.names.learn(Some(&pod), Some(&container));
                for key in keys(Some(&pod), Some(&container)) {
                    self.reasons.insert(key, reason.clone());
                }
            }
            Said::Shutdown(pod) => {
                self.leaving.insert((pod.namespace, pod.name), "NodeShutdown");
            }
            Said::StartKilled(id) => self.start_killed = Some((at, id)),
            Said::NotStarted(pod, container) => reported.push(self.not_started(at, pod, container)),
            Said::Preempting(pods, why) => {
                self.preempting = Some(why);
                for pod in pods {
                    self.leaving.insert((pod.namespace, pod.name), ContainerChange::PREEMPTING);
                }
            }
            Said::Preempted(pod) => reported.extend(self.preempted(at, pod)),
            Said::Names(pod, container) => self.names.learn(Some(&pod), Some(&container)),
            Said::Sandbox(pod, id) => {
                let container = Container { id: Some(id.clone()), ..Container::default() };
                self.names.learn(Some(&pod), Some(&container));
                self.names.learn_sandbox(&id, true);
            }
        }
    }

    fn reported(&mut self, at: Timestamp, ends: Vec<Ended>, reported: &mut Vec<Observation>) {
        for Ended { change, finished } in ends {
            self.learn(&change);
            let Some(id) = change.container.as_ref().and_then(|container| container.id.clone()) else { continue };
            if self.reported.insert((id, change.reason.clone(), change.exit_code), ()).is_none() {
                // It is the one that was noted then; a status has ends of days ago, too.
                let noted =
                    |oom: Timestamp| finished.is_some_and(|finished| finished.duration_since(oom).abs() <= NOTICED);
                if change.reason.as_deref() == Some("OOMKilled")
                    && let Some(nth) = self.ooms.iter().position(|(oom, _)| noted(*oom))
                {
                    self.ooms.remove(nth);
                }
                reported.push(observed(at, self.completed(change)));
            }
        }
    }

    fn started(&mut self, at: Timestamp, pod: Pod, id: ContainerId) -> Observation {
        let sandbox = self.names.is_sandbox(&id);
        let (pod, container) = (Some(pod), Some(Container { id: Some(id), ..Container::default() }));
        let change = ContainerChange { pod, container, sandbox, ..ContainerChange::new(Action::Started) };
        self.learn(&change);
        observed(at, self.completed(change))
    }

    /// A container whose first process was killed as it was started.
    fn not_started(&mut self, at: Timestamp, pod: Pod, container: Container) -> Observation {
        let killed = self.start_killed.take();
        let id = killed.filter(|(before, _)| at.duration_since(*before).unsigned_abs() <= HELD).map(|(_, id)| id);
        let (pod, container) = (Some(pod), Some(Container { id, ..container }));
        let change = ContainerChange { pod, container, ..ContainerChange::new(Action::OomNoticed) };
        self.learn(&change);
        observed(at, Event::Container(Box::new(change)))
    }

    /// A pod that went for a critical one. Where those to go were named before, it was reported of its containers.
    fn preempted(&mut self, at: Timestamp, pod: Pod) -> Option<Observation> {
        let named = self.leaving.remove(&(pod.namespace.clone(), pod.name.clone()));
        let mut change = ContainerChange { pod: Some(pod), ..ContainerChange::new(Action::Killing) };
        self.leaves(&mut change, ContainerChange::PREEMPTING);
        (named != Some(ContainerChange::PREEMPTING)).then(|| observed(at, self.completed(change)))
    }

    fn learn(&mut self, change: &ContainerChange) {
        self.names.learn(change.pod.as_ref(), change.container.as_ref());
    }

    fn completed(&self, mut change: ContainerChange) -> Event {
        self.names.complete(&mut change.pod, change.container.as_mut());
        Event::Container(Box::new(change))
    }

    /// A change, with the reason that other lines gave for it.
    fn changed(&mut self, mut change: ContainerChange) -> ContainerChange {
        self.learn(&change);
        self.names.complete(&mut change.pod, change.container.as_mut());
        if change.action == Action::Killing {
            let given = keys(change.pod.as_ref(), change.container.as_ref()).find_map(|key| self.reasons.remove(&key));
            if let Some(message) = given {
                change.reason = Some(reason_of(&message).to_owned());
                change.message = Some(message);
            } else if let Some(pod) = &change.pod {
                let full = (pod.namespace.clone(), pod.name.clone());
                if let Some(reason) = self.leaving.get(&full) {
                    self.leaves(&mut change, reason);
                } else if self
                    .pass
                    .victim()
                    .is_some_and(|victim| (&victim.namespace, &victim.name) == (&full.0, &full.1))
                {
                    change.reason = Some("Evicted".to_owned());
                }
            }
        }
        change
    }

    /// Gives a change the reason that its pod is to go for.
    fn leaves(&self, change: &mut ContainerChange, reason: &'static str) {
        change.reason = Some(reason.to_owned());
        if reason == ContainerChange::PREEMPTING {
            change.message.clone_from(&self.preempting);
        }
    }

    /// An ending, with the reason that was reported of the same one, which waits.
    fn with_overridden(&mut self, mut change: ContainerChange) -> ContainerChange {
        let id = |change: &ContainerChange| change.container.as_ref().and_then(|container| container.id.clone());
        let same = |(_, other): &(Timestamp, ContainerChange)| id(other).is_some() && id(other) == id(&change);
        let before = self.overridden.iter().position(same).and_then(|at| self.overridden.remove(at));
        if let Some((_, before)) = before {
            change.reason = change.reason.or(before.reason);
            change.message = change.message.or(before.message);
        }
        change
    }

    fn dies(&mut self, dying: Dying, reported: &mut Vec<Observation>) {
        let container = Container { id: Some(dying.id.clone()), ..Container::default() };
        self.names.learn(Some(&dying.pod), Some(&container));
        if dying.exit_code.is_some() {
            self.names.learn_sandbox(&dying.id, false);
        }
        self.names.learn_end(&dying.id);
        let other = self.dying.iter().position(|other| other.id == dying.id);
        if let Some(first) = other.and_then(|at| self.dying.remove(at)) {
            let pod = if first.pod.name.is_some() { first.pod } else { dying.pod };
            reported.push(self.died(Dying { pod, exit_code: first.exit_code.or(dying.exit_code), ..first }));
            return;
        }
        self.dying.push_back(dying);
        if self.dying.len() > DYING
            && let Some(oldest) = self.dying.pop_front()
        {
            reported.push(self.died(oldest));
        }
    }

    /// Whether a kubelet that was started anew logs a kill once more. It works out the time anew each time, too.
    fn is_logged_again(&mut self, oom: &SystemOom, died: Timestamp) -> bool {
        let Some(victim) = oom.pid.map(|pid| (pid, oom.comm.clone())) else { return false };
        let before = self.killed.insert(victim, died);
        before.is_some_and(|before| died.duration_since(before).abs() <= SAME_KILL)
    }

    /// Reports what need not wait any more: by since when it does, and for how long it may.
    fn let_go(&mut self, go: impl Fn(Timestamp, Duration) -> bool, reported: &mut Vec<Observation>) {
        while self.dying.front().is_some_and(|dying| go(dying.at, HELD)) {
            if let Some(dying) = self.dying.pop_front() {
                reported.push(self.died(dying));
            }
        }
        while self.overridden.front().is_some_and(|(at, _)| go(*at, HELD)) {
            if let Some((at, change)) = self.overridden.pop_front() {
                reported.push(observed(at, Event::Container(Box::new(change))));
            }
        }
        while self.ooms.front().is_some_and(|(at, _)| go(*at, NOTICED.unsigned_abs())) {
            if let Some((at, oom)) = self.ooms.pop_front() {
                reported.push(observed(at, Event::SystemOom(Box::new(oom))));
            }
        }
    }

    fn died(&self, Dying { at, pod, id, exit_code }: Dying) -> Observation {
        let of_a_sandbox = || (self.logs_exit_codes && exit_code.is_none()).then_some(true);
        let change = ContainerChange {
            sandbox: self.names.is_sandbox(&id).or_else(of_a_sandbox),
            pod: Some(pod),
            container: Some(Container { id: Some(id), ..Container::default() }),
            exit_code,
            ..ContainerChange::new(Action::Died)
        };
        observed(at, self.completed(change))
    }
}

/// Whether a message is one that kubelets write, and that matters.
pub(super) fn is_of_kubelet(message: &Message<'_>) -> bool {
    eviction::read(message).is_some() || container::read(message).is_some_and(|said| !matches!(said, Said::Names(..)))
}

/// An event of the kubelet's log, or of the journal that it is in.
pub(super) fn observed(at: Timestamp, event: Event) -> Observation {
    Observation { source: Source::Kubelet, at: Moment::Wall(at), event }
}

/// What a container may be known by.
fn keys(pod: Option<&Pod>, container: Option<&Container>) -> impl Iterator<Item = Key> {
    let id = container.and_then(|container| container.id.clone()).map(Key::Id);
    let name = container.and_then(|container| container.name.clone()).zip(pod);
    let name = name.map(|(name, pod)| Key::Name(pod.namespace.clone(), pod.name.clone(), name));
    id.into_iter().chain(name)
}

/// A word for the sentence that the kubelet gives as its reason to kill (`computePodActions`, `kuberuntime_manager.go`).
fn reason_of(message: &str) -> &'static str {
    let words = [
        ("failed liveness probe", "LivenessProbe"),
        ("failed startup probe", "StartupProbe"),
        ("definition changed", "DefinitionChanged"),
        ("resize", "Resize"),
    ];
    words.iter().find(|(words, _)| message.contains(words)).map_or("Unknown", |(_, word)| word)
}
