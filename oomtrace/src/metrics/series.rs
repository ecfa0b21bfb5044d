//! Counters with labels that users of the cluster choose: bounded, for a node sees ever new ones.

use std::collections::BTreeMap;

/// What is counted by where it happened. The order is that of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    /// Decisions of the OOM killer that killed.
    OomKills,
    /// Those of them that Kubernetes does not report.
    InvisibleKills,
    /// Incidents.
    Incidents,
    /// Pods that the kubelet evicted.
    Evictions,
    /// Charges that hit a limit and went into reclaim.
    ChargeFailures,
    /// Charges that failed for good.
    ChargeEnomem,
    /// Calls of a cgroup's OOM handling.
    ChargeOoms,
    /// Allocations refused before it came to an OOM.
    AllocationsRefused,
    /// Limits that were about to be reached.
    LimitsAhead,
    /// Those of them that were not reached after all.
    LimitsAheadWithdrawn,
}

impl Figure {
    pub(super) const ALL: [Self; 10] = [
        Self::OomKills,
        Self::InvisibleKills,
        Self::Incidents,
        Self::Evictions,
        Self::ChargeFailures,
        Self::ChargeEnomem,
        Self::ChargeOoms,
        Self::AllocationsRefused,
        Self::LimitsAhead,
        Self::LimitsAheadWithdrawn,
    ];

    /// The metric's name, without `_total`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OomKills => "oomtrace_oom_kills",
            Self::InvisibleKills => "oomtrace_invisible_kills",
            Self::Incidents => "oomtrace_incidents",
            Self::Evictions => "oomtrace_evictions",
            Self::ChargeFailures => "oomtrace_charge_failures",
            Self::ChargeEnomem => "oomtrace_charge_enomem",
            Self::ChargeOoms => "oomtrace_charge_ooms",
            Self::AllocationsRefused => "oomtrace_allocations_refused",
            Self::LimitsAhead => "oomtrace_limits_ahead",
            Self::LimitsAheadWithdrawn => "oomtrace_limits_ahead_withdrawn",
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::OomKills => {
                "Decisions of the kernel's OOM killer that killed; scenario as the incident was judged when it opened, unknown where none did"
            }
            Self::InvisibleKills => {
                "OOM kills that Kubernetes reports nowhere, as the container's first process lived on; counted when the incident closes"
            }
            Self::Incidents => "Incidents by their verdict, each once, when it closes: 75 s after its last event",
            Self::Evictions => "Pods that the kubelet evicted",
            Self::ChargeFailures => "Charges to a cgroup that hit a memory limit and went into reclaim",
            Self::ChargeEnomem => "Charges to a cgroup that failed for good (--charge-returns)",
            Self::ChargeOoms => "Times that a cgroup at its limit called for the OOM killer",
            Self::AllocationsRefused => "Allocations that the kernel refused without any OOM",
            Self::LimitsAhead => {
                "Times that a cgroup grew so that it would reach its memory limit within ten to twenty minutes"
            }
            Self::LimitsAheadWithdrawn => "Those of oomtrace_limits_ahead_total that stopped growing before the limit",
        }
    }

    /// The labels' names, in their order.
    pub(super) fn labels(self) -> &'static [&'static str] {
        match self {
            Self::OomKills => &["namespace", "pod", "container", "unit", "scenario", "limit_level"],
            Self::Incidents => &["namespace", "pod", "container", "unit", "severity", "scenario", "limit_level"],
            Self::InvisibleKills => &["namespace", "pod", "container", "unit"],
            Self::Evictions => &["namespace", "pod", "signal"],
            Self::ChargeFailures
            | Self::ChargeEnomem
            | Self::ChargeOoms
            | Self::LimitsAhead
            | Self::LimitsAheadWithdrawn => &["namespace", "pod", "container", "unit", "limit_level"],
            Self::AllocationsRefused => &["namespace", "pod", "container", "unit", "by"],
        }
    }
}

/// A counter.
#[derive(Clone, Copy, Debug)]
struct Counted {
    value: u64,
    /// When it was last counted up, in calls of [`Series::add`].
    touched: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Series {
    most: usize,
    adds: u64,
    all: BTreeMap<(Figure, Vec<String>), Counted>,
    dropped: BTreeMap<Figure, u64>,
}

impl Series {
    /// None, and never more than `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { most, adds: 0, all: BTreeMap::new(), dropped: BTreeMap::new() }
    }

    /// Counts up. A series outlives what it is about; where there are too many, the one that has been still for longest makes
    /// room: what happens now matters more than what happened months ago, and Prometheus has stored that.
    pub(super) fn add(&mut self, figure: Figure, labels: Vec<String>, count: u64) {
        if count == 0 {
            return;
        }
        self.adds += 1;
        let touched = self.adds;
        let counted = self.all.entry((figure, labels)).or_insert(Counted { value: 0, touched });
        counted.value += count;
        counted.touched = touched;
        if self.all.len() > self.most
            && let Some(stillest) =
                self.all.iter().min_by_key(|(_, counted)| counted.touched).map(|(key, _)| key.clone())
        {
            self.all.remove(&stillest);
            *self.dropped.entry(stillest.0).or_default() += 1;
        }
    }

    /// The series of a figure: labels, and count.
    pub(super) fn of(&self, figure: Figure) -> impl Iterator<Item = (&[String], u64)> {
        let from = (figure, Vec::new());
        let of_figure = self.all.range(from..).take_while(move |((of, _), _)| *of == figure);
        of_figure.map(|((_, labels), counted)| (labels.as_slice(), counted.value))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many had to make room.
    pub(super) fn dropped(&self, figure: Figure) -> u64 {
        self.dropped.get(&figure).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pod: &str) -> Vec<String> {
        vec![pod.to_owned()]
    }

    fn kills(series: &Series) -> Vec<(String, u64)> {
        series.of(Figure::OomKills).map(|(labels, count)| (labels[0].clone(), count)).collect()
    }

    #[test]
    fn of_too_many_series_the_one_that_has_been_still_for_longest_makes_room() {
        let mut series = Series::new(2);
        for pod in ["a", "b", "a", "c"] {
            series.add(Figure::OomKills, labels(pod), 1);
        }
        assert_eq!(kills(&series), [("a".to_owned(), 2), ("c".to_owned(), 1)]);
        assert_eq!(series.dropped(Figure::OomKills), 1);
        assert_eq!(series.dropped(Figure::Evictions), 0);
    }

    #[test]
    fn the_bound_is_for_all_figures_together() {
        let mut series = Series::new(2);
        series.add(Figure::Evictions, labels("a"), 1);
        series.add(Figure::OomKills, labels("a"), 1);
        series.add(Figure::OomKills, labels("b"), 1);
        assert_eq!(series.len(), 2);
        assert_eq!(series.dropped(Figure::Evictions), 1);
    }

    #[test]
    fn nothing_makes_no_series() {
        let mut series = Series::new(2);
        series.add(Figure::OomKills, labels("a"), 0);
        assert_eq!(series.len(), 0);
    }
}
