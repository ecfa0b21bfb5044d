//! `oomtrace run`: trace this node.

use std::{
    fs,
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::SignedDuration;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{info, warn};

use super::kernel_release;
use crate::{
    clock::{self, WallClock},
    event::{Event, Failure, Line, Lost, LostFrom, Moment, Phase, Source, Status, Told},
    node,
    probe::{Choice, KernelFacts, Options, Probes, Symbol, tracefs::FlagNames},
    sink::{Format, Writer},
    source::kernel::{Joiner, Machine, decode},
};

/// How often lost records are looked for.
const LOST_EVERY: Duration = Duration::from_millis(500);
/// How long an open decision waits for its end. Between the two the kernel writes its report to the console, which takes
/// seconds where that is a serial line; only an end that was lost takes longer.
const END_OVERDUE: Duration = Duration::from_secs(15);
/// Less likely to be killed than any pod, like the kubelet itself (`pkg/kubelet/qos/policy.go`), yet not immortal.
const OOM_SCORE_ADJ: &str = "-999";
/// Events of other sources that may wait to be told.
const WAITING: usize = 1024;

/// Options of `oomtrace run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print events. Default: text on a terminal, else JSON lines.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The node's name in every line. Default: the host's name.
    #[arg(long, env = "OOMTRACE_NODE_NAME")]
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
    /// Size of the ring buffer between kernel and oomtrace in KiB, a power of two from 4 on. A kill takes about 2 KiB.
    #[arg(long, value_name = "KIB", default_value = "512", value_parser = ring_size)]
    ring_size: u32,
}

/// A size that the kernel takes: `ringbuf_map_alloc`, `kernel/bpf/ringbuf.c`.
fn ring_size(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(kib) if kib.is_power_of_two() && (4..=1 << 20).contains(&kib) => Ok(kib),
        _ => Err("it has to be a power of two from 4 to 1048576".to_owned()),
    }
}

/// Traces until interrupted, or until what `args` say.
pub(super) fn run(args: &Args, probes_log: Option<aya_log::Level>) -> anyhow::Result<()> {
    protect_from_oom_killer();
    let facts = KernelFacts::gather();
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let probes = Probes::load(
            &facts,
            &Options { choice: args.probe, ring_bytes: args.ring_size * 1024, log_level: probes_log },
        )?;
        drop(facts);
        Tracer::new(args, probes)?.run(args).await
    })
}

/// Whoever watches the OOM killer should not be its victim.
fn protect_from_oom_killer() {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ) {
        warn!("oom_score_adj stays as it is ({error}); oomtrace itself may be killed: needs CAP_SYS_RESOURCE");
    }
}

struct Tracer {
    probes: Probes,
    joiner: Joiner,
    writer: Writer,
    reader_gone: oneshot::Receiver<()>,
    /// What the other sources tell, each of them a task or a thread of its own with a sender of this.
    others: mpsc::Receiver<Told>,
    /// Kept, so that the channel stays open, and handed to whatever source is started.
    #[expect(dead_code, reason = "the sources that use it follow")]
    to_tell: mpsc::Sender<Told>,
    format: Format,
    node: String,
    cgroup_version: Option<u8>,
    clock: WallClock,
    seq: u64,
    kills: u64,
    lost: u64,
}

impl Tracer {
    fn new(args: &Args, probes: Probes) -> anyhow::Result<Self> {
        let terminal = io::stdout().is_terminal();
        let format = args.format.unwrap_or(if terminal { Format::Text } else { Format::Json });
        let node =
            args.node_name.clone().unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let machine = Machine {
            page_size: rustix::param::page_size() as u64,
            cgroup_version: node::cgroup_version(),
            gfp_flags: FlagNames::of_gfp(),
            sees_signals: probes.rung(Symbol::SignalGenerate).is_some(),
            sees_marks: probes.rung(Symbol::MarkOomVictim).is_some(),
        };
        let cgroup_version = machine.cgroup_version;
        let (writer, reader_gone) = Writer::stdout().context("standard output cannot be written to")?;
        let joiner = Joiner::new(machine);
        let (to_tell, others) = mpsc::channel(WAITING);
        Ok(Self {
            probes,
            joiner,
            writer,
            reader_gone,
            others,
            to_tell,
            format,
            node,
            cgroup_version,
            clock: WallClock::now(),
            seq: 0,
            kills: 0,
            lost: 0,
        })
    }

    async fn run(mut self, args: &Args) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
        let time_up = sleep(args.duration.map_or(Duration::MAX, SignedDuration::unsigned_abs));
        tokio::pin!(time_up);
        let mut tick = interval(LOST_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_record = Instant::now();

        self.announce();
        self.status(Phase::Started);
        while args.count.is_none_or(|count| self.kills < count) {
            tokio::select! {
                ready = self.probes.readable() => {
                    ready.context("the ring buffer cannot be waited for")?;
                    self.drain();
                    last_record = Instant::now();
                }
                Some(told) = self.others.recv() => self.tell(vec![told]),
                _ = tick.tick() => {
                    if last_record.elapsed() > END_OVERDUE {
                        let told = self.joiner.flush();
                        self.tell(told);
                    }
                    self.count_lost();
                }
                _ = &mut self.reader_gone => break,
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                () = &mut time_up => break,
            }
        }
        self.drain();
        let told = self.joiner.flush();
        self.tell(told);
        self.count_lost();
        self.probes.flush_diagnostics();
        self.status(Phase::Stopped);
        match self.writer.finish() {
            // Whoever reads has had enough, which is no failure: `oomtrace run | head -1`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.context("standard output cannot be written to"),
        }
    }

    /// Reads all that is in the ring.
    fn drain(&mut self) {
        while let Some(bytes) = self.probes.next_record() {
            match decode(&bytes) {
                Ok(record) => {
                    let told = self.joiner.push(record);
                    self.tell(told);
                }
                Err(error) => {
                    self.say(Event::Error(Failure { message: error.to_string() }));
                }
            }
        }
    }

    fn tell(&mut self, told: Vec<Told>) {
        for told in told {
            self.kills += u64::from(matches!(told.event, Event::OomKill(_)));
            self.print(told);
        }
    }

    fn count_lost(&mut self) {
        for (from, count) in [(LostFrom::Ring, self.probes.newly_lost()), (LostFrom::Stdout, self.writer.newly_lost())]
        {
            if count > 0 {
                self.lost += count;
                self.say(Event::Lost(Lost { from, count }));
            }
        }
    }

    /// Tells something of oomtrace itself, now.
    fn say(&mut self, event: Event) {
        self.print(Told { source: Source::Oomtrace, at: Moment::Boot(clock::boot_ns()), event });
    }

    fn print(&mut self, Told { source, at, event }: Told) {
        self.seq += 1;
        self.clock.refresh();
        let (ts, boot_ns) = match at {
            Moment::Boot(boot_ns) => (self.clock.rfc3339(boot_ns), Some(boot_ns)),
            Moment::Wall(wall) => (clock::rfc3339(wall), None),
        };
        let line = Line { ts, seq: self.seq, node: self.node.clone(), source, boot_ns, event };
        self.writer.send(self.format.print(&line));
    }

    fn status(&mut self, phase: Phase) {
        let status = Status {
            phase,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel_release(),
            cgroup_version: self.cgroup_version,
            probes: self.probes.status().to_vec(),
            degraded: self.degraded(),
            kills: self.kills,
            lost: self.lost,
        };
        self.say(Event::Status(Box::new(status)));
    }

    /// What could be better, and why it is not.
    fn degraded(&self) -> Vec<String> {
        Symbol::ALL
            .iter()
            .filter(|symbol| self.probes.rung(**symbol).is_none())
            .map(|symbol| {
                let status = self.probes.status().iter().find(|status| status.symbol == symbol.name());
                let reasons: Vec<_> = status
                    .iter()
                    .flat_map(|status| &status.refused)
                    .map(|refusal| format!("{}: {}", refusal.rung, refusal.reason))
                    .collect();
                let reasons = if reasons.is_empty() { "not asked for".to_owned() } else { reasons.join("; ") };
                format!("{} is not attached ({reasons}): {}", symbol.name(), symbol.without_it())
            })
            .collect()
    }

    /// Says on standard error what is attached.
    fn announce(&self) {
        for probe in self.probes.status() {
            if let Some(rung) = probe.attached {
                info!("{} attached by {rung}", probe.symbol);
            }
            for refusal in &probe.refused {
                info!("{}: {} refused: {}", probe.symbol, refusal.rung, refusal.reason);
            }
        }
        for degraded in self.degraded() {
            warn!("{degraded}");
        }
    }
}
