//! The kubelet's counters, read again and again: each eviction that they count is reported, with its signal.

use std::{path::PathBuf, str::FromStr, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::Metrics;
use crate::{
    clock,
    degradation::Degradation,
    event::{Event, Eviction, EvictionPhase, Moment, Observation, Source},
    node::names::{KubeletAccess, kubelet::KubeletError},
};

/// How often they are read: as often as the eviction manager looks (`monitoringInterval`), so that two of its passes seldom
/// come together.
const EVERY: Duration = Duration::from_secs(10);

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// At the kubelet's address.
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
    #[error(transparent)]
    Ask(#[from] KubeletError),
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What became of it.
        error: std::io::Error,
    },
}

/// The counters, and how they are asked for.
#[derive(Clone, Debug)]
pub struct Counters {
    access: Access,
    /// With its token and its authorities, never its address.
    kubelet: KubeletAccess,
    every: Duration,
}

impl Counters {
    /// Asks the kubelet for them as it is asked for its pods.
    #[must_use]
    pub fn new(access: Access, kubelet: KubeletAccess) -> Self {
        Self { access, kubelet, every: EVERY }
    }

    /// What is counted now.
    ///
    /// # Errors
    ///
    /// Fails where the kubelet cannot be asked, or the metric is missing.
    pub fn read(&self) -> Result<Metrics, MetricsError> {
        let body = match &self.access {
            Access::Url(url) => String::from_utf8_lossy(&self.kubelet.get_at(url.clone())?).into_owned(),
            Access::File(path) => {
                std::fs::read_to_string(path).map_err(|error| MetricsError::File { path: path.clone(), error })?
            }
        };
        Ok(Metrics::read(&body))
    }

    /// Emits what is counted from now on, until `stop`. While there is nothing to be read, `degradation` says so.
    pub async fn watch(
        self,
        degradation: Degradation,
        tell: mpsc::Sender<Observation>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut every = interval(self.every);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (began, mut before) = (jiff::Timestamp::now(), None);
        loop {
            let stopping = tokio::select! {
                _ = every.tick() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            let counters = self.clone();
            match tokio::task::spawn_blocking(move || counters.read()).await {
                Ok(Ok(now)) => {
                    degradation.recover();
                    let since = now.since(before.as_ref().unwrap_or(&first(&now, began)));
                    for reported in counted(&since) {
                        if tell.send(reported).await.is_err() {
                            return;
                        }
                    }
                    before = Some(now);
                }
                // Once for each time that it fails.
                Ok(Err(error)) if degradation.now().is_none() => {
                    tracing::warn!("the kubelet's counters of evictions are not read: {error}");
                    let every = self.every.as_secs();
                    degradation
                        .say(format!("evictions may lack their signal: {error}; it is tried again every {every} s"));
                }
                Ok(Err(_)) | Err(_) => {}
            }
            if stopping {
                return;
            }
        }
    }
}

/// What the first reading is compared with: itself, or nothing where the kubelet was started after oomtrace `began`.
fn first(reading: &Metrics, began: jiff::Timestamp) -> Metrics {
    let is_newer = |started: u64| i64::try_from(started).is_ok_and(|started| started >= began.as_millisecond());
    if reading.started_ms.is_some_and(is_newer) { Metrics::default() } else { reading.clone() }
}

/// An event for each signal that pods were evicted for.
fn counted(since: &Metrics) -> impl Iterator<Item = Observation> {
    since.evictions.iter().map(|(signal, count)| {
        let memory = Some(signal.as_str() == "memory.available" || signal.as_str() == "allocatableMemory.available");
        let step = Eviction {
            signal: Some(signal.clone()),
            memory,
            counted: Some(*count),
            ..Eviction::new(EvictionPhase::Counted)
        };
        Observation {
            source: Source::Kubelet,
            at: Moment::Boot(clock::boot_ns()),
            event: Event::Eviction(Box::new(step)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, path::Path};

    use super::*;
    use crate::node::names::{KubeletTrust, kubelet::tests::kubelet_at};

    const SECOND: Duration = Duration::from_secs(1);

    fn counters(access: &str, folder: &Path) -> Counters {
        let token = folder.join("token");
        std::fs::write(&token, "let-me-in").expect("a file");
        let kubelet =
            KubeletAccess { url: "http://127.0.0.1:1".to_owned(), token, trust: KubeletTrust::Anybody, named: true };
        let access = access.parse().expect("an address or a file");
        Counters { every: Duration::from_millis(20), ..Counters::new(access, kubelet) }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test)
    }

    async fn until(degradation: &Degradation, is: impl Fn(Option<String>) -> bool) {
        let waits = async {
            while !is(degradation.now()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(30 * SECOND, waits).await.expect("in time");
    }

    #[test]
    fn a_file_is_read_again_and_what_is_counted_more_is_reported_with_its_signal() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("metrics");
        let write = |memory: u32| {
            let text = format!("kubelet_evictions{{eviction_signal=\"memory.available\"}} {memory}\n");
            std::fs::write(&file, text).expect("a file");
        };
        write(2);
        let access = counters(file.to_str().expect("UTF-8"), folder.path());
        let before = access.read().expect("counters");
        write(3);
        let now = access.read().expect("counters");
        let reported: Vec<_> = counted(&now.since(&before)).collect();
        assert!(matches!(&reported[..], [Observation { event: Event::Eviction(step), .. }]
                if step.counted == Some(1) && step.signal.as_deref() == Some("memory.available")));
        assert_eq!(counted(&now.since(&now)).count(), 0);
    }

    #[test]
    fn a_kubelet_behind_tls_is_asked_with_the_token() {
        let folder = tempfile::tempdir().expect("a folder");
        let (url, _) = kubelet_at("127.0.0.1:0", &["localhost"]);
        let read = counters(&format!("{url}/metrics"), folder.path()).read().expect("counters");
        assert_eq!(read.evictions.get("memory.available"), Some(&3));
    }

    #[test]
    fn a_kubelet_that_comes_up_late_is_said_to_lack_and_then_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        run(async {
            let (tell, _reported) = mpsc::channel(8);
            let (stop, stopped) = watch::channel(false);
            let (degradation, access) =
                (Degradation::default(), counters(&format!("https://localhost:{port}/metrics"), folder.path()));
            let task = tokio::spawn(access.watch(degradation.clone(), tell, stopped));
            until(&degradation, |degradation| {
                degradation.is_some_and(|degradation| degradation.contains("evictions may lack their signal"))
            })
            .await;
            kubelet_at(&format!("127.0.0.1:{port}"), &["localhost"]);
            until(&degradation, |degradation| degradation.is_none()).await;
            stop.send_replace(true);
            task.await.expect("it ends");
        });
    }

    #[test]
    fn the_evictions_of_a_kubelet_that_was_started_later_are_all_new() {
        let reading = |started: i64| Metrics {
            evictions: [("memory.available".to_owned(), 2)].into(),
            started_ms: started.try_into().ok(),
            ..Metrics::default()
        };
        let began = jiff::Timestamp::now();
        let news = |reading: &Metrics| counted(&reading.since(&first(reading, began))).count();
        assert_eq!(news(&reading(began.as_millisecond() + 1)), 1);
        assert_eq!(news(&reading(began.as_millisecond() - 1)), 0);
    }

    #[test]
    fn what_is_neither_a_web_address_nor_a_file_is_refused() {
        assert!("ftp://node/metrics".parse::<Access>().is_err());
        assert_eq!(
            "http://127.0.0.1:10255/metrics".parse(),
            Ok(Access::Url("http://127.0.0.1:10255/metrics".to_owned()))
        );
        let nowhere = counters("/no/such/file", &std::env::temp_dir());
        let error = nowhere.read().expect_err("there is none").to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
