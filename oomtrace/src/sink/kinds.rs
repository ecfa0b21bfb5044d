//! Which events an output prints.

use std::{collections::BTreeSet, fmt, str::FromStr};

use strum::VariantArray as _;

use crate::{
    config::nearest,
    event::{Event, Kind},
};

/// A word that stands for all kinds.
const ALL: &str = "all";
/// A word that stands for the kinds that are printed where none are chosen.
const DEFAULT: &str = "default";

/// The kinds of events that an output prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// What a log stack is for: incidents, kills, evictions, losses, errors, a short status.
    default: bool,
    /// These as well.
    these: BTreeSet<Kind>,
}

impl Kinds {
    /// Every kind.
    #[must_use]
    pub fn all() -> Self {
        Self { default: false, these: Kind::VARIANTS.iter().copied().collect() }
    }

    /// The kinds that are printed where none are chosen.
    #[must_use]
    pub fn by_default() -> Self {
        Self { default: true, these: BTreeSet::new() }
    }

    /// One kind.
    pub(super) fn only(kind: Kind) -> Self {
        Self { default: false, these: BTreeSet::from([kind]) }
    }

    /// Those of several lists.
    #[must_use]
    pub fn together(lists: &[Self]) -> Self {
        let these = lists.iter().flat_map(|list| list.these.iter().copied()).collect();
        Self { default: lists.iter().any(|list| list.default), these }
    }

    /// Whether an event is printed.
    #[must_use]
    pub fn contain(&self, event: &Event) -> bool {
        self.these.contains(&event.kind()) || self.default && event.is_printed_by_default()
    }
}

impl FromStr for Kinds {
    type Err = String;

    /// Kinds with commas or plus signs between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds = Self::default();
        for word in text.split([',', '+']).map(str::trim) {
            match (word, Kind::from_str(word)) {
                (ALL, _) => kinds.these.extend(Kind::VARIANTS),
                (DEFAULT, _) => kinds.default = true,
                (_, Ok(kind)) => drop(kinds.these.insert(kind)),
                (_, Err(_)) => return Err(unknown(word)),
            }
        }
        Ok(kinds)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.write_str(ALL);
        }
        let words = self.default.then_some(DEFAULT).into_iter().chain(self.these.iter().map(|kind| kind.name()));
        f.write_str(&words.collect::<Vec<_>>().join("+"))
    }
}

/// What to say of a word that is no kind.
fn unknown(word: &str) -> String {
    let names: Vec<_> = Kind::VARIANTS.iter().map(|kind| kind.name()).chain([DEFAULT, ALL]).collect();
    let meant = nearest(word, names.iter().copied());
    let meant = meant.map_or_else(|| ".".to_owned(), |name| format!("; is {name} meant?"));
    format!("there is no kind {word:?}{meant} The kinds are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Eviction, EvictionPhase, Lost, LostFrom};

    fn kinds(text: &str) -> Result<Kinds, String> {
        text.parse()
    }

    #[test]
    fn what_is_chosen_is_printed_and_nothing_else() -> Result<(), String> {
        let (kill, pressure) = (Event::OomKill(Box::default()), Event::Pressure(Box::default()));
        for text in ["oom_kill,lost", "oom_kill+lost", "lost, oom_kill"] {
            let chosen = kinds(text)?;
            assert!(chosen.contain(&kill) && chosen.contain(&Event::Lost(Lost::new(LostFrom::Ring, 1))), "{text}");
            assert!(!chosen.contain(&pressure), "{text}");
        }
        assert!(kinds("default+pressure")?.contain(&pressure) && kinds("default+pressure")?.contain(&kill));
        assert_eq!(kinds("all")?, Kinds::all());
        assert_eq!(Kinds::together(&[kinds("lost")?, kinds("default")?]), kinds("lost,default")?);
        Ok(())
    }

    #[test]
    fn a_log_stack_gets_evictions_but_not_what_the_kubelet_looks_at_every_ten_seconds() -> Result<(), String> {
        let eviction = |phase| Event::Eviction(Box::new(Eviction::new(phase)));
        let default = Kinds::by_default();
        assert!(
            default.contain(&eviction(EvictionPhase::Evicted)) && default.contain(&eviction(EvictionPhase::Ranked))
        );
        assert!(!default.contain(&eviction(EvictionPhase::Observed)));
        assert!(kinds("eviction")?.contain(&eviction(EvictionPhase::Observed)));
        Ok(())
    }

    #[test]
    fn a_kind_that_is_not_there_is_refused_with_the_nearest_and_all_that_there_are() {
        let error = kinds("incident,oom_kil").expect_err("no such kind");
        assert!(
            error.starts_with("there is no kind \"oom_kil\"; is oom_kill meant? The kinds are oom_kill, "),
            "{error}"
        );
        assert!(error.ends_with("status, default, all"), "{error}");
        let error = kinds("xyzzy").expect_err("no such kind");
        assert!(error.starts_with("there is no kind \"xyzzy\". The kinds are oom_kill"), "{error}");
        assert!(kinds("").is_err());
    }
}
