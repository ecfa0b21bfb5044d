//! `oomtrace run`: trace this node.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use jiff::SignedDuration;

use super::{kubernetes, metrics, names, otlp, outputs, web};
use crate::{
    confinement::{Confinement, Measures},
    live::{self, Options},
    probe::Choice,
    sink::{Format, Output},
};

/// Options of `oomtrace run`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Args {
    /// How to print events on standard output. Default: text on a terminal, else JSON lines; nothing, where `--output` names
    /// files alone.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The node's name in every line. Default: the host's name.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Stop after this time: 90s, 5m, 1h30m.
    #[arg(long)]
    duration: Option<SignedDuration>,
    /// Stop after this many kills.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Which kind of attach point to use.
    #[arg(long, value_enum, default_value_t)]
    probe: Choice,
    /// Size of the ring buffer between kernel and oomtrace in KiB, a power of two from 4 on; where pages are larger, it is a
    /// page at least. A kill takes about 2 KiB.
    #[arg(long, value_name = "KIB", default_value = "512", value_parser = ring_size)]
    ring_size: u32,
    /// How many cgroups at their limits, and processes whose allocations are refused, are counted at a time; more are reported
    /// as lost.
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    map_size: u32,
    /// Count the charges that fail, too, by their return. Costs every page fault.
    #[arg(long)]
    charge_returns: bool,
    /// What the flight recorder may take of memory, in KiB: what memory was of each container, pod and the node, for a day at
    /// most, 16 KiB each. 0 turns it off.
    #[arg(long, value_name = "KIB", default_value = "8192", value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    history_memory: u32,
    /// Keep every line in this file as well, as JSON, for `oomtrace timeline` later. It is appended to. Lines are whole there: what
    /// is printed elsewhere as JSON is no longer than 16 KiB a line, and says of each list how much it leaves out
    /// (`candidates_omitted`, …).
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Where the node's cgroups are mounted: in a container, where the host's /sys/fs/cgroup is.
    #[arg(long, value_name = "PATH", default_value = "/sys/fs/cgroup")]
    cgroup_root: PathBuf,
    /// Where the kernel's log is read (`--probe kmsg`, or no probe attaches): report also the kills that it holds from before.
    #[arg(long)]
    kernel_log_backlog: bool,
    /// Keep in this folder how far the node was traced, so that the next start reports from the kernel's log what was killed
    /// while oomtrace did not run, and goes on with the incidents that were open when oomtrace was killed.
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Write this file every second while the main loop goes round, for `oomtrace healthy`. Best in memory, where no full disk
    /// keeps it from being written.
    #[arg(long, value_name = "FILE")]
    alive_file: Option<PathBuf>,
    /// How often to emit a `status`, with what was lost so far; 0s for never.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    heartbeat: SignedDuration,
    /// Do not read what victims were started as, nor what sets the size of heaps on the command lines and in the environments
    /// of containers' processes: arguments may hold secrets.
    #[arg(long)]
    no_command_lines: bool,
    /// Emit events alone, not the incidents that they make.
    #[arg(long)]
    no_incidents: bool,
    /// What to give up once everything is attached, so that who takes oomtrace over gets little by it: `all`, `none`, or of
    /// `capabilities`, `no_new_privs`, `seccomp` and `landlock`. The last two include `no_new_privs`. With `landlock`, environments
    /// of processes are not read: heap settings in them are those that the runtime was given.
    #[arg(long, value_name = "MEASURE,…", default_value = "all")]
    confine: Measures,
    #[command(flatten)]
    names: names::Args,
    // What has a heading of its own comes last: whatever follows would stand below it.
    #[command(flatten)]
    outputs: outputs::Args,
    #[command(flatten)]
    metrics: metrics::Args,
    #[command(flatten)]
    web: web::Args,
    #[command(flatten)]
    otlp: otlp::Args,
    #[command(flatten)]
    kubernetes: kubernetes::Args,
    #[command(flatten)]
    kubelet: super::kubelet::Args,
}

impl Args {
    /// What is printed where; an error says which options do not go together.
    pub(super) fn outputs(&self) -> Result<Vec<Output>, String> {
        let fallback = if io::stdout().is_terminal() { Format::Text } else { Format::Json };
        self.outputs.all(self.format, fallback)
    }
}

/// A size that the kernel takes: `ringbuf_map_alloc`, `kernel/bpf/ringbuf.c`.
fn ring_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(kib) if kib.is_power_of_two() && (4..=1 << 20).contains(&kib) => Ok(kib),
        _ => Err("it has to be a power of two from 4 to 1048576".to_owned()),
    }
}

/// What the kernel takes for so many KiB: whole pages, so that one configuration is good for nodes whose pages differ.
fn ring_bytes(kib: u32, page_size: usize) -> u32 {
    (kib * 1024).max(u32::try_from(page_size).unwrap_or(u32::MAX))
}

/// Traces until interrupted, or until what `args` say.
pub(super) fn run(args: &Args, probes_log: Option<aya_log::Level>) -> anyhow::Result<()> {
    let names = args.names.options(&args.cgroup_root);
    let (kubelet_log, kubelet_log_asked_for) = args.kubelet.log(&names.sources.host, args.state_dir.as_deref());
    let confinement = Confinement { measures: args.confine.clone(), reads_environments: !args.no_command_lines };
    live::run(&Options {
        outputs: args.outputs().map_err(anyhow::Error::msg)?,
        rotation: args.outputs.rotation(),
        node: super::node_name(args.node_name.as_deref()),
        duration: args.duration.map(SignedDuration::unsigned_abs),
        count: args.count,
        choice: args.probe,
        ring_bytes: ring_bytes(args.ring_size, rustix::param::page_size()),
        map_entries: args.map_size,
        charge_returns: args.charge_returns,
        command_lines: !args.no_command_lines,
        probes_log,
        record: args.record.clone(),
        cgroup_root: args.cgroup_root.clone(),
        history_bytes: args.history_memory as usize * 1024,
        kernel_log_backlog: args.kernel_log_backlog,
        state_dir: args.state_dir.clone(),
        alive_file: args.alive_file.clone(),
        heartbeat: args.heartbeat.unsigned_abs(),
        incidents: !args.no_incidents,
        metrics_listen: args.metrics.listen.clone(),
        web: args.web.web(),
        otlp: args.otlp.receiver(args.outputs.kinds()),
        kubernetes_events: args.kubernetes.events(),
        metrics_max_series: args.metrics.max_series(),
        names,
        confinement,
        kubelet_log,
        kubelet_log_asked_for,
        kubelet_metrics: args.kubelet.metrics(args.names.kubelet()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_a_page_at_least() {
        assert_eq!(ring_bytes(4, 4 << 10), 4 << 10);
        assert_eq!(ring_bytes(4, 64 << 10), 64 << 10);
        assert_eq!(ring_bytes(512, 64 << 10), 512 << 10);
    }
}
