//! Where `oomtrace run` serves figures.

use crate::http::Address;

/// Options about figures.
#[derive(Debug, clap::Args)]
#[group(id = "metrics")]
#[command(next_help_heading = "Figures")]
pub(super) struct Args {
    /// Serve figures, as `OpenMetrics`, on `/metrics`, and `/healthz` and `/readyz`, at this address: 127.0.0.1:9477, or :9477 for
    /// every address of the node.
    #[arg(long = "metrics-listen", value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<Address>,
    /// How many series with a pod, a container or a unit are kept at most: they outlive it. More are counted in
    /// `oomtrace_metrics_series_dropped_total`, and the ones that have been still for longest go.
    #[arg(long = "metrics-max-series", value_name = "N", default_value = "5000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_series: u32,
}

impl Args {
    pub(super) fn max_series(&self) -> usize {
        usize::try_from(self.max_series).unwrap_or(usize::MAX)
    }
}
