//! Lines as one request: what [`otel::print`](crate::sink::otel) made of each, together.

use std::{sync::Arc, time::SystemTime};

use opentelemetry_proto::tonic::{collector::logs::v1::ExportLogsServiceRequest, logs::v1::LogsData};

use super::nanos;

/// The request, and how many lines could not be read: none, as they are oomtrace's own.
pub(super) fn request(lines: &[Arc<str>], now: SystemTime) -> (ExportLogsServiceRequest, u64) {
    let mut request = ExportLogsServiceRequest::default();
    let mut unread = 0;
    for line in lines {
        let Ok(LogsData { resource_logs }) = serde_json::from_str(line) else {
            unread += 1;
            continue;
        };
        for logs in resource_logs {
            // All lines of a run are of one resource and scope.
            match request.resource_logs.iter_mut().find(|known| known.resource == logs.resource) {
                Some(known) => {
                    let records = logs.scope_logs.into_iter().flat_map(|scope| scope.log_records);
                    if let Some(scope) = known.scope_logs.last_mut() {
                        scope.log_records.extend(records);
                    }
                }
                None => request.resource_logs.push(logs),
            }
        }
    }
    let records = request.resource_logs.iter_mut().flat_map(|logs| &mut logs.scope_logs);
    for record in records.flat_map(|scope| &mut scope.log_records) {
        record.observed_time_unix_nano = nanos(now);
    }
    (request, unread)
}
