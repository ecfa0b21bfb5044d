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
use tracing::{debug, info, warn};

use super::{Heard, cgroups, cri, engine, host::Host, kubelet, oci, pod_logs};
use crate::node::{
    cgroup_path::{CgroupIdentity, ContainerId, PodUid},
    fact::Fact,
    hierarchy::Hierarchy,
};

/// Where to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the node's files are.
    pub host: Host,
    /// Where its cgroups are mounted: `/sys/fs/cgroup`.
    pub cgroup_root: PathBuf,
    /// How to ask the runtime.
    pub cri: cri::Access,
    /// How to ask the kubelet; not at all, where there is none.
    pub kubelet: Option<kubelet::Access>,
    /// Whether the kernel tells of cgroups when they are made. Else they are looked for often.
    pub sees_cgroups: bool,
}

/// How often folders are looked at whether they have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often cgroups are looked for where the kernel tells of them when they are made: what was lost is made good.
const WALK_EVERY: Duration = Duration::from_secs(30);
/// How often the kubelet is asked.
const KUBELET_EVERY: Duration = Duration::from_secs(20);
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
            let files = Files::new(&options, told.clone(), to_runtime);
            tokio::select! {
                () = files.follow(questions) => {}
                () = follow_kubelet(options.kubelet.clone(), told.clone()) => {}
                () = cri::follow(&options.host, &options.cri, wanted, told) => {}
            }
        });
    })?;
    Ok(Asker(asker))
}

/// All that every source knows now, and what went wrong on the way.
pub async fn collect_once(options: &Options) -> (Vec<Fact>, Vec<String>) {
    let Options { host, cgroup_root, cri, kubelet, sees_cgroups: _ } = options;
    let mut trouble = Vec::new();
    let mut facts = match Hierarchy::find(cgroup_root) {
        Ok(hierarchy) => cgroups::walk(hierarchy.root()),
        Err(error) => {
            trouble.push(error.to_string());
            Vec::new()
        }
    };
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
    if let Some(kubelet) = kubelet {
        match kubelet.ask() {
            // Where the read-only port is closed, as it mostly is, nothing is wrong.
            Err(kubelet::KubeletError::Ask { url, error }) if !kubelet.is_secret() => debug!("{url}: {error}"),
            told => add(told.map_err(|error| format!("the kubelet: {error}"))),
        }
    }
    add(cri::list_once(host, cri.endpoint.as_deref()).await.map_err(|error| format!("CRI: {error}")));
    (facts, trouble)
}

/// Asks the kubelet now and then.
async fn follow_kubelet(access: Option<kubelet::Access>, told: mpsc::Sender<Heard>) {
    let Some(access) = access else { return std::future::pending().await };
    let mut tick = interval(KUBELET_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = true;
    loop {
        tick.tick().await;
        let asked = access.clone();
        // The one source that blocks.
        match tokio::task::spawn_blocking(move || asked.ask()).await {
            Ok(Ok(facts)) => {
                answered = true;
                for fact in facts {
                    if told.send(Heard::Fact(fact)).await.is_err() {
                        return;
                    }
                }
            }
            Ok(Err(error)) if answered => {
                answered = false;
                let lost = "the kubelet tells no limits, owners and roles";
                // The read-only port is closed as a rule.
                if access.is_secret() { warn!("{lost}: {error}") } else { info!("{lost}: {error}") }
            }
            Ok(Err(error)) => debug!("the kubelet: {error}"),
            Err(error) => debug!("asking the kubelet failed: {error}"),
        }
    }
}

/// The sources that are files.
struct Files {
    host: Host,
    cgroup_root: PathBuf,
    walk_every: Duration,
    walked: Instant,
    /// The cgroups that were there when they were last looked for.
    cgroups: HashSet<u64>,
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
    fn new(options: &Options, told: mpsc::Sender<Heard>, to_runtime: mpsc::Sender<ContainerId>) -> Self {
        Self {
            host: options.host.clone(),
            cgroup_root: options.cgroup_root.clone(),
            walk_every: if options.sees_cgroups { WALK_EVERY } else { LOOK_EVERY },
            walked: Instant::now(),
            cgroups: HashSet::new(),
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
        self.walk().await?;
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

    /// Tells which cgroups are there, and which are no more; asks whose the new ones are.
    async fn walk(&mut self) -> Result<(), Gone> {
        self.walked = Instant::now();
        let facts = match Hierarchy::find(&self.cgroup_root) {
            Ok(hierarchy) => cgroups::walk(hierarchy.root()),
            Err(error) => {
                self.complain(error.to_string());
                return Ok(());
            }
        };
        let mut now = HashSet::new();
        let mut new = Vec::new();
        for fact in &facts {
            if let Fact::Cgroup { id, path } = fact
                && now.insert(*id)
                && !self.cgroups.contains(id)
            {
                let identity = CgroupIdentity::parse(path);
                new.extend(identity.is_own().then_some(identity.container_id).flatten());
            }
        }
        let gone: Vec<_> = self.cgroups.difference(&now).map(|id| Fact::CgroupGone { id: *id }).collect();
        self.cgroups = now;
        self.tell(facts).await?;
        self.tell(gone).await?;
        for id in new {
            self.look_up(id, 0).await?;
        }
        Ok(())
    }

    /// Reads anew what has changed.
    async fn look(&mut self) -> Result<(), Gone> {
        if self.walked.elapsed() >= self.walk_every {
            self.walk().await?;
        }
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
