//! What happens to memory on a Kubernetes node, as types: a [`Line`] with its [`Event`], which may be an [`Incident`]; what a
//! [cgroup's path](cgroup_path) says; what is known of [pods and containers](snapshot); [quantities](quantity). Nothing here reads a
//! file or a clock.
//!
//! Field names are a contract: see [`SCHEMA_VERSION`]. Sizes are in bytes where a name ends in `_bytes`. What is not known is
//! `null`, never 0. A field has one type, whatever the kind: a table or an index with a column for each field takes all lines.

pub mod bounded;
pub mod cgroup_path;
mod charge;
mod container;
mod ending;
mod eviction;
pub mod fact;
mod history;
mod incident;
mod limit_ahead;
mod limit_changed;
mod oom;
mod place;
mod pressure;
pub mod programs;
pub mod quantity;
mod reaped;
mod signal;
pub mod snapshot;
mod status;
mod task;
mod workload;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumDiscriminants, EnumString, IntoStaticStr, VariantArray};

use self::incident::is_zero;
pub use self::{
    cgroup_path::{ContainerId, Level, PodUid, QosClass},
    charge::{AllocationRefused, ChargeFailures, ChargeState, RefusedBy, Span},
    container::{ContainerAction, ContainerChange, ContainerEnded, EndReason, OutOfMemoryLog},
    ending::{ProcessExit, Sender, SenderRole, Signal},
    eviction::{ContainerUse, Eviction, EvictionPhase, SystemOom},
    history::{MemoryPoint, thin_curve},
    incident::{
        AffectedContainer, Confidence, Incident, IncidentState, Mark, ReportedBy, Scenario, Severity, Shape, Step,
        Verdict, thin_middle,
    },
    limit_ahead::LimitAhead,
    limit_changed::{LimitChanged, LimitKind},
    oom::{
        Candidate, Cause, CgroupMemory, KnownBy, Limit, MemoryNode, OOM_SCORE_ADJ_MIN, OomKill, OomVictim, PanicOnOom,
        SwapCounter, UnderOom, UnderOomState, Victim, Why,
    },
    place::{Mention, Mentions, Place, PlaceMut},
    pressure::{EarlierReading, GrownPod, Pressure, PressureScope, Stall},
    reaped::OomReaped,
    signal::signal_name,
    status::{Failure, Lost, LostFrom, Measure, Phase, ProbeStatus, Refusal, Rung, Status},
    task::{Cgroup, Container, ContainerRole, Memory, Owner, Pod, Task},
    workload::Workload,
};

/// The version of the lines' schema. A minor version adds fields, kinds and values of enumerations; a major one may also rename
/// or remove them, or change their types.
pub const SCHEMA_VERSION: &str = "2.1";

/// The JSON Schema of [`Line`], with its version.
#[must_use]
pub fn schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(Line);
    schema.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
    schema
}

/// One line of output: an event, with where and when it happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// When, RFC 3339 in UTC with nanoseconds. Of an event that the kernel stamped it is the boot-time clock reading
    /// below, reported in wall time.
    pub ts: String,
    /// Counts the lines of one run of oomtrace, from 1. A gap is lines of kinds that this output does not print, or lost ones,
    /// which `lost` reports.
    pub seq: u64,
    /// The node's name.
    pub node: String,
    /// Where the event comes from.
    pub source: Source,
    /// The reading of `CLOCK_BOOTTIME` that `ts` is made from, nanoseconds since the node booted; `null` where the source
    /// reported wall time only.
    pub boot_ns: Option<u64>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Wall time as RFC 3339 in UTC with nanoseconds: how every time is printed.
#[must_use]
pub fn rfc3339(wall: jiff::Timestamp) -> String {
    format!("{wall:.9}")
}

/// Who reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Probes in the kernel.
    Kernel,
    /// The kernel's log, live or kept.
    Kmsg,
    /// The kubelet: its log, its metrics, its files.
    Kubelet,
    /// The container runtime, through CRI.
    Cri,
    /// oomtrace itself.
    Oomtrace,
}

/// From a kill to the kubelet's noticing the container's end: the PLEG relists every second (`genericPlegRelistPeriod`), but on a
/// node short of memory a relist was seen to take 10 s. More than three times that.
pub const NOTICED: jiff::SignedDuration = jiff::SignedDuration::from_secs(35);

/// When something happened, in the terms of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A reading of `CLOCK_BOOTTIME`, nanoseconds.
    Boot(u64),
    /// Wall time.
    Wall(jiff::Timestamp),
}

/// An event on its way from its source, before it gets its number.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Who tells.
    pub source: Source,
    /// When it happened.
    pub at: Moment,
    /// What happened.
    pub event: Event,
}

/// What happened, by its `kind`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, EnumDiscriminants)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum_discriminants(
    name(Kind),
    doc = "The kind of an event, by the name that JSON lines have for it.",
    derive(Hash, PartialOrd, Ord, IntoStaticStr, EnumString, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum Event {
    /// The kernel's OOM killer killed: one decision of `oom_kill_process`.
    OomKill(Box<OomKill>),
    /// The OOM killer decided, and killed nobody: its choice was dying already, or had gone.
    OomDecision(Box<OomKill>),
    /// One process that the OOM killer marked: it may use memory reserves to die.
    OomVictim(Box<OomVictim>),
    /// The kernel's reaper took a victim's memory, or could not.
    OomReaped(Box<OomReaped>),
    /// The kernel is about to panic instead of killing.
    PanicOnOom(Box<PanicOnOom>),
    /// A cgroup is frozen instead of killed, or is so no more.
    UnderOom(Box<UnderOom>),
    /// A process ended: an OOM victim, or a container's first one.
    ProcessExit(Box<ProcessExit>),
    /// A signal that ends processes was delivered into a container.
    Signal(Box<Signal>),
    /// A cgroup hit its limit: attempts and failures of a window.
    ChargeFailures(Box<ChargeFailures>),
    /// The kernel refused an allocation that never came to an OOM.
    AllocationRefused(Box<AllocationRefused>),
    /// A limit of a pod's cgroup was set to something else.
    LimitChanged(Box<LimitChanged>),
    /// A cgroup will reach its limit within minutes, at its present growth.
    LimitAhead(Box<LimitAhead>),
    /// What memory looked like.
    Pressure(Box<Pressure>),
    /// One step of the kubelet's eviction manager.
    Eviction(Box<Eviction>),
    /// The kubelet noticed that the node had run out of memory.
    SystemOom(Box<SystemOom>),
    /// A container appeared, was killed, or went.
    Container(Box<ContainerChange>),
    /// A container's log says that its program ran out of memory.
    OutOfMemoryLog(Box<OutOfMemoryLog>),
    /// A container ended as Kubernetes intended.
    ContainerEnded(Box<ContainerEnded>),
    /// Why a container died: the timeline's verdict.
    Incident(Box<Incident>),
    /// Events that could not be kept.
    Lost(Lost),
    /// A record that could not be understood.
    Error(Failure),
    /// What is attached, what is missing and why.
    Status(Box<Status>),
}

/// How much an event matters, as logs have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// For who looks for the cause of something.
    Debug,
    /// As it should be.
    Info,
    /// Worth a look.
    Warn,
    /// Something was killed, or is stuck.
    Error,
    /// The node is about to go down.
    Fatal,
}

impl Event {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.into()
    }

    /// How much it matters.
    #[must_use]
    pub fn importance(&self) -> Importance {
        match self {
            Self::PanicOnOom(_) => Importance::Fatal,
            Self::OomKill(_) | Self::UnderOom(_) | Self::SystemOom(_) => Importance::Error,
            Self::Incident(incident) if incident.severity == Severity::Memory => Importance::Error,
            Self::Eviction(step) if matches!(step.phase, EvictionPhase::Evicting | EvictionPhase::Evicted) => {
                Importance::Error
            }
            Self::Incident(_)
            | Self::LimitAhead(_)
            | Self::Lost(_)
            | Self::Error(_)
            | Self::AllocationRefused(_)
            | Self::OutOfMemoryLog(_)
            | Self::OomDecision(_)
            | Self::OomVictim(_) => Importance::Warn,
            Self::Eviction(_)
            | Self::Status(_)
            | Self::ProcessExit(_)
            | Self::Signal(_)
            | Self::LimitChanged(_)
            | Self::Container(_)
            | Self::ContainerEnded(_) => Importance::Info,
            Self::ChargeFailures(_) | Self::Pressure(_) | Self::OomReaped(_) => Importance::Debug,
        }
    }

    /// Whether it is printed where no kinds are chosen: incidents are made of the rest.
    #[must_use]
    pub fn is_printed_by_default(&self) -> bool {
        match self {
            Self::OomKill(_)
            | Self::PanicOnOom(_)
            | Self::UnderOom(_)
            | Self::LimitAhead(_)
            | Self::Incident(_)
            | Self::Lost(_)
            | Self::Error(_)
            | Self::Status(_) => true,
            // What the kubelet looks at every ten seconds is for who asks.
            Self::Eviction(step) => !matches!(
                step.phase,
                EvictionPhase::Configured
                    | EvictionPhase::Observed
                    | EvictionPhase::NodeConditions
                    | EvictionPhase::GracePeriodNotMet
            ),
            Self::OomDecision(_)
            | Self::OomVictim(_)
            | Self::OomReaped(_)
            | Self::ProcessExit(_)
            | Self::Signal(_)
            | Self::ChargeFailures(_)
            | Self::AllocationRefused(_)
            | Self::LimitChanged(_)
            | Self::Pressure(_)
            | Self::SystemOom(_)
            | Self::Container(_)
            | Self::OutOfMemoryLog(_)
            | Self::ContainerEnded(_) => false,
        }
    }
}

impl Mentions for Event {
    fn mentions(&mut self, show: &mut dyn FnMut(Mention<'_>)) {
        match self {
            Self::OomKill(kill) | Self::OomDecision(kill) => kill.mentions(show),
            Self::OomVictim(victim) => victim.mentions(show),
            Self::OomReaped(reaped) => reaped.mentions(show),
            Self::PanicOnOom(panic) => panic.mentions(show),
            Self::UnderOom(frozen) => frozen.mentions(show),
            Self::ProcessExit(exit) => exit.mentions(show),
            Self::Signal(signal) => signal.mentions(show),
            Self::ChargeFailures(failures) => failures.mentions(show),
            Self::AllocationRefused(refused) => refused.mentions(show),
            Self::LimitChanged(changed) => changed.mentions(show),
            Self::LimitAhead(ahead) => ahead.mentions(show),
            Self::Pressure(pressure) => pressure.mentions(show),
            Self::Container(change) => change.mentions(show),
            Self::Eviction(step) => step.mentions(show),
            // What these are made of had its names, or did not get them in time.
            Self::OutOfMemoryLog(_)
            | Self::ContainerEnded(_)
            | Self::Incident(_)
            | Self::SystemOom(_)
            | Self::Lost(_)
            | Self::Error(_)
            | Self::Status(_) => {}
        }
    }
}

impl Kind {
    /// Its name in JSON lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests;
