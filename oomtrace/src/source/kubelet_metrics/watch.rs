//! The kubelet's counters, read again and again: each eviction that they count is told, with its signal.

use std::{path::PathBuf, str::FromStr, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::Metrics;
use crate::{
    clock,
    event::{Event, Eviction, EvictionPhase, Moment, Source, Told},
};

/// How often they are read: as often as the eviction manager looks (`monitoringInterval`), so that two of its passes seldom
/// come together.
const EVERY: Duration = Duration::from_secs(10);
/// A kubelet that is out of breath answers late.
const PATIENCE: Duration = Duration::from_secs(5);
/// A node of 500 pods has half a megabyte of them.
const MOST_BYTES: u64 = 16 << 20;

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// At the kubelet's read-only address, or behind a proxy that says who asks.
    Url(String),
    /// In a file that somebody else keeps up to date.
    File(PathBuf),
}

impl FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            Ok(Self::Url(text.to_owned()))
        } else if text.contains("://") {
            Err("it has to begin with http:// or https://, or to be a file".to_owned())
        } else {
            Ok(Self::File(text.into()))
        }
    }
}

/// Why they could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The kubelet cannot be asked.
    #[error("{url}: {error} (the kubelet's read-only port is http://127.0.0.1:10255/metrics, where it is on)")]
    Ask {
        /// What was asked for.
        url: String,
        /// What became of it.
        error: Box<ureq::Error>,
    },
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What became of it.
        error: std::io::Error,
    },
}

impl Access {
    /// What is counted now.
    ///
    /// # Errors
    ///
    /// Fails where the kubelet cannot be asked, or the metric is missing.
    pub fn read(&self) -> Result<Metrics, MetricsError> {
        let body = match self {
            Self::Url(url) => {
                let agent =
                    ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().new_agent();
                agent
                    .get(url)
                    .call()
                    .and_then(|mut answer| answer.body_mut().with_config().limit(MOST_BYTES).read_to_string())
                    .map_err(|error| MetricsError::Ask { url: url.clone(), error: Box::new(error) })?
            }
            Self::File(path) => {
                std::fs::read_to_string(path).map_err(|error| MetricsError::File { path: path.clone(), error })?
            }
        };
        Ok(Metrics::read(&body))
    }

    /// Tells what is counted from `before` on, until it is told to stop.
    pub async fn watch(self, mut before: Metrics, tell: mpsc::Sender<Told>, mut stop: watch::Receiver<bool>) {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let stopping = tokio::select! {
                _ = every.tick() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            let access = self.clone();
            match tokio::task::spawn_blocking(move || access.read()).await {
                Ok(Ok(now)) => {
                    failing = false;
                    for told in counted(&now.since(&before)) {
                        if tell.send(told).await.is_err() {
                            return;
                        }
                    }
                    before = now;
                }
                // Once for each time that it fails: it is asked every ten seconds.
                Ok(Err(error)) if !failing => {
                    failing = true;
                    tracing::warn!("the kubelet's counters of evictions are not read: {error}");
                }
                Ok(Err(_)) | Err(_) => {}
            }
            if stopping {
                return;
            }
        }
    }
}

/// An event for each signal that pods were evicted for.
fn counted(since: &Metrics) -> impl Iterator<Item = Told> {
    since.evictions.iter().map(|(signal, count)| {
        let memory = Some(signal.as_str() == "memory.available" || signal.as_str() == "allocatableMemory.available");
        let step = Eviction {
            signal: Some(signal.clone()),
            memory,
            counted: Some(*count),
            ..Eviction::new(EvictionPhase::Counted)
        };
        Told { source: Source::Kubelet, at: Moment::Boot(clock::boot_ns()), event: Event::Eviction(Box::new(step)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_what_is_counted_more_is_told_with_its_signal() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |memory: u32| {
            let text = format!("kubelet_evictions{{eviction_signal=\"memory.available\"}} {memory}\n");
            std::fs::write(file.path(), text).expect("a file");
        };
        write(2);
        let access: Access = file.path().to_str().expect("UTF-8").parse().expect("a file");
        let before = access.read().expect("counters");
        write(3);
        let now = access.read().expect("counters");
        let told: Vec<_> = counted(&now.since(&before)).collect();
        assert!(matches!(&told[..], [Told { event: Event::Eviction(step), .. }]
                if step.counted == Some(1) && step.signal.as_deref() == Some("memory.available")));
        assert_eq!(counted(&now.since(&now)).count(), 0);
    }

    #[test]
    fn what_is_neither_a_web_address_nor_a_file_is_refused() {
        assert!("ftp://node/metrics".parse::<Access>().is_err());
        assert_eq!(
            "http://127.0.0.1:10255/metrics".parse(),
            Ok(Access::Url("http://127.0.0.1:10255/metrics".to_owned()))
        );
        let error = Access::File("/no/such/file".into()).read().expect_err("there is none").to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
