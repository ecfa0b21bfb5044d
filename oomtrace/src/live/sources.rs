//! Every source but the probes: tasks that send events over one bounded channel.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    degradation::Degradation,
    event::{Observation, ProbeStatus},
};

/// Events that may wait to be reported. A source that finds the channel full either waits, where what it reads is kept for
/// it meanwhile, or counts what it drops and tells it as `lost`.
const WAITING: usize = 1024;
/// What a source has to tell at the end, it tells within this time.
const LONGEST_END: Duration = Duration::from_secs(2);

/// The sources that run, and what they are known to miss.
pub struct Sources {
    reported: mpsc::Receiver<Observation>,
    /// Kept, so that the channel stays open also without any source.
    sender: mpsc::Sender<Observation>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    status: Vec<ProbeStatus>,
    degraded: Vec<String>,
    /// What those miss that keep trying, and what of it was reported last.
    degradations: Vec<(Degradation, Option<String>)>,
}

impl Default for Sources {
    fn default() -> Self {
        let (sender, reported) = mpsc::channel(WAITING);
        let (stop, _) = watch::channel(false);
        Self {
            reported,
            sender,
            stop,
            tasks: JoinSet::new(),
            status: Vec::new(),
            degraded: Vec::new(),
            degradations: Vec::new(),
        }
    }
}

impl Sources {
    /// Starts a source: a task that sends what it has to tell until it is told to stop, then what is left, and ends.
    pub fn start<Running>(&mut self, source: impl FnOnce(mpsc::Sender<Observation>, watch::Receiver<bool>) -> Running)
    where
        Running: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(source(self.sender.clone(), self.stop.subscribe()));
    }

    /// Notes for the status that a source runs.
    pub fn runs(&mut self, status: ProbeStatus) {
        self.status.push(status);
    }

    /// Notes for the status what is lacking: what is lost by it, why, and what helps.
    pub fn degrade(&mut self, what: String) {
        self.degraded.push(what);
    }

    pub(super) fn status(&self) -> &[ProbeStatus] {
        &self.status
    }

    /// Where one that keeps trying says what it misses meanwhile.
    pub fn degradation(&mut self) -> Degradation {
        let degradation = Degradation::default();
        self.degradations.push((degradation.clone(), None));
        degradation
    }

    pub(super) fn degraded(&self) -> Vec<String> {
        self.degraded
            .iter()
            .cloned()
            .chain(self.degradations.iter().filter_map(|(degradation, _)| degradation.now()))
            .collect()
    }

    /// Whether what is lacking has changed since this was last asked.
    pub(super) fn degradations_changed(&mut self) -> bool {
        let changed = self.degradations.iter_mut().map(|(degradation, reported)| {
            let now = degradation.now();
            let changed = now != *reported;
            *reported = now;
            changed
        });
        // Every one of them is asked.
        changed.fold(false, |any, changed| any | changed)
    }

    /// Waits for an event.
    pub(super) async fn next(&mut self) -> Observation {
        match self.reported.recv().await {
            Some(reported) => reported,
            // Never: this holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Stops all sources, and gives what is left.
    pub(super) async fn finish(&mut self) -> Vec<Observation> {
        self.stop.send_replace(true);
        let Self { reported, tasks, .. } = self;
        let mut left = Vec::new();
        let ends = async {
            loop {
                tokio::select! {
                    biased;
                    Some(reported) = reported.recv() => left.push(reported),
                    ended = tasks.join_next() => {
                        if let Some(Err(error)) = ended {
                            tracing::error!("a source died: {error}");
                        } else if ended.is_none() {
                            break;
                        }
                    }
                }
            }
        };
        if timeout(LONGEST_END, ends).await.is_err() {
            tracing::warn!("{} sources do not end; what they have still to report is lost", tasks.len());
        }
        left.extend(std::iter::from_fn(|| reported.try_recv().ok()));
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Lost, LostFrom, Moment, Source};

    fn reported(count: u64) -> Observation {
        let event = Event::Lost(Lost::new(LostFrom::Source, count));
        Observation { source: Source::Oomtrace, at: Moment::Boot(0), event }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(test);
    }

    #[test]
    fn what_a_source_tells_at_its_end_is_reported_though_it_is_more_than_the_channel_holds() {
        run(async {
            let mut sources = Sources::default();
            sources.start(|tell, mut stop| async move {
                let _ = stop.wait_for(|stop| *stop).await;
                for count in 0..3 * WAITING as u64 {
                    let _ = tell.send(reported(count)).await;
                }
            });
            assert_eq!(sources.finish().await.len(), 3 * WAITING);
        });
    }

    #[test]
    fn what_is_lacking_for_a_while_is_reported_when_it_changes() {
        let mut sources = Sources::default();
        sources.degrade("a file".to_owned());
        let degradation = sources.degradation();
        assert!(!sources.degradations_changed());
        degradation.say("the kubelet".to_owned());
        assert_eq!(sources.degraded(), ["a file", "the kubelet"]);
        assert!(sources.degradations_changed() && !sources.degradations_changed());
        degradation.recover();
        assert!(sources.degradations_changed());
        assert_eq!(sources.degraded(), ["a file"]);
    }

    #[test]
    fn a_source_that_does_not_end_holds_nothing_up() {
        run(async {
            let mut sources = Sources::default();
            sources.start(|tell, _| async move {
                let _ = tell.send(reported(1)).await;
                std::future::pending::<()>().await;
            });
            assert_eq!(sources.finish().await.len(), 1);
        });
    }
}
