//! What the timeline makes of events: one incident per death, or per chain of deaths with one cause, and its verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use strum::IntoStaticStr;

use super::{Cgroup, Container, Limit, Line, MemoryPoint, Pod, Source, Victim};
use crate::cgroup_path::{ContainerId, Level};

/// One incident: why a container died, or was about to.
///
/// It is reported when it opens, when something is added (at most once a minute), and when it closes, with the same `id`: the line
/// with the highest `revision` is complete.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of its own of the JSON lines")]
pub struct Incident {
    /// Names the incident: made of the node, of who it is about and of when it began, so the same events give the same
    /// name in every run.
    pub id: String,
    /// Whether more may come.
    pub state: IncidentState,
    /// Which line of this incident this is, from 1. Of several with one `id` the one with the highest is complete.
    #[serde(default)]
    pub revision: u64,
    /// Whether it turned out to be none, or a part of another one: all its counts are 0 then, and no more lines of it come.
    #[serde(default)]
    pub withdrawn: bool,
    /// The `id` of the incident that it turned out to be a part of; absent where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// Whether it is about memory.
    #[serde(default)]
    pub severity: Severity,
    /// The first of its events, RFC 3339.
    pub started: String,
    /// The last of its events, RFC 3339; `null` while it is open.
    pub ended: Option<String>,
    /// Whether its times count from the node's boot, given as if that were 1970: the kernel's log had no other, and nothing
    /// reported when the node booted.
    pub boot_time_only: bool,
    /// Whether no time is known: the kernel's log has none, and its times are given as if it were 1970.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub time_unknown: bool,
    /// The pod.
    pub pod: Option<Pod>,
    /// The container, where it is about one.
    pub container: Option<Container>,
    /// The ids of the container's later starts that were killed in the same incident, at most 8: `container`, `victim` and
    /// `summary` are of the first.
    #[serde(default)]
    pub later_ids: Vec<ContainerId>,
    /// All its containers that ended, or were to end, in the order of their names.
    pub containers: Vec<AffectedContainer>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub containers_omitted: u64,
    /// The victim's cgroup.
    pub cgroup: Option<Cgroup>,
    /// What the timeline makes of it.
    pub verdict: Verdict,
    /// The limit that was hit.
    pub limit: Option<Limit>,
    /// Whose limit: `limit.level` again.
    pub limit_level: Option<Level>,
    /// The limit: `limit.limit_bytes` again.
    pub limit_bytes: Option<u64>,
    /// How often the kernel's OOM killer killed in it: decisions, not processes.
    pub kills: u64,
    /// How many processes those decisions killed.
    pub processes_killed: u64,
    /// How often a container of it ended.
    pub deaths: u64,
    /// How many of `kills` no earlier line of this incident has: over all lines of all incidents these add up to the number of
    /// kills.
    #[serde(default)]
    pub kills_new: u64,
    /// How many of `processes_killed` no earlier line of this incident has.
    #[serde(default)]
    pub processes_killed_new: u64,
    /// How many of `deaths` no earlier line of this incident has.
    #[serde(default)]
    pub deaths_new: u64,
    /// Whether the whole cgroup was killed (`memory.oom.group`), in any of its kills.
    pub group: Option<bool>,
    /// Whether the kubelet evicted the pod, be it before or after a kill.
    pub evicted: bool,
    /// The process that was killed: of several kills the first one's.
    pub victim: Option<Victim>,
    /// Its name: `victim.comm` again.
    pub victim_comm: Option<String>,
    /// What happened, in order: the first and the last of many.
    pub steps: Vec<Step>,
    /// How many steps are left out above.
    #[serde(default)]
    pub steps_omitted: u64,
    /// What memory was against its limit, where that is known, in order.
    #[serde(default)]
    pub history: Vec<MemoryPoint>,
    /// How many points are left out above.
    #[serde(default)]
    pub history_omitted: u64,
    /// The events it is made of, in order: their `seq`s.
    #[serde(deserialize_with = "seqs")]
    pub events: Vec<u64>,
    /// How many of its events are left out above.
    pub events_omitted: u64,
    /// The same events themselves, with `--full` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events_full: Vec<Line>,
}

/// The numbers of events; before schema version 2 `events` had the events themselves with `--full`.
fn seqs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Event {
        Seq(u64),
        Line { seq: u64 },
    }
    let events = Vec::<Event>::deserialize(deserializer)?;
    Ok(events
        .into_iter()
        .map(|event| match event {
            Event::Seq(seq) | Event::Line { seq } => seq,
        })
        .collect())
}

/// Whether more may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// More may come.
    Open,
    /// Nothing has come for as long as the kubelet may take for all its steps.
    #[default]
    Closed,
}

/// What an incident is about: metrics, alerts and the text for people go by it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, IntoStaticStr,
)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// Memory: an OOM kill, an eviction for memory, a refused allocation, a frozen cgroup, a panic.
    #[default]
    Memory,
    /// Anything else that ended a container otherwise than Kubernetes intended.
    Other,
}

impl Severity {
    /// The name, as JSON lines have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A container in an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AffectedContainer {
    /// Who.
    #[serde(flatten)]
    pub container: Container,
    /// The exit code of its last end.
    pub exit_code: Option<i32>,
    /// The reason that Kubernetes shows for it, where that was seen.
    pub reason: Option<String>,
    /// Its working set, as the eviction message has it.
    pub usage_bytes: Option<u64>,
    /// Its request, as the eviction message or its specification has it.
    pub request_bytes: Option<u64>,
    /// Its limit, as its specification has it.
    pub limit_bytes: Option<u64>,
}

/// Something that happened in an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// When, RFC 3339.
    pub ts: String,
    /// From the incident's first kill or eviction to it, milliseconds; negative before.
    pub since_ms: f64,
    /// Who reported.
    pub source: Source,
    /// The event's `seq`.
    pub seq: u64,
    /// What kind of thing it is.
    pub mark: Mark,
    /// In words.
    pub what: String,
}

/// What kind of thing a step is: how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A limit was hit, an allocation refused.
    Failure,
    /// A kill by the kernel's OOM killer.
    Kill,
    /// A signal from a process.
    Signal,
    /// An end.
    Exit,
    /// A step of an eviction.
    Eviction,
    /// Anything else.
    Other,
}

/// What the timeline makes of an incident.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What happened.
    pub scenario: Scenario,
    /// Another scenario that it came to in the same incident: the eviction of a pod after a kill.
    pub also: Option<Scenario>,
    /// A process of the container was OOM-killed but its first process lives on: Kubernetes will report nothing. `null`
    /// where nothing tells what became of the first process.
    pub invisible: Option<bool>,
    /// The whole cgroup was killed: `memory.oom.group`.
    pub group_kill: Option<bool>,
    /// The victim was not the process whose allocation led to the kill.
    pub innocent: Option<bool>,
    /// The victim's container or pod is not the one that used the most of the limit that was hit.
    pub bystander: Option<bool>,
    /// A few words: what happened, as surely as it is known.
    #[serde(default)]
    pub heading: String,
    /// One sentence: who, what, which limit.
    pub summary: String,
    /// What would have prevented it.
    pub advice: String,
    /// A limit under which it would not have happened, as far as what was seen supports a number; `null` where nothing does.
    #[serde(default)]
    pub suggested_limit_bytes: Option<u64>,
    /// What that is worked out from: the highest use seen, how often it came back.
    #[serde(default)]
    pub suggested_limit_basis: Option<String>,
    /// How memory grew until the first kill; absent where nothing recorded that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// What that is seen by: how much in which time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape_basis: Option<String>,
    /// How fast it grew on average, of a leak, in bytes an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth_bytes_per_hour: Option<u64>,
    /// How sure this is.
    pub confidence: Confidence,
    /// What would have made it surer.
    pub missing: Vec<String>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing_omitted: u64,
    /// The events that it rests on: their `seq`s.
    pub evidence: Vec<u64>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub evidence_omitted: u64,
    /// What Kubernetes shows for it: `OOMKilled 137`, `Error 137`, `Evicted`, `nothing`. As the runtime, the kubelet or `--pods`
    /// has it; else what is to be expected: while the incident is open each of several is possible.
    pub kubernetes_shows: Vec<String>,
    /// How many are left out above; absent where none is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kubernetes_shows_omitted: u64,
    /// Whether that was seen, or is only to be expected.
    pub kubernetes_shows_seen: bool,
    /// The eviction signal that crossed its threshold. This and the next five are absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What reported the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_from: Option<ReportedBy>,
    /// The eviction threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_bytes: Option<u64>,
    /// What was available of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// What reported those two; what was available, where they are from two sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amounts_from: Option<ReportedBy>,
    /// What reported the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_from: Option<ReportedBy>,
}

/// How memory grew until it reached its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Shape {
    /// It rose all the time: a higher limit only buys time.
    Leak,
    /// It rose within a minute, by a quarter of the limit or more, from a level that it had kept, or from the start.
    Spike,
    /// It was at nine tenths of the limit or more for most of the time.
    Plateau,
    /// It rose at once, and then stayed until the end.
    Step,
    /// None of these.
    Unknown,
}

/// What reported something of an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportedBy {
    /// The line of the kubelet's log that is about this eviction.
    Log,
    /// What the kubelet observed in the same pass, as its log has it.
    Observation,
    /// The pod's `Evicted` event, or its status.
    Status,
    /// The kubelet's counter of evictions.
    Metrics,
    /// oomtrace's own readings of memory.
    Pressure,
    /// A soft threshold: the kubelet has those for the node's memory only.
    SoftThreshold,
    /// What the kubelet was configured with, as its log has it from when it started.
    Configuration,
    /// Nothing: the likelier one.
    Inference,
}

/// What happened.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, IntoStaticStr,
)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Scenario {
    /// The container hit its own memory limit.
    #[default]
    ContainerLimit,
    /// The containers of a pod together hit a limit that none of them has.
    PodLimit,
    /// Pods together exceeded what is allocatable, slowly: the kubelet evicted.
    AllocatableEvicted,
    /// The node's available memory fell under the eviction threshold: the kubelet evicted.
    NodePressureEvicted,
    /// Pods exceeded what is allocatable faster than the kubelet looks.
    AllocatableOom,
    /// The application or its runtime gave up below the limit.
    RuntimeRefused,
    /// The node ran out before anyone acted.
    SystemOom,
    /// The OOM killer killed, and nothing at hand says whose limit was hit.
    UnknownLimit,
    /// The kubelet evicted, and nothing at hand says for which resource.
    Evicted,
    /// A cgroup outside of Kubernetes hit its limit.
    OtherLimit,
    /// A process killed it, not the OOM killer, as far as is known.
    Killed,
    /// It crashed.
    Crashed,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ContainerLimit,
        Self::PodLimit,
        Self::AllocatableEvicted,
        Self::NodePressureEvicted,
        Self::AllocatableOom,
        Self::RuntimeRefused,
        Self::SystemOom,
        Self::UnknownLimit,
        Self::Evicted,
        Self::OtherLimit,
        Self::Killed,
        Self::Crashed,
    ];

    /// What an incident of this scenario is about, where nothing says otherwise.
    #[must_use]
    pub fn severity(self) -> Severity {
        if matches!(self, Self::Killed | Self::Crashed) { Severity::Other } else { Severity::Memory }
    }

    /// The name, as JSON lines and options have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A guess: what would tell is missing.
    Low,
    /// Something that matters is inferred.
    Medium,
    /// Everything that matters was seen.
    #[default]
    High,
}

/// Leaves out the middle of a long list: the first and the last stay. Gives how many went.
pub fn thin_middle<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let omitted = list.len().saturating_sub(most);
    if omitted == 0 {
        return 0;
    }
    list.drain(most.div_ceil(2)..most.div_ceil(2) + omitted);
    omitted as u64
}

/// Nothing is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl AffectedContainer {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> Option<&ContainerId> {
        self.container.id.as_ref()
    }
}
