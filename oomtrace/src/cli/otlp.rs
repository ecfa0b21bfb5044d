//! Where `oomtrace run` sends lines and figures by OTLP.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use jiff::SignedDuration;

use crate::sink::{Endpoint, Header, Kinds, Otlp, OtlpAccess, Protocol};

/// Options about OTLP.
#[derive(Debug, clap::Args)]
#[group(id = "opentelemetry")]
#[command(next_help_heading = "OpenTelemetry")]
pub(super) struct Args {
    /// Send lines as log records, and figures as metrics, to this receiver of OTLP, such as a Collector's `http://HOST:4318`. Lines
    /// are of the kinds that --only names.
    #[arg(id = "otlp", long = "otlp", value_name = "URL")]
    endpoint: Option<Endpoint>,
    /// What it speaks: `http` for protobuf by HTTP, on port 4318 as a rule, or `grpc`, on port 4317.
    #[arg(id = "otlp_protocol", long = "otlp-protocol", value_enum, default_value = "http")]
    protocol: Protocol,
    /// Send this header with each request; may be given several times. `NAME=@FILE` has the value in a file, which is read anew for
    /// each request: the place for a secret, such as `authorization=@/etc/oomtrace/otlp-token`.
    #[arg(id = "otlp_header", long = "otlp-header", value_name = "NAME=VALUE")]
    headers: Vec<Header>,
    /// What has to have signed the certificate of a receiver at `https://`. Default: what this system trusts.
    #[arg(id = "otlp_ca", long = "otlp-ca", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How long it may take to answer.
    #[arg(id = "otlp_timeout", long = "otlp-timeout", value_name = "TIME", default_value = "10s", value_parser = interval)]
    timeout: Duration,
    /// What is sent, where the receiver does not take both.
    #[arg(
        id = "otlp_signals",
        long = "otlp-signals",
        value_enum,
        value_name = "SIGNAL,…",
        value_delimiter = ',',
        default_value = "logs,metrics"
    )]
    signals: Vec<Signal>,
    /// How often metrics are sent.
    #[arg(id = "otlp_metrics_interval", long = "otlp-metrics-interval", value_name = "TIME", default_value = "1m", value_parser = interval)]
    metrics_interval: Duration,
}

/// What can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Signal {
    /// Lines, as log records.
    Logs,
    /// Figures, as metrics.
    Metrics,
}

fn interval(text: &str) -> Result<Duration, String> {
    let time: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let seconds = SignedDuration::from_secs(1);
    if time < seconds { Err("it has to be a second at least".to_owned()) } else { Ok(time.unsigned_abs()) }
}

impl Args {
    /// What is sent where, if anything is; lines of these kinds.
    pub(super) fn receiver(&self, kinds: Kinds) -> Option<Otlp> {
        let Self { endpoint, protocol, headers, ca, timeout, signals, metrics_interval } = self;
        let sends = |signal| signals.contains(&signal);
        Some(Otlp {
            access: OtlpAccess {
                endpoint: endpoint.clone()?,
                protocol: *protocol,
                headers: headers.clone(),
                ca: ca.clone(),
                timeout: *timeout,
            },
            kinds: if sends(Signal::Logs) { kinds } else { Kinds::default() },
            figures_every: sends(Signal::Metrics).then_some(*metrics_interval),
        })
    }
}
