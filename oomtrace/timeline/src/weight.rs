//! Which lines can make an incident, and which only belong to one.

use oomtrace_model::{ContainerAction, Event, EvictionPhase};

use super::evidence::unkillable::Unkillable;

/// What a line is worth.
pub(super) enum Weight {
    /// It can make an incident.
    Evidence,
    /// It says more of one.
    Context,
}

impl Weight {
    /// Of an event; `None` where it is of no use to the timeline.
    pub(super) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::OomKill(_)
            | Event::Signal(_)
            | Event::AllocationRefused(_)
            | Event::SystemOom(_)
            | Event::OutOfMemoryLog(_)
            | Event::PanicOnOom(_)
            | Event::UnderOom(_) => Some(Self::Evidence),
            Event::ProcessExit(exit) => {
                let is_placed = exit.oom_victim || exit.container.is_some() || exit.pod.is_some();
                // Of a container only its first process's end is its end, and of a group hundreds may end at once.
                let weight = if exit.container_exit_code.is_some() { Self::Evidence } else { Self::Context };
                is_placed.then_some(weight)
            }
            Event::Eviction(eviction) => Some(match eviction.phase {
                EvictionPhase::Configured => return None,
                EvictionPhase::Observed | EvictionPhase::NodeConditions if eviction.memory == Some(false) => {
                    return None;
                }
                EvictionPhase::Observed | EvictionPhase::NodeConditions => Self::Context,
                _ => Self::Evidence,
            }),
            Event::Container(change) => Some(match change.action {
                ContainerAction::Created
                | ContainerAction::Started
                | ContainerAction::Removed
                // Every few seconds while a container waits.
                | ContainerAction::BackOff => Self::Context,
                _ => Self::Evidence,
            }),
            Event::OomDecision(_) | Event::ChargeFailures(_) if Unkillable::of(event).is_some() => Some(Self::Evidence),
            Event::ChargeFailures(_) | Event::Pressure(_) => Some(Self::Context),
            // What the timeline makes nothing of: steps of a kill that the kill has, what oomtrace says of itself.
            _ => None,
        }
    }
}
