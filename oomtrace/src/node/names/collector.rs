//! A thread of its own that asks every source and passes on what they tell: however slow they are, tracing is not held up.

#[cfg(test)]
mod tests;

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

use super::{
    Heard, cgroups, cri, engine,
    host::Host,
    kubelet,
    made::{Made, News},
    oci, pod_logs, storage,
};
use crate::{
    degradation::Degradation,
    node::{
        cgroup_path::{CgroupIdentity, ContainerId, PodUid},
        fact::Fact,
        hierarchy::Hierarchy,
    },
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
    /// Where it is said that the kubelet does not answer.
    pub kubelet_degradation: Degradation,
    /// Whether the kernel reports cgroups when they are made. Else they are looked for often.
    pub sees_cgroups: bool,
}

/// How often folders are looked at whether they have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A folder that was changed less than this ago may be changed again without its time of change telling: file systems
/// take the time of the kernel's last tick.
const TICK_OF_FILES: Duration = Duration::from_millis(20);
/// How often cgroups are looked for where the kernel reports them when they are made: what was lost is made good.
const WALK_EVERY: Duration = Duration::from_secs(30);
/// How often the kubelet is asked.
const KUBELET_EVERY: Duration = Duration::from_secs(20);
/// When a container that nobody knows yet is asked about again. Its cgroup is made before some of the sources have it.
const AGAIN_AFTER: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(2)];
/// The last of these.
const LAST_TRY: usize = AGAIN_AFTER.len();
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

/// Starts the thread. It ends when `reported`'s other end or the asker is gone.
///
/// # Errors
///
/// Fails where no thread can be started.
pub fn start(options: Options, reported: mpsc::Sender<Heard>) -> io::Result<Asker> {
    let (asker, questions) = mpsc::channel(QUESTIONS);
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    thread::Builder::new().name("names".to_owned()).spawn(move || {
        runtime.block_on(async {
            let (to_runtime, wanted) = mpsc::channel(QUESTIONS);
            let files = Files::new(&options, reported.clone(), to_runtime);
            tokio::select! {
                () = files.follow(questions) => {}
                () = follow_kubelet(&options, reported.clone()) => {}
                () = cri::follow(&options.host, &options.cri, wanted, reported) => {}
            }
        });
    })?;
    Ok(Asker(asker))
}

/// All that every source knows now, and what went wrong on the way.
pub async fn collect_once(options: &Options) -> (Vec<Fact>, Vec<String>) {
    let Options { host, cgroup_root, cri, kubelet, kubelet_degradation: _, sees_cgroups: _ } = options;
    let mut trouble = Vec::new();
    let mut facts = match Hierarchy::find(cgroup_root) {
        Ok(hierarchy) => cgroups::walk(hierarchy.root()),
        Err(error) => {
            trouble.push(error.to_string());
            Vec::new()
        }
    };
    let mut add = |result: Result<Vec<Fact>, String>| match result {
        Ok(reported) => facts.extend(reported),
        Err(error) => trouble.push(error),
    };
    add(Ok(pod_logs::list(host)));
    add(storage::list(host));
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
            reported => add(reported.map_err(|error| format!("the kubelet: {error}"))),
        }
    }
    add(cri::list_once(host, cri.endpoint.as_deref()).await.map_err(|error| format!("CRI: {error}")));
    (facts, trouble)
}

/// Asks the kubelet now and then.
async fn follow_kubelet(options: &Options, reported: mpsc::Sender<Heard>) {
    let Options { kubelet: Some(access), kubelet_degradation, .. } = options else {
        return std::future::pending().await;
    };
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
                kubelet_degradation.recover();
                for fact in facts {
                    if reported.send(Heard::Fact(fact)).await.is_err() {
                        return;
                    }
                }
            }
            Ok(Err(error)) if answered => {
                answered = false;
                let lost = "no limits, owners and roles from the kubelet";
                // The read-only port is closed as a rule.
                if access.is_secret() || matches!(error, kubelet::KubeletError::NotRoots { .. }) {
                    warn!("{lost}: {error}");
                    kubelet_degradation
                        .say(format!("{lost} ({error}); it is asked every {} s", KUBELET_EVERY.as_secs()));
                } else {
                    info!("{lost}: {error}");
                }
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
    reported: mpsc::Sender<Heard>,
    to_runtime: mpsc::Sender<ContainerId>,
    /// Folders' times of change when they were last read.
    seen: HashMap<PathBuf, SystemTime>,
    /// Whom the folders of logs named last.
    pods: HashSet<PodUid>,
    /// Containers that the links to logs named last.
    logged: HashSet<ContainerId>,
    /// Containers that a storage's lists named last.
    stored: HashSet<ContainerId>,
    /// Containers that files of their own named, the longest ago first.
    answered: VecDeque<ContainerId>,
    made: Made,
    /// Containers to ask about again: when, which, and how often before.
    again: VecDeque<(Instant, ContainerId, usize)>,
    complained: HashSet<String>,
}

/// Nobody listens any more.
struct Gone;

impl Files {
    fn new(options: &Options, reported: mpsc::Sender<Heard>, to_runtime: mpsc::Sender<ContainerId>) -> Self {
        Self {
            host: options.host.clone(),
            cgroup_root: options.cgroup_root.clone(),
            walk_every: if options.sees_cgroups { WALK_EVERY } else { LOOK_EVERY },
            walked: Instant::now(),
            cgroups: HashSet::new(),
            reported,
            to_runtime,
            seen: HashMap::new(),
            pods: HashSet::new(),
            logged: HashSet::new(),
            stored: HashSet::new(),
            made: Made::new(),
            answered: VecDeque::new(),
            again: VecDeque::new(),
            complained: HashSet::new(),
        }
    }

    async fn follow(mut self, mut questions: mpsc::Receiver<ContainerId>) {
        // The one way out: the receiver has gone.
        let _ = self.work(&mut questions).await;
    }

    async fn work(&mut self, questions: &mut mpsc::Receiver<ContainerId>) -> Result<(), Gone> {
        self.walk().await?;
        self.watch_folders();
        self.read_all().await?;
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
                news = self.made.next() => self.hear_of(news).await?,
                _ = tick.tick() => self.look().await?,
            }
        }
    }

    /// Watches the folders that have come since the last time; gives whether there are any.
    fn watch_folders(&mut self) -> bool {
        let folders = oci::watched(&self.host);
        folders.iter().filter(|folder| self.made.watch(folder)).count() > 0
    }

    /// Reads the files of every container that has some.
    async fn read_all(&mut self) -> Result<(), Gone> {
        for id in oci::list(&self.host).into_iter().chain(engine::docker_ids(&self.host)) {
            self.answer(&id, LAST_TRY).await?;
        }
        Ok(())
    }

    /// A runtime makes a container's folder first, and then what is in it: that is read a moment later.
    async fn hear_of(&mut self, News { containers, others }: News) -> Result<(), Gone> {
        for id in containers {
            self.again(id, 0);
        }
        if others && self.watch_folders() {
            self.read_all().await?;
        }
        Ok(())
    }

    /// Asks the files, and the runtime where it is there.
    async fn look_up(&mut self, id: ContainerId, tries: usize) -> Result<(), Gone> {
        let answered = self.files_name(&id, tries).await?;
        // The runtime knows more, and has a queue of its own.
        if tries == 0 || !answered {
            let _ = self.to_runtime.try_send(id.clone());
        }
        if !answered {
            self.again(id, tries);
        }
        Ok(())
    }

    /// Has a container looked up again a little later.
    fn again(&mut self, id: ContainerId, tries: usize) {
        if let Some(pause) = AGAIN_AFTER.get(tries).filter(|_| self.again.len() < QUESTIONS) {
            let when = Instant::now() + *pause;
            let place = self.again.partition_point(|(other, ..)| *other <= when);
            self.again.insert(place, (when, id, tries + 1));
        }
    }

    /// Tells what the files have of one container, and whether they have anything.
    async fn files_name(&mut self, id: &ContainerId, tries: usize) -> Result<bool, Gone> {
        if self.answered.contains(id) || self.answer(id, tries).await? {
            return Ok(true);
        }
        self.read_lists().await?;
        Ok(self.logged.contains(id) || self.stored.contains(id))
    }

    /// Tells what a container's own files have of it, and whether they have anything.
    async fn answer(&mut self, id: &ContainerId, tries: usize) -> Result<bool, Gone> {
        let found = [oci::look_up(&self.host, id), engine::look_up(&self.host, id)];
        let mut facts = Vec::new();
        for result in found {
            match result {
                Ok(reported) => facts.extend(reported),
                // At first it may not be written to its end.
                Err(error) if tries >= LAST_TRY => self.complain(error),
                Err(error) => debug!("{error}"),
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
        if self.watch_folders() {
            self.read_all().await?;
        }
        self.read_lists().await
    }

    /// Reads the lists anew that have changed: links to logs, and storages.
    async fn read_lists(&mut self) -> Result<(), Gone> {
        let logs = ["/var/log/pods", "/var/log/containers"].map(|folder| self.host.path(folder));
        if self.changed(&logs) {
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
            self.logged = containers_of(&facts);
            self.tell(facts).await?;
            self.tell(gone).await?;
        }
        if self.changed(&storage::folders(&self.host)) {
            match storage::list(&self.host) {
                Ok(facts) => {
                    self.stored = containers_of(&facts);
                    self.tell(facts).await?;
                }
                Err(error) => self.complain(error),
            }
        }
        Ok(())
    }

    /// Whether one of these folders may have other entries than when this was last asked.
    fn changed(&mut self, folders: &[PathBuf]) -> bool {
        let now = SystemTime::now();
        let mut changed = false;
        for path in folders {
            let Ok(time) = path.metadata().and_then(|metadata| metadata.modified()) else { continue };
            if self.seen.get(path) == Some(&time) {
                continue;
            }
            changed = true;
            if !now.duration_since(time).is_ok_and(|age| age < TICK_OF_FILES) {
                self.seen.insert(path.clone(), time);
            }
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
            self.reported.send(Heard::Fact(fact)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

/// The containers that facts are about.
fn containers_of(facts: &[Fact]) -> HashSet<ContainerId> {
    let containers = facts.iter().filter_map(|fact| match fact {
        Fact::Container(container) => Some(container.id.clone()),
        _ => None,
    });
    containers.collect()
}
