//! What judging a storm costs: a thousand kills in fifty pods, as the probes report them, through the timeline, which is asked twice
//! a second for what there is to report. Measured beside printing the same lines as JSON, in the same run; the exit status is 1
//! where it takes more than [`MOST`] times as long.
//!
//! With a file as its argument, a recording (`oomtrace run --record`) instead.

use std::{
    env, fs, iter,
    process::ExitCode,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use oomtrace_model::{
    Cgroup, ChargeFailures, ChargeState, Container, EarlierReading, Event, Level, Limit, Line, OomKill, Pod, Pressure,
    PressureScope, ProcessExit, QosClass, Sender, SenderRole, Signal, Source, Span, Task, Victim,
};
use oomtrace_timeline::{Background, Keep, Timeline};

const KILLS: u32 = 1000;
const PODS: u32 = 50;
/// Between two kills.
const EVERY: SignedDuration = SignedDuration::from_millis(100);
/// How often the timeline is asked, as live.
const TICK: SignedDuration = SignedDuration::from_millis(500);
/// Each is measured so often, and the shortest time counts: what else runs on the machine only adds to it.
const ROUNDS: usize = 7;
/// How many times as long as printing it judging may take.
const MOST: f64 = 60.0;

fn main() -> ExitCode {
    let lines = match env::args().nth(1).filter(|argument| !argument.starts_with('-')) {
        Some(file) => recorded(&file),
        None => storm(),
    };
    let times: Vec<Timestamp> = lines.iter().map(|line| line.ts.parse().unwrap_or_default()).collect();
    let kills = lines.iter().filter(|line| matches!(line.event, Event::OomKill(_))).count();
    let (printing, bytes) =
        shortest(|| lines.iter().map(|line| serde_json::to_string(line).map_or(0, |json| json.len())).sum());
    let (judging, reported) = shortest(|| judged(&lines, &times));
    let ratio = judging.as_secs_f64() / printing.as_secs_f64();
    let a_kill = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(u32::try_from(kills).unwrap_or(u32::MAX));
    println!("{kills} kills, {} lines, {bytes} bytes of JSON; {reported} lines of incidents", lines.len());
    println!("printing {:>8.1} us a kill", a_kill(printing));
    println!("judging  {:>8.1} us a kill, {ratio:.1} times as long (at most {MOST})", a_kill(judging));
    if ratio <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The shortest time that something takes, and what it gives.
fn shortest(mut work: impl FnMut() -> usize) -> (Duration, usize) {
    let rounds = iter::repeat_with(|| {
        let start = Instant::now();
        let given = work();
        (start.elapsed(), given)
    });
    rounds.take(ROUNDS).min().unwrap_or_default()
}

/// How many lines of incidents there are to report.
fn judged(lines: &[Line], times: &[Timestamp]) -> usize {
    let mut timeline = Timeline::new(Keep::LIVE, Background::default());
    let (mut asked, mut reported) = (Timestamp::MIN, 0);
    for (line, at) in lines.iter().zip(times) {
        timeline.push(line);
        if at.duration_since(asked) >= TICK {
            asked = *at;
            timeline.advance(*at);
            reported += timeline.news().len();
        }
    }
    reported + timeline.finish().len()
}

fn recorded(file: &str) -> Vec<Line> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.filter(|line| !matches!(line.event, Event::Incident(_))).collect()
}

/// Kills in each pod in turn, each with what the probes report beside it, and what memory looks like.
fn storm() -> Vec<Line> {
    let mut lines = Vec::new();
    let mut at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56);
    for number in 0..KILLS {
        for (source, event) in events(number) {
            at += SignedDuration::from_micros(300);
            let (ts, seq) = (format!("{at:.9}"), lines.len() as u64 + 1);
            lines.push(Line { ts, seq, node: "node".to_owned(), source, boot_ns: None, event });
        }
        at += EVERY;
    }
    lines
}

fn events(number: u32) -> Vec<(Source, Event)> {
    let place = Place::of(number % PODS);
    let task = place.task(1000 + number);
    let limit = Limit {
        level: Some(Level::Container),
        cgroup: place.cgroup().path,
        usage_bytes: Some(1 << 20),
        limit_bytes: Some(1 << 20),
        ..Limit::default()
    };
    let failures = ChargeFailures {
        pod: Some(place.pod()),
        container: Some(place.container()),
        cgroup: Some(place.cgroup()),
        limit: Some(limit.clone()),
        state: ChargeState::GoesOn,
        attempts: Some(u64::from(number)),
        failed: None,
        ooms: None,
        attempts_total: None,
        failed_total: None,
        ooms_total: None,
        first_ts: String::new(),
        last_ts: String::new(),
        last_task: Some(task.clone()),
        span: Span::default(),
    };
    let kill = OomKill {
        pod: Some(place.pod()),
        container: Some(place.container()),
        cgroup: Some(place.cgroup()),
        trigger: task.clone(),
        victim: Victim { task: task.clone(), ..Victim::default() },
        limit: Some(limit),
        decision: Some(u64::from(number)),
        constraint: Some("MEMCG".to_owned()),
        ..OomKill::default()
    };
    let sender = Sender { role: SenderRole::Kernel, task: task.clone(), unit: None };
    let signal = Signal {
        pod: Some(place.pod()),
        container: Some(place.container()),
        cgroup: Some(place.cgroup()),
        signal: "SIGKILL".to_owned(),
        signal_number: Some(9),
        sender,
        target: task.clone(),
    };
    let exit = ProcessExit {
        pod: Some(place.pod()),
        container: Some(place.container()),
        cgroup: Some(place.cgroup()),
        task,
        oom_victim: true,
        signal: Some("SIGKILL".to_owned()),
        ..ProcessExit::default()
    };
    vec![
        (Source::Kernel, Event::ChargeFailures(Box::new(failures))),
        (Source::Kernel, Event::OomKill(Box::new(kill))),
        (Source::Kernel, Event::Signal(Box::new(signal))),
        (Source::Kernel, Event::ProcessExit(Box::new(exit))),
        (Source::Oomtrace, place.memory(Level::Container, number)),
        (Source::Oomtrace, place.memory(Level::Pod, number)),
    ]
}

/// A pod, and its one container.
struct Place {
    uid: String,
    id: String,
}

impl Place {
    fn of(number: u32) -> Self {
        Self { uid: format!("{number:08x}-23d2-4099-bf62-d501a2753c91"), id: format!("{number:064x}") }
    }

    fn pod(&self) -> Pod {
        Pod {
            namespace: Some("shop".to_owned()),
            name: Some(format!("web-{}", &self.uid[..8])),
            uid: self.uid.parse().ok(),
            qos: Some(QosClass::Burstable),
            ..Pod::default()
        }
    }

    fn container(&self) -> Container {
        Container { name: Some("app".to_owned()), id: self.id.parse().ok(), ..Container::default() }
    }

    fn cgroup(&self) -> Cgroup {
        let path = format!("/kubepods/burstable/pod{}/{}", self.uid, self.id);
        Cgroup { path: Some(path), ..Cgroup::default() }
    }

    fn task(&self, pid: u32) -> Task {
        Task {
            pid: Some(pid),
            tgid: Some(pid),
            comm: Some("java".to_owned()),
            pod: Some(self.pod()),
            container: Some(self.container()),
            ..Task::default()
        }
    }

    /// A reading with what the flight recorder has of before.
    fn memory(&self, level: Level, number: u32) -> Event {
        let path = format!("/kubepods/burstable/pod{}", self.uid);
        let of_container = level == Level::Container;
        let earlier = (1..=32).rev().map(|age| EarlierReading {
            age_ms: age * 1000,
            usage_bytes: (1 << 20) - age * 1024 + u64::from(number),
            anon_bytes: None,
        });
        Event::Pressure(Box::new(Pressure {
            pod: Some(self.pod()),
            container: of_container.then(|| self.container()),
            level: Some(level),
            cgroup: Some(if of_container { self.cgroup() } else { Cgroup { path: Some(path), ..Cgroup::default() } }),
            scope: Some(PressureScope::Kill),
            usage_bytes: Some((1 << 20) - u64::from(number)),
            limit_bytes: of_container.then_some(1 << 20),
            earlier: earlier.collect(),
            ..Pressure::default()
        }))
    }
}
