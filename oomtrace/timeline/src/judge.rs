//! From evidence to incidents: what belongs together, and what happened.

mod case;
mod ending;
mod eviction;
mod intended;
mod killer;
mod oom;
mod picture;
mod sentences;
mod shape;
mod shown;
mod steps;
mod stopped;
mod storage;
mod victims;

use std::{collections::BTreeMap, sync::Arc};

use oomtrace_model::{Confidence, Container, ContainerId, Incident, IncidentState, Pod, Source};

pub(super) use self::intended::End;
use self::{
    case::{Case, Class, Subject},
    intended::Intended,
    sentences::missing::Missing,
};
use super::{
    Background, Kept, Node,
    digested::Digested,
    evidence::{Death, Evicted, Evidence, Kill},
    fnv1a,
    fold::{Folds, address},
    names::{Names, PodKey},
    windows::{CLOSES_AFTER, CRASH_LOOP, EVICTION, KILL_TO_EVICTION, NOTICED, RELIST, SECOND},
    words,
};

/// Events in an incident that are reported; of more the first and the last.
const EVENTS: usize = 256;

/// Later starts of a container that are listed by their ids.
const LATER_IDS: usize = 8;

/// Kills of a chain that are compared with the next, where containers have no names.
const BESIDE: usize = 8;

/// An incident, and what it is made of.
#[derive(Clone)]
pub(super) struct Judged {
    /// When it began, nanoseconds since 1970.
    pub(super) at: i64,
    /// The time of its last line.
    pub(super) last: i64,
    /// When it closes, if nothing comes.
    pub(super) closes: i64,
    pub(super) node: String,
    /// It is held back until then: what would explain it may follow.
    pub(super) not_before: Option<i64>,
    /// It is an eviction that was not for memory, and those were not asked for.
    pub(super) hidden: bool,
    /// With all counts, and closed.
    pub(super) incident: Incident,
    /// Its own lines: kills, ends, steps of an eviction, what ended it. No other incident has them.
    pub(super) core: Vec<Arc<Digested>>,
    /// All of its lines, with what happened around.
    pub(super) lines: Vec<Arc<Digested>>,
}

/// What lines result in.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) incidents: Vec<Judged>,
    /// Ends of containers as Kubernetes intended them, each with when it is due: what would explain it otherwise may follow
    /// until then.
    pub(super) ends: Vec<(i64, End)>,
}

/// How much is found out of incidents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Which there are and which lines each has, so that they can be named.
    Names,
    /// All that is said of them.
    Whole,
}

/// All that cases are judged with.
struct Context<'a> {
    names: &'a Names<'a>,
    evidence: &'a Evidence,
    known: &'a Background,
    node: &'a Node,
}

/// What the lines of a node result in, in the order of time. `folds` stand for lines that were let go of.
pub(super) fn judge(
    node: &str,
    lines: &[Kept],
    known: &Background,
    of_node: &Node,
    folds: &Folds,
    depth: Depth,
) -> Findings {
    let mut names = Names::learn(lines, &known.snapshot);
    let mut evidence = Evidence::of(lines, &names, of_node);
    if let Some((first, last)) = known.kubelet_span {
        evidence.kubelet_spoke(first, last);
    }
    for kill in &mut evidence.kills {
        if let Some(fold) = kill.lines.iter().find_map(|(_, line)| folds.get(&address(line))) {
            kill.stands_for(fold);
        }
    }
    storage::set_apart(&mut evidence, &names, &known.snapshot);
    victims::name(&mut names, &evidence);
    let context = Context { names: &names, evidence: &evidence, known, node: of_node };
    let mut cases = of_kills(&context);
    add_evictions(&context, &mut cases);
    let Explained { mut intended, unexplained } = add_deaths(&context, &mut cases);
    intended.extend(ending::add(&context, unexplained, &mut cases));
    stopped::add(&context, &mut cases);
    killer::add(&context, &mut cases);
    let incidents = match depth {
        Depth::Names => cases.iter().map(|case| outlined(node, case, &context)).collect(),
        Depth::Whole => {
            let signals = eviction::signals(&context, &cases);
            let incidents = cases.iter().enumerate().map(|(index, case)| {
                let incident = case.judge(&context, signals.get(&index));
                finished(node, case, &context, incident, folds)
            });
            incidents.collect()
        }
    };
    let ends = intended.iter().filter_map(|end| Some((end.due(&context), end.end(&context, node)?))).collect();
    Findings { incidents, ends }
}

/// What is said of an incident while it is open.
pub(super) fn open(incident: &mut Incident) {
    (incident.state, incident.ended) = (IncidentState::Open, None);
    if !incident.verdict.kubernetes_shows_seen {
        shown::add_alternatives(&mut incident.verdict.kubernetes_shows);
    }
}

/// Chains of kills of one container for one cause.
fn of_kills<'a>(context: &Context<'a>) -> Vec<Case<'a>> {
    let mut cases: Vec<Case<'a>> = Vec::new();
    let mut open: BTreeMap<(Subject, Class), Vec<usize>> = BTreeMap::new();
    let mut by_container: BTreeMap<(&ContainerId, Class), usize> = BTreeMap::new();
    for kill in &context.evidence.kills {
        let key = (Subject::of_kill(kill, context.names), Class::of_kill(kill));
        let chains = open.entry(key.clone()).or_default();
        let beside = |case: &Case<'_>| {
            let nameless = matches!(key.0, Subject::Alike(..));
            nameless && case.kills.iter().rev().take(BESIDE).any(|before| ran_beside(context.names, kill, before))
        };
        let goes_on = |case: &Case<'_>| kill.at - case.last_kill() <= CRASH_LOOP && !beside(case);
        // Without a name, the id still says that it is the same container, whatever was killed in it before.
        let same = kill.container.as_ref().and_then(|id| by_container.get(&(id, key.1)).copied());
        let same = same.filter(|index| kill.at - cases[*index].last_kill() <= CRASH_LOOP);
        let index = same.or_else(|| chains.iter().rev().copied().find(|index| goes_on(&cases[*index])));
        if let Some(index) = index {
            cases[index].kills.push(kill);
        } else {
            chains.push(cases.len());
            cases.push(Case::of_kill(key.0.clone(), kill));
        }
        if let Some(id) = &kill.container {
            by_container.insert((id, key.1), index.unwrap_or(cases.len() - 1));
        }
    }
    cases
}

/// Whether a kill is in a container that ran when another one had a kill in it: it is no restart of that one.
fn ran_beside(names: &Names<'_>, kill: &Kill, before: &Kill) -> bool {
    let started = kill.container.as_ref().and_then(|id| names.container(id)).and_then(|seen| seen.started);
    kill.container != before.container && started.is_some_and(|started| started < before.at - RELIST)
}

/// Evictions join the kills of their pods.
fn add_evictions<'a>(context: &Context<'a>, cases: &mut Vec<Case<'a>>) {
    let by_pod = by_pod(cases);
    for evicted in &context.evidence.evicted {
        if evicted.memory == Some(false) && !context.known.everything {
            cases.push(Case::of_eviction(evicted));
            continue;
        }
        let until = evicted.lines.last().map_or(evicted.at, |(at, _)| *at) + NOTICED;
        let joined = by_pod.get(&evicted.pod).into_iter().flatten().rev().copied().find(|index| {
            let case = &cases[*index];
            case.evicted.is_none() && (evicted.at - KILL_TO_EVICTION..=until).contains(&case.last_kill())
        });
        match joined.and_then(|index| cases.get_mut(index)) {
            Some(case) => case.evicted = Some(evicted),
            None => cases.push(Case::of_eviction(evicted)),
        }
    }
}

/// What became of the ends of containers.
struct Explained<'a> {
    /// Those of evicted pods: they are in an incident, and yet what Kubernetes intended.
    intended: Vec<Intended<'a>>,
    unexplained: Vec<&'a Death>,
}

/// Ends of containers join the kills and evictions that explain them. The end of a sandbox follows from them, and is part of
/// neither.
fn add_deaths<'a>(context: &Context<'a>, cases: &mut [Case<'a>]) -> Explained<'a> {
    let by_pod = by_pod(cases);
    let mut by_container: BTreeMap<&ContainerId, Vec<(usize, &Kill)>> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        for kill in &case.kills {
            if let Some(id) = &kill.container {
                by_container.entry(id).or_default().push((index, *kill));
            }
        }
    }
    let mut explained = Explained { intended: Vec::new(), unexplained: Vec::new() };
    for death in &context.evidence.deaths {
        let kills = death.container.as_ref().and_then(|id| by_container.get(id)).into_iter().flatten();
        let killed = kills.copied().find(|(_, kill)| explains(context, kill, death)).map(|(index, _)| index);
        if let Some(case) = killed.and_then(|index| cases.get_mut(index)) {
            case.deaths.push(death);
            continue;
        }
        let of_pod = death.pod.as_ref().filter(|_| !death.sandbox).and_then(|pod| by_pod.get(pod));
        let evicted = of_pod.into_iter().flatten().find_map(|index| {
            let evicted = cases[*index].evicted.filter(|evicted| ends(evicted, death))?;
            Some((*index, evicted))
        });
        if evicted.is_none() && context.evidence.ended_by_kill_before(death) {
            continue;
        }
        let Some((index, evicted)) = evicted else {
            explained.unexplained.push(death);
            continue;
        };
        if matches!(death.exit_code, Some(137 | 143)) {
            explained.intended.push(Intended::evicted(context, death, evicted));
        }
        cases[index].deaths.push(death);
    }
    explained
}

/// Where the cases of a pod are.
fn by_pod(cases: &[Case<'_>]) -> BTreeMap<PodKey, Vec<usize>> {
    let mut by_pod: BTreeMap<PodKey, Vec<usize>> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        if let Some(pod) = &case.pod {
            by_pod.entry(pod.clone()).or_default().push(index);
        }
    }
    by_pod
}

/// Whether a kill is why its container ended. An end before a kill in the same container is one that a clock without
/// seconds' parts tells. A kubelet that was started after the kill reports an end that it did not see. Where the container was
/// told to end after the kill, it had outlived it, unless its first process was killed.
fn explains(context: &Context<'_>, kill: &Kill, death: &Death) -> bool {
    let noticed_late = death.by_start.is_some_and(|start| start >= kill.at);
    if death.at > kill.at + NOTICED && !noticed_late {
        return false;
    }
    let victim = &kill.reported.victim.task;
    if kill.reported.group == Some(true) || victim.container_init == Some(true) {
        return true;
    }
    let evidence = context.evidence;
    let reported_by_kubelet =
        evidence.killings(death).any(|reported| (kill.at + RELIST..=death.at).contains(&reported.at));
    !reported_by_kubelet && !evidence.signals_from_outside(death).any(|signal| signal.at >= kill.at)
}

/// Whether a container ended because its pod was evicted.
fn ends(evicted: &Evicted, death: &Death) -> bool {
    death.pod.as_ref() == Some(&evicted.pod) && (evicted.at - SECOND..=evicted.at + EVICTION).contains(&death.at)
}

/// An incident with its name and its lines, of which nothing is said yet.
fn outlined(node: &str, case: &Case<'_>, context: &Context<'_>) -> Judged {
    let at = case.began();
    Judged {
        at,
        last: at,
        closes: at,
        node: node.to_owned(),
        not_before: case.not_before,
        hidden: is_hidden(case, context),
        incident: Incident { id: id(node, &case.identity(), at), ..Incident::default() },
        core: steps::core(case),
        lines: steps::lines(case, context).into_iter().map(|(_, line)| line).collect(),
    }
}

/// Whether it is an eviction that was not for memory, and those were not asked for.
fn is_hidden(case: &Case<'_>, context: &Context<'_>) -> bool {
    let not_memory = case.kills.is_empty() && case.evicted.is_some_and(|evicted| evicted.memory == Some(false));
    not_memory && !context.known.everything
}

/// Fills in what every incident has.
fn finished(node: &str, case: &Case<'_>, context: &Context<'_>, mut incident: Incident, folds: &Folds) -> Judged {
    let lines = steps::lines(case, context);
    let core = steps::core(case);
    let let_go = core.iter().filter_map(|line| folds.get(&address(line)));
    let (first, last) = (lines.first(), lines.last());
    let began = first.map_or(0, |(at, _)| *at);
    let at = case.began();
    let mut last_at = last.map_or(at, |(at, _)| *at);
    let losses = context.node.losses.between(began, last_at);
    if !losses.is_empty() {
        incident.verdict.confidence = incident.verdict.confidence.min(Confidence::Medium);
        incident.verdict.missing.extend(losses);
    }
    incident.severity = case.severity(incident.verdict.scenario);
    if incident.verdict.heading.is_empty() {
        let heading = words::heading(&incident, constraint(case));
        heading.clone_into(&mut incident.verdict.heading);
    }
    incident.later_ids = later_ids(case, incident.container.as_ref());
    incident.id = id(node, &case.identity(), at);
    incident.state = IncidentState::Closed;
    incident.revision = 1;
    incident.started = first.map(|(_, line)| line.ts.clone()).unwrap_or_default();
    incident.ended = last.map(|(_, line)| line.ts.clone());
    let of_kubelet = lines.iter().all(|(_, line)| matches!(line.source, Source::Kubelet | Source::Cri));
    let untimed = super::evidence::is_before_all(began) && (context.known.statuses_alone || of_kubelet);
    incident.time_unknown = untimed || case.kills.first().is_some_and(|kill| kill.reported.time_unknown);
    if untimed && !incident.verdict.missing.iter().any(|missing| Missing::is_time(missing)) {
        let printed = context.known.statuses_alone;
        incident.verdict.missing.push(if printed { Missing::TimeOfPrinting } else { Missing::Time }.text());
    }
    incident.boot_time_only =
        !incident.time_unknown && began < YEAR_OF_BOOT && lines.iter().any(|(_, line)| line.source == Source::Kmsg);
    (incident.steps, incident.steps_omitted) = steps::steps(&lines, at, case, context);
    (incident.history, incident.history_omitted) = picture::points(case, context, &lines);
    let pressures = shape::pressures(&lines);
    shape::add(case, &pressures, &mut incident.verdict);
    sentences::grown::add(&pressures, context, &mut incident.verdict);
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    incident.events_omitted = lines.len().saturating_sub(EVENTS) as u64;
    incident.events = reported(&lines).map(|line| line.seq).collect();
    for fold in let_go {
        fold.add_to(&mut incident);
        last_at = last_at.max(fold.last);
    }
    (incident.kills_new, incident.processes_killed_new, incident.deaths_new) =
        (incident.kills, incident.processes_killed, incident.deaths);
    let closes = last_at + CLOSES_AFTER;
    let (node, not_before, hidden) = (node.to_owned(), case.not_before, is_hidden(case, context));
    Judged { at, last: last_at, closes, node, not_before, hidden, incident, core, lines }
}

/// What the allocation of its first kill was bound to.
fn constraint<'a>(case: &Case<'a>) -> Option<&'a str> {
    case.kills.first().and_then(|kill| kill.reported.constraint.as_deref())
}

/// The ids of a container's later starts that were killed or ended in the same incident.
fn later_ids(case: &Case<'_>, container: Option<&Container>) -> Vec<ContainerId> {
    let Some(first) = container.and_then(|container| container.id.as_ref()) else { return Vec::new() };
    let kills = case.kills.iter().filter_map(|kill| kill.container.as_ref());
    let mut ids: Vec<ContainerId> = Vec::new();
    for id in kills.filter(|id| *id != first) {
        if !ids.contains(id) && ids.len() < LATER_IDS {
            ids.push(id.clone());
        }
    }
    ids
}

/// An incident's name.
pub(super) fn id(node: &str, identity: &str, began: i64) -> String {
    format!("{:016x}", fnv1a(format!("{node}\n{identity}\n{began}").as_bytes()))
}

/// The lines of an incident that are reported: all, or the first and the last.
pub(super) fn reported(lines: &[Arc<Digested>]) -> impl Iterator<Item = &Arc<Digested>> {
    let half = if lines.len() > EVENTS { EVENTS / 2 } else { lines.len() };
    let last = if lines.len() > EVENTS { &lines[lines.len() - half..] } else { &[][..] };
    lines[..half].iter().chain(last)
}

/// Until the end of 1970: a time since boot that is given as a date.
const YEAR_OF_BOOT: i64 = 365 * 24 * 3600 * SECOND;

/// The container's and the pod's names for an incident.
fn named(context: &Context<'_>, key: Option<&PodKey>) -> Option<Pod> {
    key.map(|key| context.names.pod(key))
}
