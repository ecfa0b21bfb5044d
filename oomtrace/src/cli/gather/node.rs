//! This node itself: its name and clock, its cgroups, its kubelet's configuration, and versions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use jiff::{SignedDuration, tz::TimeZone};
use serde_json::{Map, Value, json};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use super::{super::kernel_release, Gathering, secrets};
use crate::{
    build_info, clock,
    node::{
        cgroup_path::CgroupIdentity,
        fact::Fact,
        hierarchy::{self, Hierarchy},
        kubelet_process::{self, CONFIGS, KubeletProcess},
        names::{cgroups, cri},
    },
    replay::archive,
};

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read of a cgroup, in both versions of the hierarchy.
const CGROUP_FILES: [&str; 14] = [
    "memory.max",
    "memory.high",
    "memory.low",
    "memory.min",
    "memory.current",
    "memory.peak",
    "memory.swap.max",
    "memory.events",
    "memory.oom.group",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.failcnt",
    "memory.oom_control",
];

impl Gathering<'_> {
    /// Whose logs these are, and what their times count from.
    pub(super) fn node(&mut self) {
        let since_boot = SignedDuration::from_nanos(i64::try_from(clock::boot_ns()).unwrap_or(0));
        let zone = fs::read(self.options.host.path("/etc/localtime")).ok();
        let zone = zone.and_then(|zone| TimeZone::tzif("local", &zone).ok());
        let node = archive::Node {
            name: Some(crate::cli::node_name(None)),
            boot_time: self.now.checked_sub(since_boot).ok().map(|at| at.to_string()),
            utc_offset_seconds: zone.map(|zone| zone.to_offset(self.now).seconds()),
            collected: Some(format!("{:.0}", self.now)),
        };
        match serde_json::to_vec_pretty(&node) {
            Ok(text) => self.keep(archive::NODE, text),
            Err(error) => self.miss(archive::NODE, error),
        }
    }

    /// The limits and the use of every cgroup of a pod or a container, and of those around them.
    pub(super) fn cgroups(&mut self) {
        let hierarchy = match Hierarchy::find(&self.options.cgroup_root) {
            Ok(hierarchy) => hierarchy,
            Err(error) => return self.miss("cgroups", error),
        };
        let mut found = Vec::new();
        for fact in cgroups::walk(hierarchy.root()) {
            let Fact::Cgroup { path, .. } = fact else { continue };
            let identity = CgroupIdentity::parse(&path);
            if !identity.is_own() || !path.contains("kubepods") {
                continue;
            }
            let read =
                |file: &str| hierarchy.folder(&path).and_then(|folder| hierarchy::read(&folder.join(file)).ok()?);
            let files: Map<String, Value> = CGROUP_FILES
                .iter()
                .filter_map(|file| Some(((*file).to_owned(), read(file)?.trim_end().into())))
                .collect();
            found.push(json!({ "path": path, "files": files }));
        }
        if found.is_empty() {
            return self.miss("cgroups of pods", "there are none below kubepods");
        }
        match serde_json::to_vec_pretty(&json!({ "version": hierarchy.version(), "cgroups": found })) {
            Ok(text) => self.keep(archive::CGROUPS, text),
            Err(error) => self.miss("cgroups", error),
        }
    }

    /// The kubelet's command line and configuration, without secrets.
    pub(super) fn kubelet(&mut self) {
        let process = KubeletProcess::find(&kubelet_process::proc(&self.options.host).0);
        let mut asked = None;
        match &process {
            Some(process) => {
                let mut arguments = process.arguments.clone();
                asked = process.option("--config").map(PathBuf::from);
                let left_out = secrets::leave_out_of_arguments(&mut arguments);
                self.left_out.extend(left_out.into_iter().map(|what| format!("{}: {what}", archive::COMMAND_LINE)));
                self.keep(archive::COMMAND_LINE, arguments.join("\n") + "\n");
            }
            None => self.miss("the kubelet's command line", "no kubelet is seen to run (in a container: hostPID)"),
        }
        let paths = asked.into_iter().chain(CONFIGS.map(PathBuf::from));
        let found = paths.map(|path| self.options.host.path(path)).find_map(|path| Some((fs::read(&path).ok()?, path)));
        let Some((text, path)) = found else {
            return self.miss("the kubelet's configuration", format!("none of {} can be read", CONFIGS.join(", ")));
        };
        match serde_yaml_ng::from_slice::<Value>(&text) {
            Ok(mut config) => {
                let left_out = secrets::leave_out(&mut config);
                self.left_out.extend(left_out.into_iter().map(|what| format!("{}: {what}", archive::CONFIG)));
                let config = json!({ "file": path.display().to_string(), "config": config });
                self.keep(archive::CONFIG, format!("{config:#}\n"));
            }
            // What cannot be read may hold anything.
            Err(_) => {
                self.miss("the kubelet's configuration", format!("{} is neither YAML nor JSON", path.display()));
            }
        }
    }

    /// Versions of all that takes part.
    pub(super) async fn versions(&mut self) {
        let uname = rustix::system::uname();
        let mut versions = vec![
            format!("oomtrace: {}", build_info::LONG.replace('\n', ", ")),
            format!("kernel: {}", kernel_release()),
            format!("kernel, built: {}", uname.version().to_string_lossy()),
            format!("machine: {}", uname.machine().to_string_lossy()),
        ];
        if let Ok(release) = fs::read_to_string(self.options.host.path("/etc/os-release")) {
            let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
            versions.extend(name.map(|name| format!("system: {}", name.trim_matches('"'))));
        }
        match cri::version(&self.options.host, self.options.cri.endpoint.as_deref()).await {
            Ok(version) => versions.push(format!("runtime: {version}")),
            Err(error) => self.miss("the runtime's version", error),
        }
        match KubeletProcess::find(&kubelet_process::proc(&self.options.host).0) {
            Some(process) => match version(&process.folder.join("exe")).await {
                Ok(version) => versions.push(format!("kubelet: {version}")),
                Err(error) => self.miss("the kubelet's version", error),
            },
            None => self.miss("the kubelet's version", "no kubelet is seen to run"),
        }
        self.keep(archive::VERSIONS, versions.join("\n") + "\n");
    }
}

/// What a program prints for `--version`.
async fn version(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
    let mut printed = Vec::new();
    let Some(stdout) = child.stdout.take() else { return Err("it prints nothing".to_owned()) };
    let read = timeout(PATIENCE, stdout.take(4096).read_to_end(&mut printed)).await;
    read.map_err(|_| "it does not answer in time".to_owned())?.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&printed);
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() { Err("it says none".to_owned()) } else { Ok(first.to_owned()) }
}
