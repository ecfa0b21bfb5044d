//! The figures as `OpenMetrics` text.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit as Suffix},
};

use super::{
    Metrics,
    families::{Family, Kind, Point, Unit, Value},
};

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
        self.families().iter().try_for_each(|family| write(family, &mut encoder))
    }
}

fn write(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Info => MetricType::Info,
    };
    let unit = family.unit.map(|unit| match unit {
        Unit::Bytes => Suffix::Bytes,
        Unit::Seconds => Suffix::Seconds,
    });
    let mut descriptor = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
    if let [Point { labels, value }] = family.points.as_slice()
        && labels.is_empty()
    {
        return write_value(family.kind, *value, descriptor);
    }
    for Point { labels, value } in &family.points {
        let labels = labels.as_slice();
        match family.kind {
            Kind::Info => descriptor.encode_info(&labels)?,
            kind => write_value(kind, *value, descriptor.encode_family(&labels)?)?,
        }
    }
    Ok(())
}

fn write_value(kind: Kind, value: Value, encoder: MetricEncoder<'_>) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Integer(value)) => ConstCounter::new(value).encode(encoder),
        (Kind::Counter, Value::Float(value)) => ConstCounter::new(value).encode(encoder),
        (_, Value::Integer(value)) => ConstGauge::new(value).encode(encoder),
        (_, Value::Float(value)) => ConstGauge::new(value).encode(encoder),
    }
}
