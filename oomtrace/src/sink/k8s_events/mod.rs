//! Kubernetes Events: incidents of memory, on the pod that they are about, and on the node where they are the node's.
//!
//! ```text
//! tracer ─▶ bounded queue ─▶ Book: series, rates, what waits ─▶ Server: events.k8s.io/v1
//!           └──────────────────────── a thread of its own ─────────────────────────┘
//! ```
//!
//! The tracer hands over what a line of an incident says and never waits; what there is no room for is counted. All else is the
//! thread's: an API server that is slow, away or refuses holds nothing up, is reported as degraded, and is asked again.
//!
//! The API server is asked by `ureq` and `rustls`, by which the kubelet is asked, too: two requests, POST and PATCH, of some
//! lines of JSON each. The crate `kube` would bring hundreds of others, and some MiB, into a daemon that has 128 MiB at most.

mod api;
mod book;
mod event;
mod limit;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

pub use self::api::Access;
use self::{event::News, worker::Worker};
use crate::{
    degradation::Degradation,
    event::{Event, Failure, Incident, Lost, LostFrom},
};

/// Lines of incidents that may wait for the thread, of some 2 KiB each.
const ROOM: usize = 256;
/// How long the end of the program waits for the API server.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where incidents are handed over.
pub struct KubernetesEvents {
    node: String,
    queue: SyncSender<News>,
    account: Arc<Account>,
    ended: Receiver<()>,
}

/// What is lost and what is wrong, from both sides.
#[derive(Default)]
struct Account(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    lost: u64,
    trouble: Vec<String>,
}

impl Account {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No code that holds the lock can leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, count: u64) {
        self.entries().lost += count;
    }

    fn complain(&self, trouble: String) {
        self.entries().trouble.push(trouble);
    }
}

impl KubernetesEvents {
    /// Starts the thread. What is wrong with the API server is said in `degradation`.
    ///
    /// # Errors
    ///
    /// Fails where there can be no thread.
    pub fn start(access: Access, node: String, degradation: Degradation) -> io::Result<Self> {
        let (queue, news) = mpsc::sync_channel(ROOM);
        let (end, ended) = mpsc::channel();
        let account = Arc::<Account>::default();
        let worker = Worker::new(access, node.clone(), Arc::clone(&account), degradation);
        thread::Builder::new().name("k8s-events".to_owned()).spawn(move || {
            worker.run(&news);
            // Nobody listens where the end was not waited for.
            let _ = end.send(());
        })?;
        Ok(Self { node, queue, account, ended })
    }

    /// Whether the API server would take Events of this node: it is sent one that it does not keep.
    ///
    /// # Errors
    ///
    /// Fails where it would not, with what helps.
    pub fn try_out(access: Access, node: String) -> Result<(), String> {
        Worker::new(access, node, Arc::default(), Degradation::default()).try_out_alone()
    }

    /// Takes a line of an incident. Never waits.
    pub fn take(&self, incident: &Incident) {
        let Some(news) = News::of(incident, &self.node) else { return };
        match self.queue.try_send(news) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.account.lose(1),
        }
    }

    /// What was lost, and what went wrong, since this was last asked.
    #[must_use]
    pub fn news(&self) -> Vec<Event> {
        news_of(&self.account)
    }

    /// Lets the thread send what waits still, but not for long; gives what was lost meanwhile.
    #[must_use]
    pub fn finish(self) -> Vec<Event> {
        let Self { queue, account, ended, .. } = self;
        drop(queue);
        // An error is the same: it has ended.
        if matches!(ended.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Timeout)) {
            account.complain(
                "Kubernetes Events: the API server does not answer, and the last ones may be lost".to_owned(),
            );
        }
        news_of(&account)
    }
}

fn news_of(account: &Account) -> Vec<Event> {
    let Entries { lost, trouble } = std::mem::take(&mut *account.entries());
    let mut events: Vec<_> = trouble.into_iter().map(|message| Event::Error(Failure { message })).collect();
    if lost > 0 {
        events.push(Event::Lost(Lost::new(LostFrom::KubernetesEvents, lost)));
    }
    events
}
