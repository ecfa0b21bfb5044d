//! Which rung of the ladder to stand on: probes, or where there are none the kernel's log.

use anyhow::anyhow;

use super::{Options, ProbeSource, Sources};
use crate::{
    node::{hierarchy::Hierarchy, processes},
    probe::{self, Choice, Loader},
    source::kmsg::Kmsg,
};

/// What is not seen without any probe.
const WITHOUT_PROBES: &str = "kills are read from the kernel's log: no ends of processes, no senders of signals, no charge \
                              failures, and no limit of a kill whose report the kernel's rate limit leaves out";

/// Loads the probes, or starts to read the kernel's log where they are not to be had or not wanted.
pub(super) fn climb(
    options: &Options,
    loader: Loader,
    hierarchy: Option<&Hierarchy>,
    sources: &mut Sources,
) -> anyhow::Result<Option<ProbeSource>> {
    let refused = match options.choice {
        Choice::Kmsg => None,
        choice => match ProbeSource::load(
            loader,
            &probe::Options {
                choice,
                ring_bytes: options.ring_bytes,
                map_entries: options.map_entries,
                charge_returns: options.charge_returns,
                command_lines: options.command_lines,
                log_level: options.probes_log,
            },
            hierarchy.cloned(),
            &options.names.sources.host,
        ) {
            Ok(probes) => return Ok(Some(probes)),
            Err(error) if choice == Choice::Auto => Some(error),
            Err(error) => return Err(error.into()),
        },
    };
    let proc = processes::of_node(&options.names.sources.host);
    match (Kmsg::open(options.kernel_log_backlog, hierarchy.cloned(), proc), refused) {
        (Ok(kmsg), refused) => {
            let why = refused.map_or_else(|| "as asked for".to_owned(), |error| one_line(&error.to_string()));
            sources.degrade(format!("no probes ({why}): {WITHOUT_PROBES}"));
            for status in kmsg.status() {
                sources.runs(status.clone());
            }
            sources.start(|tell, stop| kmsg.run(tell, stop));
            Ok(None)
        }
        (Err(error), None) => Err(error.into()),
        (Err(error), Some(refused)) => Err(anyhow!("{refused}\nneither can the kernel's log be used: {error}")),
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
