//! The figures as `OpenMetrics` text.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::{Metrics, figures::Figures, process::Process, series::Figure};
use crate::{build_info, event::Status};

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus's own text format, for clients that take nothing else.
    Prometheus,
}

impl Exposition {
    /// What a client takes, by its `Accept` header: `OpenMetrics`, unless it asks for text and not for that.
    pub(super) fn accepted(accept: &str) -> Self {
        let takes = |what: &str| accept.split(',').any(|range| range.trim().starts_with(what));
        if takes("text/plain") && !takes("application/openmetrics-text") { Self::Prometheus } else { Self::OpenMetrics }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All figures, as they are now.
pub(super) fn expose(metrics: &Arc<Metrics>, exposition: Exposition) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Arc::clone(metrics)));
    let mut text = String::new();
    match exposition {
        Exposition::OpenMetrics => prometheus_client::encoding::text::encode(&mut text, &registry)?,
        Exposition::Prometheus => prometheus_client::encoding::prometheus_text::encode(&mut text, &registry)?,
    }
    Ok(text)
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        {
            let figures = self.figures();
            series(&figures, &mut encoder)?;
            reported(&figures, &mut encoder)?;
            attached(figures.status.as_deref(), &mut encoder)?;
        }
        build(&mut encoder)?;
        process(&Process::read(), &mut encoder)
    }
}

fn series(figures: &Figures, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for figure in Figure::ALL {
        let mut family = encoder.encode_descriptor(figure.name(), figure.help(), None, MetricType::Counter)?;
        for (values, count) in figures.series.of(figure) {
            let labels: Vec<_> = figure.labels().iter().copied().zip(values.iter().map(String::as_str)).collect();
            counter(&mut family, &labels, count)?;
        }
    }
    let help = "Series that are kept of the figures above; --metrics-max-series is their bound";
    let family = encoder.encode_descriptor("oomtrace_metrics_series", help, None, MetricType::Gauge)?;
    ConstGauge::new(figures.series.len()).encode(family)?;
    let help = "Series that made room for newer ones, by the metric that they were of";
    let name = "oomtrace_metrics_series_dropped";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for figure in Figure::ALL {
        let metric = format!("{}_total", figure.name());
        counter(&mut family, &[("metric", &metric)], figures.series.dropped(figure))?;
    }
    Ok(())
}

fn reported(figures: &Figures, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Lines emitted, by kind";
    let mut family = encoder.encode_descriptor("oomtrace_events", help, None, MetricType::Counter)?;
    for (kind, count) in &figures.events {
        counter(&mut family, &[("kind", kind.name())], *count)?;
    }
    let help = "Events that could not be kept, by where they were lost, and by the output that was too slow";
    let mut family = encoder.encode_descriptor("oomtrace_lost_events", help, None, MetricType::Counter)?;
    // There from the beginning, so that the first loss is an increase.
    if !figures.lost.contains_key(&("ring".to_owned(), String::new())) {
        counter(&mut family, &[("from", "ring"), ("output", "")], 0)?;
    }
    for ((from, output), count) in &figures.lost {
        counter(&mut family, &[("from", from), ("output", output)], *count)?;
    }
    Ok(())
}

fn attached(status: Option<&Status>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Whether a kernel function or log is attached to, and how";
    let mut family = encoder.encode_descriptor("oomtrace_attached", help, None, MetricType::Gauge)?;
    for (symbol, attached) in status.iter().flat_map(|status| &status.attached) {
        let rung = attached.map(|rung| rung.to_string()).unwrap_or_default();
        let labels = [("symbol", symbol.as_str()), ("rung", &rung)];
        ConstGauge::new(u32::from(attached.is_some())).encode(family.encode_family(&labels)?)?;
    }
    let help = "What is not as good as it could be: the status event says what, and the remedy";
    let family = encoder.encode_descriptor("oomtrace_degradations", help, None, MetricType::Gauge)?;
    ConstGauge::new(status.map_or(0, |status| status.degraded.len())).encode(family)
}

fn build(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "The version of oomtrace, and what it was built from and with";
    let mut family = encoder.encode_descriptor("oomtrace_build", help, None, MetricType::Info)?;
    family.encode_info(&[
        ("version", build_info::VERSION),
        ("commit", build_info::COMMIT),
        ("target", build_info::TARGET),
        ("rustc", build_info::RUSTC),
    ])
}

fn process(process: &Process, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Some(seconds) = process.cpu_seconds {
        let help = "User and system CPU time";
        let family = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
        ConstCounter::new(seconds).encode(family)?;
    }
    if let Some(seconds) = process.start_seconds {
        let help = "When the process started, since 1970";
        let family = encoder.encode_descriptor("process_start_time", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(seconds).encode(family)?;
    }
    for (name, help, unit, value) in [
        ("process_resident_memory", "Resident memory", Some(Unit::Bytes), process.resident_bytes),
        ("process_virtual_memory", "Address space", Some(Unit::Bytes), process.virtual_bytes),
        ("process_open_fds", "Open file descriptors", None, process.open_fds),
        ("process_max_fds", "The most file descriptors that may be open", None, process.max_fds),
    ] {
        if let Some(value) = value {
            let family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
    }
    Ok(())
}

fn counter(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(&labels)?)
}
