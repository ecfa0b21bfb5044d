//! The figures as they are now, by name: what `/metrics` and OTLP both are made of.

use super::{Metrics, figures::Figures, process::Process, series::Figure};
use crate::{build_info, event::Status};

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Counted, since the start.
    Counter,
    /// As it is now.
    Gauge,
    /// Words, in the labels.
    Info,
}

/// In what it is measured, where its name does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Seconds,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(u64),
    Float(f64),
}

/// One series' value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: Value,
}

/// All series of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Without `_total`, `_info` and the unit.
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: Option<Unit>,
    pub(crate) points: Vec<Point>,
}

impl Family {
    fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        Self { name, help, kind, unit: None, points: Vec::new() }
    }

    fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Counter)
    }

    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Gauge)
    }

    fn with(self, value: Value) -> Self {
        self.labelled([], value)
    }

    fn labelled<const N: usize>(mut self, labels: [(&'static str, &str); N], value: Value) -> Self {
        self.push(labels, value);
        self
    }

    fn push<const N: usize>(&mut self, labels: [(&'static str, &str); N], value: Value) {
        self.points.push(Point { labels: labels.map(|(name, value)| (name, value.to_owned())).into(), value });
    }
}

fn count(count: usize) -> Value {
    Value::Integer(count as u64)
}

impl Metrics {
    /// All figures, as they are now.
    pub(crate) fn families(&self) -> Vec<Family> {
        let mut families = {
            let figures = self.figures();
            let mut families = series(&figures);
            families.extend(reported(&figures));
            families.extend(attached(figures.status.as_deref()));
            families
        };
        families.push(build());
        families.extend(process(&Process::read()));
        families
    }
}

fn series(figures: &Figures) -> Vec<Family> {
    let of_figure = |figure: Figure| {
        let points = figures.series.of(figure).map(|(values, count)| Point {
            labels: figure.labels().iter().copied().zip(values.iter().cloned()).collect(),
            value: Value::Integer(count),
        });
        Family { points: points.collect(), ..Family::counter(figure.name(), figure.help()) }
    };
    let mut families: Vec<_> = Figure::ALL.map(of_figure).into();
    let help = "Series that are kept of the figures above; --metrics-max-series is their bound";
    families.push(Family::gauge("oomtrace_metrics_series", help).with(count(figures.series.len())));
    let help = "Series that made room for newer ones, by the metric that they were of";
    let mut dropped = Family::counter("oomtrace_metrics_series_dropped", help);
    for figure in Figure::ALL {
        let metric = format!("{}_total", figure.name());
        dropped.push([("metric", &metric)], Value::Integer(figures.series.dropped(figure)));
    }
    families.push(dropped);
    families
}

fn reported(figures: &Figures) -> [Family; 2] {
    let mut events = Family::counter("oomtrace_events", "Lines emitted, by kind");
    for (kind, count) in &figures.events {
        events.push([("kind", kind.name())], Value::Integer(*count));
    }
    let help = "Events that could not be kept, by where they were lost, and by the output that was too slow";
    let mut lost = Family::counter("oomtrace_lost_events", help);
    // There from the beginning, so that the first loss is an increase.
    if !figures.lost.contains_key(&("ring".to_owned(), String::new())) {
        lost.push([("from", "ring"), ("output", "")], Value::Integer(0));
    }
    for ((from, output), count) in &figures.lost {
        lost.push([("from", from), ("output", output)], Value::Integer(*count));
    }
    [events, lost]
}

fn attached(status: Option<&Status>) -> [Family; 2] {
    let help = "Whether a kernel function or log is attached to, and how";
    let mut family = Family::gauge("oomtrace_attached", help);
    for (symbol, attached) in status.iter().flat_map(|status| &status.attached) {
        let rung = attached.map(|rung| rung.to_string()).unwrap_or_default();
        family.push([("symbol", symbol), ("rung", &rung)], Value::Integer(attached.is_some().into()));
    }
    let help = "What is not as good as it could be: the status event says what, and the remedy";
    let degraded = status.map_or(0, |status| status.degraded.len());
    [family, Family::gauge("oomtrace_degradations", help).with(count(degraded))]
}

fn build() -> Family {
    let help = "The version of oomtrace, and what it was built from and with";
    let labels = [
        ("version", build_info::VERSION),
        ("commit", build_info::COMMIT),
        ("target", build_info::TARGET),
        ("rustc", build_info::RUSTC),
    ];
    Family::new("oomtrace_build", help, Kind::Info).labelled(labels, Value::Integer(1))
}

fn process(process: &Process) -> Vec<Family> {
    let in_unit = |family: Family, unit| Family { unit, ..family };
    let mut families = Vec::new();
    if let Some(seconds) = process.cpu_seconds {
        let family = Family::counter("process_cpu", "User and system CPU time").with(Value::Float(seconds));
        families.push(in_unit(family, Some(Unit::Seconds)));
    }
    if let Some(seconds) = process.start_seconds {
        let family = Family::gauge("process_start_time", "When the process started, since 1970");
        families.push(in_unit(family.with(Value::Float(seconds)), Some(Unit::Seconds)));
    }
    for (name, help, unit, value) in [
        ("process_resident_memory", "Resident memory", Some(Unit::Bytes), process.resident_bytes),
        ("process_virtual_memory", "Address space", Some(Unit::Bytes), process.virtual_bytes),
        ("process_open_fds", "Open file descriptors", None, process.open_fds),
        ("process_max_fds", "The most file descriptors that may be open", None, process.max_fds),
    ] {
        families.extend(value.map(|value| in_unit(Family::gauge(name, help).with(Value::Integer(value)), unit)));
    }
    families
}
