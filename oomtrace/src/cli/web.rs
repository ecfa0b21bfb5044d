//! Where `oomtrace run` serves its report.

use crate::{http::Address, sink::Web};

/// Options about the report.
#[derive(Debug, clap::Args)]
#[group(id = "report")]
#[command(next_help_heading = "Report")]
pub(super) struct Args {
    /// Serve the page of `oomtrace timeline --format html` at this address, with each incident as it comes: 9478, which is
    /// 127.0.0.1:9478, ADDRESS:PORT, or :9478 for every address of the node. Who reaches it reads everything that incidents say.
    #[arg(
        id = "web",
        long = "web",
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "9478",
        value_parser = address,
        conflicts_with = "no_incidents"
    )]
    address: Option<Address>,
    /// How many incidents the page keeps, the last ones, within 8 MiB.
    #[arg(
        id = "web_keep",
        long = "web-keep",
        value_name = "N",
        default_value = "200",
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    keep: u32,
}

fn address(text: &str) -> Result<Address, String> {
    Address::or_loopback(text, Web::PORT)
}

impl Args {
    /// What is served where, if anything is.
    pub(super) fn web(&self) -> Option<Web> {
        let keep = usize::try_from(self.keep).unwrap_or(usize::MAX);
        self.address.clone().map(|address| Web { address, keep })
    }
}
