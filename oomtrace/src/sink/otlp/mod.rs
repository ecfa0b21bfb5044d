//! OTLP, OpenTelemetry's protocol: lines as log records and figures as metrics, to one receiver, over gRPC or HTTP.
//!
//! ```text
//! tracer ─▶ the queue that every output has ─▶ Worker: batches, retries ─▶ Client: gRPC or HTTP ─▶ receiver
//!                           figures, by the clock ─▶ ┘
//! ```
//!
//! It is an output like the others: what is printed as [`Format::Otel`](super::Format::Otel) is what is sent, by the same mapping,
//! and the oldest lines go, counted, where the receiver is slow or away. The worker is the only one who waits for it.
//!
//! The messages are those of the crate `opentelemetry-proto`. The SDK's exporters are not used: they drop records where their
//! queue is full and only say so in a log of their own, know nothing of partial success, and a tracer has to say what it lost.
//! What is sent goes by `ureq` and `tonic`, by which the kubelet and the runtime are asked, too.

mod access;
mod client;
mod logs;
mod metrics;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

pub use self::access::{Access, Endpoint, Header, Protocol};
use self::{
    client::{Answer, Client, Signal},
    worker::{Figures, Worker},
};
use super::{Kinds, writer::Writer};
use crate::{confinement::Confinement, degradation::Degradation, metrics::Metrics};

/// What is sent where.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// How the receiver is asked.
    pub access: Access,
    /// Which kinds of lines are sent; none, where no log records are.
    pub kinds: Kinds,
    /// How often figures are sent, if they are.
    pub figures_every: Option<Duration>,
}

/// What is sent beside lines, and where it is said what is wrong.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The node's name.
    pub node: String,
    /// Figures, where they are counted.
    pub figures: Option<Arc<Metrics>>,
    /// What is missing of log records.
    pub logs_missing: Degradation,
    /// What is missing of figures.
    pub figures_missing: Degradation,
}

impl Otlp {
    /// Whether the receiver takes what it would be sent: it gets requests without a record and without a figure.
    ///
    /// # Errors
    ///
    /// Fails where it does not, with what helps.
    pub fn try_out(&self) -> Result<(), String> {
        let mut client = Client::new(self.access.clone());
        let logs = (self.kinds != Kinds::default()).then_some(Signal::Logs);
        let figures = self.figures_every.map(|_| Signal::Metrics);
        for signal in logs.into_iter().chain(figures) {
            // Nothing is the same in either message.
            match client.send(signal, ExportLogsServiceRequest::default()) {
                Answer::Taken { .. } => {}
                Answer::Later(why, _) | Answer::Never(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Starts the thread.
    pub(super) fn start(&self, beside: Beside, confinement: &Confinement) -> io::Result<Writer> {
        let Beside { node, figures, logs_missing, figures_missing } = beside;
        let figures = figures.zip(self.figures_every);
        let figures = figures.map(|(metrics, every)| Figures::new(metrics, node, every, figures_missing));
        let worker = Worker::new(self.access.clone(), logs_missing, figures);
        Writer::server("otlp", confinement, |queue| worker.run(queue))
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
