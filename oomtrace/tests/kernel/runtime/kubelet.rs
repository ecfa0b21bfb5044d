//! A kubelet, as far as names are concerned: pods and containers in a real runtime, with the labels, the cgroups and the
//! folders of logs that a kubelet gives them.

use std::{
    collections::HashMap,
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use oomtrace::node::names::cri::{
    Client,
    messages::{
        ContainerMetadata, Id, ImageSpec, ListPodSandboxResponse, ListRequest, Nothing, PodSandbox, PodSandboxMetadata,
    },
};
use tokio::runtime::Runtime;

use super::requests::{
    ContainerConfig, ContainerSecurity, CreateContainer, LinuxContainerConfig, LinuxPodSandboxConfig, Mount,
    NamespaceOption, PodSandboxConfig, Resources, RunPodSandbox, SandboxSecurity, StopContainer,
};
use crate::{cgroup::uid, oomtrace::wait_until};

pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";
pub(crate) const IMAGE: &str = "localhost/busybox:1";
const NAMESPACE: &str = "shop";
/// Emulated, a runtime takes seconds for what takes others milliseconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// Makes an image of busybox and gives it to containerd, once.
const IMPORT: &str = r#"
set -e
ctr -n k8s.io images ls -q | grep -q localhost/busybox:1 && exit 0
image=/tmp/image
mkdir -p $image/root/bin $image/root/proc $image/root/tmp
cp /bin/busybox $image/root/bin/busybox
for name in sh sleep; do ln -s busybox $image/root/bin/$name; done
tar -C $image/root -cf $image/layer.tar .
sum=$(sha256sum $image/layer.tar | cut -d ' ' -f 1)
cat >$image/config.json <<END
{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["/bin/sleep","1000000"]},
"rootfs":{"type":"layers","diff_ids":["sha256:$sum"]}}
END
echo '[{"Config":"config.json","RepoTags":["localhost/busybox:1"],"Layers":["layer.tar"]}]' >$image/manifest.json
tar -C $image -cf $image/image.tar manifest.json config.json layer.tar
ctr -n k8s.io images import $image/image.tar >/dev/null
"#;

/// A client that asks the runtime for pods.
pub(crate) struct Kubelet {
    runtime: Runtime,
    client: Client,
}

/// A pod that runs.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) sandbox: String,
    config: PodSandboxConfig,
}

impl Pod {
    /// Where the runtime writes what a container's first life prints.
    pub(super) fn log(&self, container: &str) -> PathBuf {
        Path::new(&self.config.log_directory).join(container).join("0.log")
    }
}

/// A container that was started.
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) id: String,
    /// From the hierarchy's root.
    pub(crate) cgroup: String,
}

impl Kubelet {
    /// Connects to the runtime, and sees to it that it has the image.
    pub(crate) fn start() -> Result<Self> {
        let kubelet = Self::connect()?;
        let imported = Command::new("sh").args(["-c", IMPORT]).stdin(Stdio::null()).status()?;
        ensure!(imported.success(), "the image is not taken: {imported}");
        Ok(kubelet)
    }

    /// Connects to a runtime that has it.
    pub(crate) fn connect() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut connected = None;
        wait_until("the runtime answers", || {
            connected = runtime.block_on(Client::connect(Path::new(SOCKET))).ok();
            Ok(connected.is_some())
        })?;
        let client = connected.context("no connection")?.with_patience(PATIENCE);
        Ok(Self { runtime, client })
    }

    fn call<Q, A>(&mut self, method: &str, request: Q) -> Result<A>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.runtime.block_on(self.client.call(method, request)).with_context(|| method.to_owned())
    }

    /// Starts a burstable pod's sandbox.
    pub(crate) fn pod(&mut self, number: u32) -> Result<Pod> {
        self.pod_in(number, &format!("/kubepods/burstable/pod{}", uid(number)))
    }

    /// The same, in a cgroup of this path.
    pub(crate) fn pod_in(&mut self, number: u32, cgroup_parent: &str) -> Result<Pod> {
        self.pod_called((NAMESPACE, &format!("web-{number}")), uid(number), cgroup_parent, NAMESPACES)
    }

    /// Starts the sandbox of any pod, by its namespace and name.
    pub(super) fn pod_called(
        &mut self,
        (namespace, name): (&str, &str),
        uid: String,
        cgroup_parent: &str,
        namespaces: NamespaceOption,
    ) -> Result<Pod> {
        self.remove_left_over(&uid)?;
        let log_directory = format!("/var/log/pods/{namespace}_{name}_{uid}");
        if Path::new(&log_directory).exists() {
            fs::remove_dir_all(&log_directory)?;
        }
        fs::create_dir_all(&log_directory)?;
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: uid.clone(),
                namespace: namespace.to_owned(),
                attempt: 0,
            }),
            log_directory,
            labels: labels(name, &uid, [("app", "web"), ("io.kubernetes.pod.namespace", namespace)]),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: cgroup_parent.to_owned(),
                security_context: Some(SandboxSecurity { namespace_options: Some(namespaces) }),
            }),
        };
        let Id { id } = self.call("RunPodSandbox", RunPodSandbox { config: Some(config.clone()) })?;
        Ok(Pod { name: name.to_owned(), uid, sandbox: id, config })
    }

    /// Removes what is left of a pod by a test that failed and runs again.
    fn remove_left_over(&mut self, uid: &str) -> Result<()> {
        let ListPodSandboxResponse { items } = self.call("ListPodSandbox", ListRequest::default())?;
        let is_its = |sandbox: &PodSandbox| sandbox.metadata.as_ref().is_some_and(|pod| pod.uid == uid);
        for sandbox in items.into_iter().filter(is_its) {
            self.insist("StopPodSandbox", &sandbox.id)?;
            self.insist("RemovePodSandbox", &sandbox.id)?;
        }
        Ok(())
    }

    /// Creates and starts a container that may use 20 MiB.
    pub(crate) fn container(&mut self, pod: &Pod, name: &str, attempt: u32, command: &[&str]) -> Result<Container> {
        let this_program = env::current_exe()?.canonicalize()?;
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned(), attempt }),
            image: Some(ImageSpec { image: IMAGE.to_owned(), user_specified_image: IMAGE.to_owned() }),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            mounts: vec![Mount {
                container_path: "/workload".to_owned(),
                host_path: this_program.to_string_lossy().into_owned(),
                readonly: true,
                propagation: 0,
            }],
            annotations: HashMap::from([("io.kubernetes.container.restartCount".to_owned(), attempt.to_string())]),
            linux: Some(LinuxContainerConfig {
                resources: Some(Resources { memory_limit_in_bytes: 20 << 20, oom_score_adj: 0 }),
                security_context: Some(ContainerSecurity {
                    namespace_options: Some(NAMESPACES),
                    ..ContainerSecurity::default()
                }),
            }),
            ..ContainerConfig::default()
        };
        self.start_container(pod, name, attempt, config)
    }

    /// Creates and starts any container, with the labels and the log that a kubelet gives it.
    pub(super) fn start_container(
        &mut self,
        pod: &Pod,
        name: &str,
        attempt: u32,
        config: ContainerConfig,
    ) -> Result<Container> {
        let log_directory = Path::new(&pod.config.log_directory).join(name);
        fs::create_dir_all(&log_directory)?;
        let namespace = pod.config.metadata.as_ref().map(|pod| pod.namespace.clone()).unwrap_or_default();
        let more = [("io.kubernetes.container.name", name), ("io.kubernetes.pod.namespace", &namespace)];
        let config = ContainerConfig {
            labels: labels(&pod.name, &pod.uid, more),
            log_path: format!("{name}/{attempt}.log"),
            ..config
        };
        let create = CreateContainer {
            pod_sandbox_id: pod.sandbox.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        let Id { id } = self.call("CreateContainer", create)?;
        // The kubelet makes it once the container is started, as `<pod>_<namespace>_<container>-<id>.log`.
        let links = Path::new("/var/log/containers");
        fs::create_dir_all(links)?;
        symlink(
            log_directory.join(format!("{attempt}.log")),
            links.join(format!("{}_{namespace}_{name}-{id}.log", pod.name)),
        )?;
        let Nothing {} = self.call("StartContainer", Id { id: id.clone() })?;
        let parent = pod.config.linux.as_ref().map(|linux| linux.cgroup_parent.clone()).unwrap_or_default();
        // Of a slice containerd makes what runc would tell systemd; runc without systemd takes it for a name.
        let cgroup = match parent.rsplit_once('/') {
            Some((_, slice)) if slice.strip_suffix(".slice").is_some() => format!("/{slice}:cri-containerd:{id}"),
            _ => format!("{parent}/{id}"),
        };
        Ok(Container { name: name.to_owned(), cgroup, id })
    }

    /// Tells a container to end, and waits until it has.
    pub(crate) fn stop(&mut self, container: &Container) -> Result<()> {
        let Nothing {} =
            self.call("StopContainer", StopContainer { container_id: container.id.clone(), timeout: 60 })?;
        Ok(())
    }

    /// Asks, and asks again as a kubelet does: a runtime may stumble over a container that is ending.
    fn insist(&mut self, method: &str, id: &str) -> Result<()> {
        let mut stumbles = 0;
        while let Err(error) = self.call::<_, Nothing>(method, Id { id: id.to_owned() }) {
            stumbles += 1;
            ensure!(stumbles < 5, error);
            println!("{method} {id} again: {error:#}");
            thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// Removes a container, running or not.
    pub(crate) fn remove(&mut self, container: &Container) -> Result<()> {
        self.insist("RemoveContainer", &container.id)?;
        for link in fs::read_dir("/var/log/containers")? {
            let link = link?;
            if link.file_name().to_string_lossy().contains(&container.id) {
                fs::remove_file(link.path())?;
            }
        }
        Ok(())
    }

    /// Stops and removes a pod with all its containers, and its folder.
    pub(crate) fn remove_pod(&mut self, pod: &Pod) -> Result<()> {
        self.insist("StopPodSandbox", &pod.sandbox)?;
        self.insist("RemovePodSandbox", &pod.sandbox)?;
        fs::remove_dir_all(&pod.config.log_directory)?;
        Ok(())
    }
}

/// The node's network, a pid namespace for each container.
const NAMESPACES: NamespaceOption = NamespaceOption { network: 2, pid: 1 };

fn labels<'a>(
    pod: &'a str,
    uid: &'a str,
    more: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> HashMap<String, String> {
    let of_pod =
        [("io.kubernetes.pod.name", pod), ("io.kubernetes.pod.namespace", NAMESPACE), ("io.kubernetes.pod.uid", uid)];
    of_pod.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Ends containerd; its containers live on.
pub(crate) fn stop_containerd() -> Result<()> {
    let pid: i32 = fs::read_to_string("/run/containerd.pid")?.trim().parse()?;
    // SAFETY: no precondition.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    wait_until("containerd has ended", || {
        // Its parent is the guest's first process, which may leave it a zombie.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        Ok(stat.is_empty() || stat.contains(") Z "))
    })?;
    fs::remove_file(SOCKET).ok();
    Ok(())
}

/// Starts it again.
pub(crate) fn start_containerd() -> Result<()> {
    let log = fs::File::options().append(true).create(true).open("/run/containerd.log")?;
    let mut command = Command::new("containerd");
    let child =
        command.args(["--log-level", "warn"]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    fs::write("/run/containerd.pid", child.id().to_string())?;
    Ok(())
}
