//! A thread of its own that asks every source and passes on what they tell: however slow they are, tracing is not held up.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    path::PathBuf,
    thread,
    time::{Duration, SystemTime},
};

use tokio::{
    runtime,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::warn;

use super::{Heard, cgroups, cri, engine, host::Host, oci, pod_logs};
use crate::node::{
    cgroup_path::{ContainerId, PodUid},
    fact::Fact,
};

/// Where to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the node's files are.
    pub host: Host,
    /// The runtime's socket; where there is none, the usual places are tried.
    pub cri_endpoint: Option<PathBuf>,
}

/// How often folders are looked at whether they have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When a container that nobody knows yet is asked about again. Its cgroup is made before some of the sources have it.
const AGAIN_AFTER: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(2)];
/// Questions that may wait.
const QUESTIONS: usize = 1024;
/// Containers whose files were read, as many as the node can have at a time, and more.
const REMEMBERED: usize = 4096;

/// By which the tracer asks for names.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<ContainerId>);

impl Asker {
    /// Asks for a container's names, and its pod's. Never waits: where too many questions are open, the sources' own lists
    /// answer in time.
    pub fn ask(&self, id: ContainerId) {
        let _ = self.0.try_send(id);
    }
}

/// Starts the thread. It ends when `told`'s other end or the asker is gone.
pub fn start(options: Options, told: mpsc::Sender<Heard>) -> io::Result<Asker> {
    let (asker, questions) = mpsc::channel(QUESTIONS);
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    thread::Builder::new().name("names".to_owned()).spawn(move || {
        runtime.block_on(async {
            let (to_runtime, wanted) = mpsc::channel(QUESTIONS);
            let files = Files::new(options.host.clone(), told.clone(), to_runtime);
            tokio::select! {
                () = files.follow(questions) => {}
                () = cri::follow(&options.host, options.cri_endpoint.as_deref(), wanted, told) => {}
            }
        });
    })?;
    Ok(Asker(asker))
}

/// All that every source knows now, and what went wrong on the way.
pub async fn collect_once(options: &Options) -> (Vec<Fact>, Vec<String>) {
    let Options { host, cri_endpoint } = options;
    let mut facts = cgroups::root(host).map(|root| cgroups::walk(&root)).unwrap_or_default();
    let mut trouble = Vec::new();
    let mut add = |result: Result<Vec<Fact>, String>| match result {
        Ok(told) => facts.extend(told),
        Err(error) => trouble.push(error),
    };
    add(Ok(pod_logs::list(host)));
    add(engine::list(host));
    for id in engine::docker_ids(host) {
        add(engine::look_up(host, &id));
    }
    for id in oci::list(host) {
        add(oci::look_up(host, &id));
    }
    add(cri::list_once(host, cri_endpoint.as_deref()).await.map_err(|error| format!("CRI: {error}")));
    (facts, trouble)
}

/// The sources that are files.
struct Files {
    host: Host,
    told: mpsc::Sender<Heard>,
    to_runtime: mpsc::Sender<ContainerId>,
    /// Folders' times of change when they were last read.
    seen: HashMap<PathBuf, SystemTime>,
    /// Whom the folders of logs named last.
    pods: HashSet<PodUid>,
    /// Containers that the files named, the longest ago first.
    answered: VecDeque<ContainerId>,
    /// Containers to ask about again: when, which, and how often before.
    again: VecDeque<(Instant, ContainerId, usize)>,
    complained: HashSet<String>,
}

/// Nobody listens any more.
struct Gone;

impl Files {
    fn new(host: Host, told: mpsc::Sender<Heard>, to_runtime: mpsc::Sender<ContainerId>) -> Self {
        Self {
            host,
            told,
            to_runtime,
            seen: HashMap::new(),
            pods: HashSet::new(),
            answered: VecDeque::new(),
            again: VecDeque::new(),
            complained: HashSet::new(),
        }
    }

    async fn follow(mut self, mut questions: mpsc::Receiver<ContainerId>) {
        // The one way out: whoever would be told has gone.
        let _ = self.work(&mut questions).await;
    }

    async fn work(&mut self, questions: &mut mpsc::Receiver<ContainerId>) -> Result<(), Gone> {
        if let Some(root) = cgroups::root(&self.host) {
            self.tell(cgroups::walk(&root)).await?;
        }
        for id in oci::list(&self.host).into_iter().chain(engine::docker_ids(&self.host)) {
            self.answer(&id).await?;
        }
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.again.front().map(|(when, ..)| *when);
            let later = async {
                match due {
                    Some(when) => sleep_until(when).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                question = questions.recv() => match question {
                    Some(id) => self.look_up(id, 0).await?,
                    None => return Ok(()),
                },
                () = later => {
                    if let Some((_, id, tries)) = self.again.pop_front() {
                        self.look_up(id, tries).await?;
                    }
                }
                _ = tick.tick() => self.look().await?,
            }
        }
    }

    /// Asks the files, and the runtime where it is there.
    async fn look_up(&mut self, id: ContainerId, tries: usize) -> Result<(), Gone> {
        let answered = self.answered.contains(&id) || self.answer(&id).await?;
        // The runtime knows more, and has a queue of its own.
        if tries == 0 || !answered {
            let _ = self.to_runtime.try_send(id.clone());
        }
        if let Some(pause) = AGAIN_AFTER.get(tries).filter(|_| !answered && self.again.len() < QUESTIONS) {
            let when = Instant::now() + *pause;
            let place = self.again.partition_point(|(other, ..)| *other <= when);
            self.again.insert(place, (when, id, tries + 1));
        }
        Ok(())
    }

    /// Tells what the files have of one container, and whether they have anything.
    async fn answer(&mut self, id: &ContainerId) -> Result<bool, Gone> {
        let found = [oci::look_up(&self.host, id), engine::look_up(&self.host, id)];
        let mut facts = Vec::new();
        for result in found {
            match result {
                Ok(told) => facts.extend(told),
                Err(error) => self.complain(error),
            }
        }
        if facts.is_empty() {
            return Ok(false);
        }
        if self.answered.len() == REMEMBERED {
            self.answered.pop_front();
        }
        self.answered.push_back(id.clone());
        self.tell(facts).await?;
        Ok(true)
    }

    /// Reads anew what has changed.
    async fn look(&mut self) -> Result<(), Gone> {
        if self.changed(&["/var/log/pods", "/var/log/containers"]) {
            let facts = pod_logs::list(&self.host);
            let pods: HashSet<_> = facts
                .iter()
                .filter_map(|fact| match fact {
                    Fact::Pod(pod) => Some(pod.uid.clone()),
                    _ => None,
                })
                .collect();
            let gone: Vec<_> = self.pods.difference(&pods).cloned().map(|uid| Fact::PodGone { uid }).collect();
            self.pods = pods;
            self.tell(facts).await?;
            self.tell(gone).await?;
        }
        if self
            .changed(&["/run/containers/storage/overlay-containers", "/var/lib/containers/storage/overlay-containers"])
        {
            match engine::list(&self.host) {
                Ok(facts) => self.tell(facts).await?,
                Err(error) => self.complain(error),
            }
        }
        Ok(())
    }

    /// Whether one of these folders has other entries than when this was last asked.
    fn changed(&mut self, folders: &[&str]) -> bool {
        let mut changed = false;
        for folder in folders {
            let path = self.host.path(folder);
            let Ok(time) = path.metadata().and_then(|metadata| metadata.modified()) else { continue };
            changed |= self.seen.insert(path, time) != Some(time);
        }
        changed
    }

    /// Says what is wrong with a file, once for each kind of trouble that there can be.
    fn complain(&mut self, error: String) {
        if self.complained.len() < QUESTIONS && !self.complained.contains(&error) {
            warn!("{error}");
            self.complained.insert(error);
        }
    }

    async fn tell(&self, facts: Vec<Fact>) -> Result<(), Gone> {
        for fact in facts {
            self.told.send(Heard::Fact(fact)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}
