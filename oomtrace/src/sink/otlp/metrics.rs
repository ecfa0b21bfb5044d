//! Figures as one request. They have the names and labels that `/metrics` has: what asks for one of them there asks for the
//! same here.

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
        number_data_point,
    },
    resource::v1::Resource,
};

use super::nanos;
use crate::{
    metrics::{Family, Kind, Point, Unit, Value},
    sink::otel,
};

/// All figures as they are now, since the `start`.
pub(super) fn request(
    families: Vec<Family>,
    node: &str,
    start: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let metrics = families.into_iter().filter(|family| !family.points.is_empty());
    let metrics = metrics.map(|family| metric(family, nanos(start), nanos(now))).collect();
    let scope = InstrumentationScope { name: otel::PREFIX.to_owned(), ..InstrumentationScope::default() };
    // It is made of texts alone, so this cannot fail.
    let resource = serde_json::from_value::<Resource>(otel::resource(node.into())).ok();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource,
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }],
            schema_url: otel::CONVENTIONS.to_owned(),
        }],
    }
}

fn metric(family: Family, start: u64, now: u64) -> Metric {
    let Family { name, help, kind, unit, points } = family;
    let name = if kind == Kind::Info { format!("{name}_info") } else { name.to_owned() };
    let unit = match unit {
        Some(Unit::Bytes) => "By",
        Some(Unit::Seconds) => "s",
        None => "",
    };
    let data_points = points.into_iter().map(|point| NumberDataPoint {
        start_time_unix_nano: if kind == Kind::Counter { start } else { 0 },
        ..data_point(point, now)
    });
    let data_points = data_points.collect();
    let data = match kind {
        Kind::Counter => Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        Kind::Gauge | Kind::Info => Data::Gauge(Gauge { data_points }),
    };
    Metric { name, description: help.to_owned(), unit: unit.to_owned(), metadata: Vec::new(), data: Some(data) }
}

/// A label that is empty is one that is not there, as it is to Prometheus.
fn data_point(Point { labels, value }: Point, now: u64) -> NumberDataPoint {
    let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
    let attributes = labels.map(|(name, value)| KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value)) }),
        ..KeyValue::default()
    });
    NumberDataPoint {
        attributes: attributes.collect(),
        time_unix_nano: now,
        value: Some(match value {
            Value::Integer(value) => number_data_point::Value::AsInt(value.try_into().unwrap_or(i64::MAX)),
            Value::Float(value) => number_data_point::Value::AsDouble(value),
        }),
        ..NumberDataPoint::default()
    }
}
