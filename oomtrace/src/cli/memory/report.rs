//! What `oomtrace memory` says, read and put together.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::{
    event::{ContainerRole, Level},
    node::{
        budget::{difference, together},
        cgroup_files::CgroupMemory,
        cgroup_path::{CgroupIdentity, ContainerId, PodUid},
        hierarchy::Hierarchy,
        index::Index,
        kubelet_answers::{Answers, Figures},
        lenses::{self, Lens, ProcessMemory, Sum},
        node_object::NodeObject,
        pod_specs::PodSpec,
        processes::{self, Process, Rollup},
        survey::{Places, PodMemory, Survey},
    },
};

/// How many processes are read page by page: the kernel walks their page tables.
const MOST_ROLLUPS: usize = 200;

/// One memory through every lens.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// What was asked for, in words.
    pub(super) what: String,
    /// What the cgroup is; `null` for a process alone.
    pub(super) level: Option<Level>,
    /// Its path; `null` for the node.
    pub(super) cgroup: Option<String>,
    /// Of the cgroup; `null` for none.
    pub(super) limit_bytes: Option<u64>,
    /// By the specification.
    pub(super) request_bytes: Option<u64>,
    /// 1 or 2.
    pub(super) cgroup_version: Option<u8>,
    pub(super) lenses: Vec<Lens>,
    pub(super) sums: Vec<Sum>,
    /// What the kubelet's endpoints say of the same.
    pub(super) kubelet: Vec<Said>,
    /// Volumes of memory that are mounted for the pod.
    pub(super) volumes: Vec<Volume>,
    /// A pod's containers.
    pub(super) containers: Vec<ContainerRow>,
    pub(super) processes: Vec<ProcessMemory>,
    /// What `kubectl top` shows, where it can be computed.
    pub(super) top: Vec<Top>,
    /// What could not be read, and why.
    pub(super) missing: Vec<String>,
}

/// A figure of the kubelet's beside the same one as it is now.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    /// `/stats/summary workingSetBytes`.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// How old it is, in milliseconds.
    pub(super) age_ms: Option<i64>,
    /// The lens that it is a reading of.
    pub(super) lens: &'static str,
    /// The figure less what that lens shows now: the change since, by its age.
    pub(super) difference_bytes: Option<i64>,
}

/// A volume of memory.
#[derive(Debug, Serialize)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) used_bytes: u64,
    pub(super) size_bytes: u64,
}

/// A container of a pod.
#[derive(Debug, Serialize)]
pub(super) struct ContainerRow {
    pub(super) name: String,
    pub(super) cgroup: String,
    pub(super) usage_bytes: Option<u64>,
    pub(super) working_set_bytes: Option<u64>,
    pub(super) anon_bytes: Option<u64>,
    pub(super) file_bytes: Option<u64>,
    pub(super) limit_bytes: Option<u64>,
    pub(super) request_bytes: Option<u64>,
    pub(super) processes: usize,
}

/// What `kubectl top` shows.
#[derive(Debug, Serialize)]
pub(super) struct Top {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) percent: Option<u64>,
    pub(super) why: String,
}

/// What reports are read from.
pub(super) struct MemoryReader {
    pub(super) places: Places,
    pub(super) answers: Answers,
    pub(super) object: Option<NodeObject>,
    pub(super) names: Index,
    pub(super) missing: Vec<String>,
}

impl MemoryReader {
    /// The node as a whole.
    pub(super) fn node(mut self) -> Report {
        let mut survey = Survey::take(&self.places);
        let pods = together(survey.pods.iter().filter_map(|pod| pod.cgroup.working_set_bytes()));
        let (memory, root, kubepods) = (&survey.memory, survey.root.as_ref(), survey.kubepods.as_ref());
        let kubelet = self.said_of_node(root, kubepods);
        let sums = [
            lenses::node_usage(memory),
            root.and_then(|root| lenses::kubelet_to_node(root, memory)),
            root.zip(kubepods).and_then(|(root, kubepods)| lenses::pods_to_node(pods, kubepods, root)),
        ];
        let mut report = Report {
            what: "the node".to_owned(),
            level: Some(Level::Node),
            limit_bytes: memory.total_bytes,
            cgroup_version: survey.cgroup_version,
            lenses: lenses::of_node(memory, root, kubepods),
            sums: sums.into_iter().flatten().collect(),
            kubelet,
            top: self.top_of_node(&survey, pods),
            ..Report::default()
        };
        report.processes = biggest(std::mem::take(&mut survey.processes), &self.places.proc, 0, &mut self.missing);
        report.missing = [std::mem::take(&mut self.missing), survey.trouble].concat();
        report
    }

    fn top_of_node(&mut self, survey: &Survey, pods: u64) -> Vec<Top> {
        let mut top = Vec::new();
        let Some(used) = survey.root.as_ref().and_then(CgroupMemory::working_set_bytes) else { return top };
        let allocatable = self.object.as_ref().and_then(|object| object.allocatable_bytes);
        if allocatable.is_none() {
            self.missing
                .push("what is allocatable: --node-object, what `kubectl get node NAME -o json` prints".to_owned());
        }
        top.push(Top {
            name: "kubectl top node".to_owned(),
            bytes: used,
            percent: allocatable.and_then(|allocatable| lenses::top_percent(used, allocatable)),
            why: "the whole node's working set, in percent of what is allocatable: the system and what is reserved for it count, \
                  so it can be over 100"
                .to_owned(),
        });
        if let (Some(total), true) = (survey.memory.total_bytes, allocatable.is_some()) {
            top.push(Top {
                name: "kubectl top node --show-capacity".to_owned(),
                bytes: used,
                percent: lenses::top_percent(used, total),
                why: "the same in percent of the capacity".to_owned(),
            });
        }
        let in_containers = survey.pods.iter().flat_map(|pod| &pod.containers).filter(|(id, _)| !self.is_sandbox(id));
        top.push(Top {
            name: "kubectl top pod -A, all together".to_owned(),
            bytes: together(in_containers.filter_map(|(_, container)| container.working_set_bytes())),
            percent: None,
            why: format!(
                "containers alone, without sandboxes and what is charged to pods themselves: those have {} together",
                crate::quantity::size(pods)
            ),
        });
        top
    }

    /// Whether a container is a pod's sandbox, by what is known.
    fn is_sandbox(&self, id: &ContainerId) -> bool {
        let specs = self.answers.specs.iter().flatten();
        if specs.flat_map(|spec| spec.containers.values()).any(|container| container.id.as_ref() == Some(id)) {
            return false;
        }
        let known = self.names.known(id).and_then(|known| known.container);
        match known.and_then(|container| container.role) {
            Some(role) => role == ContainerRole::Sandbox,
            // A container that no specification has.
            None => self.answers.specs.is_some(),
        }
    }

    /// A cgroup by its path.
    pub(super) fn cgroup(mut self, path: &str) -> anyhow::Result<Report> {
        let hierarchy = Hierarchy::find(&self.places.cgroup_root)?;
        self.of_cgroup(&hierarchy, path)
    }

    /// A process, and the cgroup that it is in.
    pub(super) fn process(mut self, pid: u32) -> anyhow::Result<Report> {
        let read = Process::read(&self.places.proc, pid);
        let process = read.with_context(|| format!("process {pid} is not there, or has no memory of its own"))?;
        let path = process.cgroup.clone();
        let hierarchy = Hierarchy::find(&self.places.cgroup_root);
        let what = format!("process {} ({pid})", process.comm);
        let mut report = match (hierarchy, path) {
            (Ok(hierarchy), Some(path)) => match self.of_cgroup(&hierarchy, &path) {
                Ok(report) => Report { what: format!("{what} in {}", report.what), ..report },
                Err(error) => Report { missing: vec![format!("its cgroup: {error:#}")], ..Report::default() },
            },
            (Err(error), _) => Report { missing: vec![error.to_string()], ..Report::default() },
            (_, None) => Report { missing: vec![format!("the cgroup of process {pid}")], ..Report::default() },
        };
        if report.what.is_empty() {
            report.what = what;
        }
        // It stands first, whatever others are in the cgroup.
        let own = with_rollup(process, &self.places.proc, &mut report.missing);
        report.processes.retain(|process| process.process.pid != pid);
        report.processes.insert(0, own);
        Ok(report)
    }

    /// A pod or a container by its name.
    pub(super) fn pod(mut self, namespace: &str, pod: &str, container: Option<&str>) -> anyhow::Result<Report> {
        let hierarchy = Hierarchy::find(&self.places.cgroup_root)?;
        let survey = Survey::take(&self.places);
        let named = |memory: &PodMemory| {
            let known = || self.names.known_pod(&memory.uid)?.pod;
            self.spec(&memory.uid).map_or_else(
                || {
                    known().is_some_and(|known| {
                        known.namespace.as_deref() == Some(namespace) && known.name.as_deref() == Some(pod)
                    })
                },
                |spec| spec.namespace == namespace && spec.name == pod,
            )
        };
        let Some(memory) = survey.pods.iter().find(|memory| named(memory)) else {
            let why = if self.missing.is_empty() { String::new() } else { format!(" ({})", self.missing.join("; ")) };
            bail!("no pod {namespace}/{pod} has a cgroup here; `oomtrace pods` shows those that have{why}");
        };
        let Some(container) = container else { return self.of_cgroup(&hierarchy, &memory.cgroup.path) };
        let named = |id: &ContainerId| self.container_name(&memory.uid, id);
        let found = memory.containers.iter().find(|(id, _)| named(id) == container);
        let Some((_, found)) = found else {
            let mut running: Vec<_> = memory.containers.iter().map(|(id, _)| named(id)).collect();
            running.sort_unstable();
            bail!("no container {container} of pod {namespace}/{pod} runs; there are {}", running.join(", "));
        };
        let path = found.path.clone();
        self.of_cgroup(&hierarchy, &path)
    }

    fn spec(&self, uid: &PodUid) -> Option<&PodSpec> {
        self.answers.specs.iter().flatten().find(|spec| spec.uid.as_ref() == Some(uid))
    }

    /// A container's name, `(sandbox)`, or its id, shortened as runtimes do.
    fn container_name(&self, uid: &PodUid, id: &ContainerId) -> String {
        let spec = self.spec(uid).and_then(|spec| spec.containers.iter().find(|(_, of)| of.id.as_ref() == Some(id)));
        let known = || self.names.known(id)?.container?.name;
        match spec.map(|(name, _)| name.clone()).or_else(known) {
            Some(name) => name,
            None if self.is_sandbox(id) => "(sandbox)".to_owned(),
            None => format!("{:.12}", id.to_string()),
        }
    }

    fn of_cgroup(&mut self, hierarchy: &Hierarchy, path: &str) -> anyhow::Result<Report> {
        let mut trouble = Vec::new();
        let read = CgroupMemory::read(hierarchy, path, &mut trouble);
        let mut cgroup =
            read.with_context(|| format!("there is no cgroup {path}; `oomtrace pods` shows those of pods"))?;
        if path == "/" {
            cgroup = cgroup.of_root();
        }
        let folder = hierarchy.folder(path).context("a path out of the hierarchy")?;
        let inside = processes::in_cgroup(&self.places.proc, &folder, path);
        let found = inside.iter().filter_map(|(pid, path)| {
            Some(Process { cgroup: Some(path.clone()), ..Process::read(&self.places.proc, *pid)? })
        });
        let processes = biggest(found.collect(), &self.places.proc, MOST_ROLLUPS, &mut trouble);
        if processes.len() < inside.len() {
            trouble.push(format!(
                "{} processes that ended meanwhile, or are of the kernel",
                inside.len() - processes.len()
            ));
        }
        let identity = CgroupIdentity::parse(path);
        let containers = self.containers(hierarchy, &cgroup, &identity, &processes, &mut trouble);
        let of_containers: Vec<_> =
            containers.iter().filter_map(|container| Some((container.name.clone(), container.usage_bytes?))).collect();
        let sums = [
            lenses::usage(&cgroup),
            lenses::working_set(&cgroup),
            lenses::resident_to_usage(&cgroup, &processes),
            lenses::shared(&processes),
            (!of_containers.is_empty()).then(|| lenses::of_containers(&cgroup, &of_containers)).flatten(),
        ];
        let request_bytes = self.request(&identity);
        let mut missing = std::mem::take(&mut self.missing);
        missing.append(&mut trouble);
        Ok(Report {
            what: self.described(&identity, path),
            level: Some(identity.level),
            cgroup: Some(path.to_owned()),
            limit_bytes: cgroup.limit_bytes,
            request_bytes,
            cgroup_version: Some(hierarchy.version()),
            lenses: lenses::of_cgroup(&cgroup, &processes, hierarchy.version()),
            sums: sums.into_iter().flatten().collect(),
            kubelet: self.said(&identity, &cgroup),
            volumes: identity.pod_uid.as_ref().map(|uid| self.volumes(uid)).unwrap_or_default(),
            top: Self::top_of_pod(&identity, &containers),
            containers,
            processes,
            missing,
        })
    }

    fn described(&self, identity: &CgroupIdentity, path: &str) -> String {
        let Some(uid) = &identity.pod_uid else { return format!("cgroup {path}") };
        let spec = self.spec(uid).map(|spec| (spec.namespace.clone(), spec.name.clone()));
        let known = || {
            let pod = self.names.known_pod(uid)?.pod?;
            Some((pod.namespace?, pod.name?))
        };
        let pod = spec
            .or_else(known)
            .map_or_else(|| format!("pod {uid}"), |(namespace, name)| format!("pod {namespace}/{name}"));
        match &identity.container_id {
            Some(id) => format!("container {} of {pod}", self.container_name(uid, id)),
            None => pod,
        }
    }

    fn request(&self, identity: &CgroupIdentity) -> Option<u64> {
        let spec = self.spec(identity.pod_uid.as_ref()?)?;
        match &identity.container_id {
            None => Some(spec.request_bytes),
            Some(id) => spec.containers.values().find(|container| container.id.as_ref() == Some(id))?.request_bytes,
        }
    }

    fn containers(
        &self,
        hierarchy: &Hierarchy,
        pod: &CgroupMemory,
        identity: &CgroupIdentity,
        processes: &[ProcessMemory],
        trouble: &mut Vec<String>,
    ) -> Vec<ContainerRow> {
        let (Level::Pod, Some(uid), Some(folder)) = (identity.level, &identity.pod_uid, hierarchy.folder(&pod.path))
        else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            let path = format!("{}/{}", pod.path, entry.file_name().to_string_lossy());
            let Some(id) = CgroupIdentity::parse(&path).container_id else { continue };
            let Some(cgroup) = CgroupMemory::read(hierarchy, &path, trouble) else { continue };
            let spec = self.spec(uid).and_then(|spec| spec.containers.values().find(|of| of.id.as_ref() == Some(&id)));
            let inside =
                |process: &&ProcessMemory| process.process.cgroup.as_ref().is_some_and(|of| of.starts_with(&path));
            rows.push(ContainerRow {
                name: self.container_name(uid, &id),
                usage_bytes: cgroup.usage_bytes,
                working_set_bytes: cgroup.working_set_bytes(),
                anon_bytes: cgroup.stat.anon_bytes,
                file_bytes: cgroup.stat.file_bytes,
                limit_bytes: cgroup.limit_bytes,
                request_bytes: spec.and_then(|spec| spec.request_bytes),
                processes: processes.iter().filter(inside).count(),
                cgroup: path,
            });
        }
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        rows
    }

    fn top_of_pod(identity: &CgroupIdentity, containers: &[ContainerRow]) -> Vec<Top> {
        if identity.level != Level::Pod || containers.is_empty() {
            return Vec::new();
        }
        let shown = containers.iter().filter(|container| container.name != "(sandbox)");
        vec![Top {
            name: "kubectl top pod".to_owned(),
            bytes: together(shown.filter_map(|container| container.working_set_bytes)),
            percent: None,
            why: "its containers' working sets, without the sandbox and what is charged to the pod itself".to_owned(),
        }]
    }

    /// What the kubelet's endpoints say of a pod or a container.
    fn said(&self, identity: &CgroupIdentity, cgroup: &CgroupMemory) -> Vec<Said> {
        let mut said = Vec::new();
        let Some(spec) = identity.pod_uid.as_ref().and_then(|uid| self.spec(uid)) else {
            self.metrics(&mut said, cgroup, |metric| metric.is_of_cgroup(&cgroup.path));
            return said;
        };
        let name = identity.container_id.as_ref().map(|id| {
            let named = spec.containers.iter().find(|(_, of)| of.id.as_ref() == Some(id));
            named.map_or("POD", |(name, _)| name.as_str())
        });
        let summary = self.answers.summary.as_ref();
        let pod = summary.and_then(|summary| summary.pod(&spec.namespace, &spec.name, spec.uid.as_ref()));
        let figures = match name {
            None => pod.and_then(|pod| pod.memory.as_ref()),
            Some(name) => pod
                .and_then(|pod| pod.containers.iter().find(|container| container.name == name))
                .and_then(|container| container.memory.as_ref()),
        };
        self.figures(&mut said, figures, cgroup);
        self.metrics(&mut said, cgroup, |metric| {
            metric.is_of_cgroup(&cgroup.path)
                || (metric.is_of_cgroup("") && metric.is_of(&spec.namespace, &spec.name, name.unwrap_or("")))
        });
        said
    }

    fn said_of_node(&self, root: Option<&CgroupMemory>, kubepods: Option<&CgroupMemory>) -> Vec<Said> {
        let mut said = Vec::new();
        let summary = self.answers.summary.as_ref();
        if let Some(root) = root {
            self.figures(&mut said, summary.and_then(|summary| summary.node.memory.as_ref()), root);
            self.metrics(&mut said, root, crate::node::kubelet_answers::Metric::is_of_node);
        }
        if let (Some(kubepods), Some(figures)) = (kubepods, summary.and_then(|summary| summary.kubepods())) {
            let mut of_pods = Vec::new();
            self.figures(&mut of_pods, Some(figures), kubepods);
            said.extend(of_pods.into_iter().map(|said| Said { name: format!("{} of pods", said.name), ..said }));
        }
        said
    }

    fn figures(&self, said: &mut Vec<Said>, figures: Option<&Figures>, now: &CgroupMemory) {
        let Some(figures) = figures else { return };
        let age_ms = figures.age_ms(self.answers.now_ms);
        for (field, bytes, lens) in [
            ("usageBytes", figures.usage_bytes, "usage"),
            ("workingSetBytes", figures.working_set_bytes, "working set"),
            ("rssBytes", figures.rss_bytes, "RSS of the cgroup"),
        ] {
            let Some(bytes) = bytes else { continue };
            let difference_bytes = lens_now(now, lens).map(|now| difference(bytes, now));
            said.push(Said { name: format!("/stats/summary {field}"), bytes, age_ms, lens, difference_bytes });
        }
    }

    fn metrics(
        &self,
        said: &mut Vec<Said>,
        now: &CgroupMemory,
        is_its: impl Fn(&crate::node::kubelet_answers::Metric) -> bool,
    ) {
        for (path, metrics) in &self.answers.metrics {
            for metric in metrics.iter().filter(|metric| is_its(metric)) {
                let lens = match metric.name.as_str() {
                    "container_memory_usage_bytes" => "usage",
                    "container_memory_rss" => "RSS of the cgroup",
                    "container_memory_cache" => "page cache",
                    "container_memory_mapped_file" => "mapped files",
                    "container_memory_swap" => "swap",
                    _ => "working set",
                };
                said.push(Said {
                    name: format!("{path} {}", metric.name),
                    bytes: metric.bytes,
                    age_ms: metric.age_ms,
                    lens,
                    difference_bytes: lens_now(now, lens).map(|now| difference(metric.bytes, now)),
                });
            }
        }
    }

    /// The volumes of memory that are mounted for a pod.
    fn volumes(&self, uid: &PodUid) -> Vec<Volume> {
        let mounts = ["1/mountinfo", "self/mountinfo"]
            .iter()
            .find_map(|file| fs::read_to_string(self.places.proc.join(file)).ok())
            .unwrap_or_default();
        let below = format!("/pods/{uid}/volumes/");
        let volume = |line: &str| {
            let (fields, source) = line.split_once(" - ")?;
            let at = fields.split(' ').nth(4)?;
            let (_, name) = at.split_once(&below)?;
            if source.split(' ').next()? != "tmpfs" {
                return None;
            }
            let stat = rustix::fs::statvfs(self.places.host.path(Path::new(at))).ok()?;
            Some(Volume {
                name: name.rsplit('/').next()?.to_owned(),
                used_bytes: stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize),
                size_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            })
        };
        mounts.lines().filter_map(volume).collect()
    }
}

/// A lens of a cgroup, by its name.
fn lens_now(cgroup: &CgroupMemory, lens: &str) -> Option<u64> {
    match lens {
        "usage" => cgroup.usage_bytes,
        "working set" => cgroup.working_set_bytes(),
        "RSS of the cgroup" => cgroup.stat.anon_bytes,
        "page cache" => cgroup.stat.file_bytes,
        "mapped files" => cgroup.stat.file_mapped_bytes,
        "swap" => cgroup.swap_bytes,
        _ => None,
    }
}

/// Processes, the biggest first; the first `most` of them with what they share.
fn biggest(mut processes: Vec<Process>, proc: &Path, most: usize, trouble: &mut Vec<String>) -> Vec<ProcessMemory> {
    processes.sort_by_key(|process| std::cmp::Reverse((process.resident_bytes(), process.pid)));
    let all = processes.len();
    let mut refused = Vec::new();
    let read = |(place, process)| {
        if place < most { with_rollup(process, proc, &mut refused) } else { ProcessMemory { process, rollup: None } }
    };
    let read: Vec<_> = processes.into_iter().enumerate().map(read).collect();
    if let Some(first) = refused.first() {
        trouble.push(format!("{first} ({} of {all} processes)", refused.len()));
    }
    if most > 0 && all > most {
        trouble.push(format!("PSS and USS: of {all} processes only the {most} largest are read page by page"));
    }
    read
}

fn with_rollup(process: Process, proc: &Path, trouble: &mut Vec<String>) -> ProcessMemory {
    let rollup = Rollup::read(proc, process.pid);
    let rollup = rollup.map_err(|error| trouble.push(format!("PSS and USS: {error}"))).ok();
    ProcessMemory { process, rollup }
}
