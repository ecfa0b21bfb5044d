//! The container runtime, through CRI: gRPC on its unix socket.
//!
//! It knows best, and it may not be there: not yet, not any more, or without an answer. So [`follow`] waits for the socket,
//! gives every call a time limit, and begins anew for ever.

mod client;
pub mod messages;
pub(super) mod read;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, interval_at, sleep, timeout},
};
use tracing::{debug, info, warn};

pub use self::client::{Client, CriError};
use super::{Heard, host::Host};
use crate::{
    event::{ContainerRole, Moment, Observation},
    node::{
        cgroup_path::ContainerId,
        fact::{ContainerFact, Fact},
    },
};

/// Where runtimes have their sockets: containerd, K3s and RKE2, `MicroK8s`, k0s, CRI-O, cri-dockerd.
pub const SOCKETS: [&str; 6] = [
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/k0s/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
];

/// All containers are listed anew after so long: what the events left out is made good.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// The same without events: containerd before 2.0, CRI-O before 1.26, cri-dockerd.
const POLL_EVERY: Duration = Duration::from_secs(3);
/// The first pause before a new try; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// The socket to use: the one that was asked for, else the first that is there.
#[must_use]
pub fn socket(host: &Host, asked: Option<&Path>) -> Option<PathBuf> {
    asked.map_or_else(
        || SOCKETS.iter().map(|path| host.path(path)).find(|path| path.exists()),
        |path| {
            let plain = path.to_str().and_then(|path| path.strip_prefix("unix://"));
            Some(plain.map_or_else(|| path.to_path_buf(), PathBuf::from))
        },
    )
}

/// How to ask the runtime.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The socket; where there is none, the usual places are tried.
    pub endpoint: Option<PathBuf>,
    /// Whether to follow its events also where it gives each to one client only: containerd 1.x.
    pub events: bool,
}

/// Sends all that the runtime knows and learns, for ever; answers for single containers that are asked about.
pub(super) async fn follow(
    host: &Host,
    access: &Access,
    mut wanted: mpsc::Receiver<ContainerId>,
    reported: mpsc::Sender<Heard>,
) {
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    // Of what ended before this, an event that was kept for us tells too late.
    let began = jiff::Timestamp::now();
    loop {
        let started = Instant::now();
        let trouble = match socket(host, access.endpoint.as_deref()) {
            Some(path) => match Client::connect(&path).await {
                Ok(client) => {
                    info!("names come from the container runtime at {}", path.display());
                    said.clear();
                    match Session::new(client, &reported, access.events, began).run(&mut wanted).await {
                        Ok(()) => return,
                        Err(error) => format!("the container runtime at {}: {error}", path.display()),
                    }
                }
                Err(error) => format!("the container runtime at {} does not answer: {error}", path.display()),
            },
            None => {
                "no container runtime's socket is there; names come from files until one is (--cri-endpoint)".to_owned()
            }
        };
        // Once, until something else is the matter.
        if trouble == said {
            debug!("{trouble}");
        } else {
            warn!("{trouble}");
            said = trouble;
        }
        if started.elapsed() > LAST_PAUSE {
            pause = FIRST_PAUSE;
        }
        // What is asked meanwhile is not answered: the list that follows has it all.
        let quiet = async { while wanted.recv().await.is_some() {} };
        tokio::select! {
            () = sleep(pause) => {}
            // Nobody is left to tell.
            () = quiet => return,
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// One connection.
struct Session<'a> {
    client: Client,
    reported: &'a mpsc::Sender<Heard>,
    events: bool,
    began: jiff::Timestamp,
    /// What was there when it was last listed, and whether it had ended.
    known: HashMap<ContainerId, bool>,
}

impl<'a> Session<'a> {
    fn new(client: Client, reported: &'a mpsc::Sender<Heard>, events: bool, began: jiff::Timestamp) -> Self {
        let events = events || client.tells_everybody();
        Self { client, reported, events, began, known: HashMap::new() }
    }

    /// Until the connection fails, or nobody listens any more.
    async fn run(mut self, wanted: &mut mpsc::Receiver<ContainerId>) -> Result<(), CriError> {
        // The events first, so that nothing falls between.
        let mut events = None;
        if self.events {
            match self.client.events().await {
                Ok(stream) => events = Some(stream),
                Err(CriError::Unimplemented) => {}
                Err(error) => return Err(error),
            }
        }
        self.events = events.is_some();
        self.list().await?;
        let every = if events.is_some() { LIST_EVERY } else { POLL_EVERY };
        let mut tick = interval_at(Instant::now() + every, every);
        loop {
            let next = async {
                match &mut events {
                    Some(events) => events.message().await.map_err(CriError::from),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = next => match event {
                    Ok(Some(event)) => {
                        let (facts, reported) = read::event(event);
                        self.tell(facts).await?;
                        self.tell_ending(reported).await?;
                    }
                    Ok(None) => return Err(CriError::Closed),
                    // containerd 1.7 says so only now, where its configuration leaves events out.
                    Err(CriError::Unimplemented) => {
                        events = None;
                        self.events = false;
                        tick = interval_at(Instant::now() + POLL_EVERY, POLL_EVERY);
                    }
                    Err(error) => return Err(error),
                },
                id = wanted.recv() => match id {
                    Some(id) => {
                        let facts = self.client.look_up(&id).await?;
                        let found = facts.iter().any(|fact| matches!(fact, Fact::Container(reported) if !reported.ended));
                        if found {
                            // So that its end is reported, should it come before the next list.
                            self.known.insert(id, false);
                        }
                        self.tell(facts).await?;
                    }
                    None => return Ok(()),
                },
                _ = tick.tick() => self.list().await?,
            }
        }
    }

    /// Tells all that is there, and what is no more; without events, what has ended since the last time.
    async fn list(&mut self) -> Result<(), CriError> {
        let facts = self.client.list().await?;
        let containers = facts.iter().filter_map(|fact| match fact {
            Fact::Container(container) => Some(container),
            _ => None,
        });
        let now: HashMap<_, _> = containers.clone().map(|container| (container.id.clone(), container.ended)).collect();
        let sandbox = |container: &ContainerFact| container.role == Some(ContainerRole::Sandbox);
        let ended = containers
            .filter(|container| !self.events && container.ended && !sandbox(container))
            .filter(|container| self.known.get(&container.id) == Some(&false))
            .map(|container| container.id.clone());
        let ended: Vec<_> = ended.collect();
        let gone = self.known.keys().filter(|id| !now.contains_key(*id));
        let gone: Vec<_> = gone.cloned().map(|id| Fact::ContainerGone { id }).collect();
        self.known = now;
        self.tell(facts).await?;
        self.tell(gone).await?;
        for id in ended {
            let reported = self.client.status(&id).await?.and_then(|status| read::ending(&status, 0));
            self.tell_ending(reported).await?;
        }
        Ok(())
    }

    async fn tell_ending(&self, reported: Option<Observation>) -> Result<(), CriError> {
        match reported {
            Some(reported) if !matches!(reported.at, Moment::Wall(at) if at < self.began) => {
                self.hear(Heard::Event(reported)).await
            }
            _ => Ok(()),
        }
    }

    async fn tell(&self, facts: Vec<Fact>) -> Result<(), CriError> {
        for fact in facts {
            self.hear(Heard::Fact(fact)).await?;
        }
        Ok(())
    }

    async fn hear(&self, heard: Heard) -> Result<(), CriError> {
        self.reported.send(heard).await.map_err(|_| CriError::Closed)
    }
}

/// What the runtime says of itself: `containerd v2.1.0`.
///
/// # Errors
///
/// Fails where there is no socket, or no runtime that answers.
pub async fn version(host: &Host, asked: Option<&Path>) -> Result<String, CriError> {
    let path = socket(host, asked).ok_or(CriError::NoSocket)?;
    let mut client = Client::connect(&path).await?;
    let version: messages::VersionResponse = client.call("Version", messages::Nothing {}).await?;
    Ok(format!("{} {}", version.runtime_name, version.runtime_version))
}

/// All that the runtime knows now, asked once.
///
/// # Errors
///
/// Fails where there is no socket, or no runtime that answers.
pub async fn list_once(host: &Host, asked: Option<&Path>) -> Result<Vec<Fact>, CriError> {
    let path = socket(host, asked).ok_or(CriError::NoSocket)?;
    let mut client = Client::connect(&path).await?;
    timeout(Duration::from_secs(10), client.list()).await.map_err(|_| CriError::Slow)?
}
