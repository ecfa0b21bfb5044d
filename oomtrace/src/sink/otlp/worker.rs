//! The thread between the queue and the receiver.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

use super::{
    access::Access,
    client::{Answer, Client, Signal},
    logs, metrics,
};
use crate::{
    degradation::Degradation,
    metrics::Metrics,
    sink::{
        queue::{Queue, Room, Taken},
        retry::{Retry, Seldom},
    },
};

/// What goes into one request: well below the 4 MiB that a gRPC server takes as a rule.
const MOST: Room = Room { lines: 512, bytes: 1 << 20 };

pub(super) struct Worker {
    pub(super) client: Client,
    pub(super) logs: Logs,
    pub(super) figures: Option<Figures>,
    complaints: Seldom,
}

/// Log records on their way.
pub(super) struct Logs {
    degradation: Degradation,
    retry: Retry,
    /// What the receiver has not taken yet, and how many lines it is made of.
    pending: Option<(ExportLogsServiceRequest, u64)>,
    /// Why it has not.
    why: String,
}

/// Figures, which are never kept: the next are as good.
pub(super) struct Figures {
    pub(super) metrics: Arc<Metrics>,
    pub(super) node: String,
    pub(super) every: Duration,
    pub(super) degradation: Degradation,
    started: SystemTime,
    due: Instant,
    retry: Retry,
}

impl Figures {
    pub(super) fn new(metrics: Arc<Metrics>, node: String, every: Duration, degradation: Degradation) -> Self {
        let (started, due) = (SystemTime::now(), Instant::now() + every);
        Self { metrics, node, every, degradation, started, due, retry: Retry::default() }
    }
}

impl Worker {
    pub(super) fn new(access: Access, degradation: Degradation, figures: Option<Figures>) -> Self {
        let logs = Logs { degradation, retry: Retry::default(), pending: None, why: String::new() };
        Self { client: Client::new(access), logs, figures, complaints: Seldom::default() }
    }

    /// Sends what comes until nothing more does.
    pub(super) fn run(mut self, queue: &Queue) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if self.figures.as_ref().is_some_and(|figures| figures.due <= now) {
                self.send_figures(queue);
            }
            if self.logs.pending.is_some() && self.logs.retry.at().is_none_or(|at| at <= now) {
                self.send_logs(queue);
            }
            let figures_due = self.figures.as_ref().map(|figures| figures.due);
            if self.logs.pending.is_some() {
                if queue.wait(figures_due.into_iter().chain(self.logs.retry.at()).min()) {
                    return self.finish(queue);
                }
                continue;
            }
            match queue.take(MOST, figures_due) {
                Taken::Lines(lines) => self.keep(queue, &lines),
                Taken::Nothing => {}
                Taken::End => return self.finish(queue),
            }
        }
    }

    fn keep(&mut self, queue: &Queue, lines: &[Arc<str>]) {
        let (request, unread) = logs::request(lines, SystemTime::now());
        queue.lose(unread);
        self.logs.pending = Some((request, lines.len() as u64 - unread));
    }

    fn send_logs(&mut self, queue: &Queue) {
        let Some((request, lines)) = self.logs.pending.take() else { return };
        let logs = &mut self.logs;
        match self.client.send(Signal::Logs, request.clone()) {
            Answer::Later(why, wish) => {
                logs.degradation.say(format!("OTLP: log records are late: {why}; it is tried again"));
                logs.retry.failed(Instant::now(), wish);
                logs.pending = Some((request, lines));
                logs.why = why;
            }
            Answer::Never(why) => {
                logs.retry.answered();
                logs.degradation.say(format!("OTLP: log records are lost: {why}"));
                queue.lose(lines);
                self.complain(queue, format!("log records are lost: {why}"));
            }
            Answer::Taken { rejected, message } => {
                logs.retry.answered();
                logs.degradation.recover();
                queue.lose(rejected.min(lines));
                if rejected > 0 || !message.is_empty() {
                    self.complain(queue, format!("it takes all log records but {rejected}: {message}"));
                }
            }
        }
    }

    fn send_figures(&mut self, queue: &Queue) {
        let Some(figures) = &mut self.figures else { return };
        let families = figures.metrics.families();
        let request = metrics::request(families, &figures.node, figures.started, SystemTime::now());
        let answer = self.client.send(Signal::Metrics, request);
        let now = Instant::now();
        figures.due = now + figures.every;
        match answer {
            Answer::Later(why, wish) => {
                figures.degradation.say(format!("OTLP: metrics are late: {why}; it is tried again"));
                figures.retry.failed(now, wish);
                // Those of then.
                figures.due = figures.retry.at().unwrap_or(figures.due);
            }
            Answer::Never(why) => {
                figures.retry.answered();
                figures.degradation.say(format!("OTLP: metrics are not taken: {why}"));
            }
            Answer::Taken { rejected, message } => {
                figures.retry.answered();
                figures.degradation.recover();
                if rejected > 0 || !message.is_empty() {
                    self.complain(queue, format!("it takes all points of metrics but {rejected}: {message}"));
                }
            }
        }
    }

    /// Sends what is left, as long as the receiver takes it, and figures for a last time.
    fn finish(mut self, queue: &Queue) -> io::Result<()> {
        while self.logs.retry.at().is_none() {
            if self.logs.pending.is_none() {
                let Taken::Lines(lines) = queue.take(MOST, Some(Instant::now())) else { break };
                self.keep(queue, &lines);
            }
            self.send_logs(queue);
        }
        if self.figures.as_ref().is_some_and(|figures| figures.retry.at().is_none()) {
            self.send_figures(queue);
        }
        let Some((_, lines)) = self.logs.pending else { return Ok(()) };
        queue.lose(lines);
        Err(io::Error::other(self.logs.why))
    }

    fn complain(&mut self, queue: &Queue, trouble: String) {
        if self.complaints.is_due() {
            queue.complain(trouble);
        }
    }
}
