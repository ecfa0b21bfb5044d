//! The node: an emulated machine whose disk is [`setup::node`]'s, never written to. What differs from run to run comes with the
//! initramfs, which copies it onto the disk before systemd starts. As often as the machine is rebooted, it starts there again.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{agent, control_plane, processes::State};
use crate::{
    arch::Arch,
    build,
    setup::{self, Kernel},
    vm::{Cgroup, Initramfs},
};

/// QEMU's user network: the host as the node sees it, and the node.
pub(super) const HOST: &str = "10.0.2.2";
pub(super) const NODE_ADDRESS: &str = "10.0.2.15";
/// Where pods find the API server: the first address of services.
const SERVICE: &str = "10.96.0.1";
/// MiB, as in the recordings that tests are made of.
const MEMORY: u32 = 2048;
/// What the disk, the network, containers and pods' networks need. What else is needed the kernel asks `modprobe` for.
const MODULES: [&str; 8] =
    ["virtio_pci", "virtio_blk", "virtio_net", "ext4", "overlay", "bridge", "br_netfilter", "veth"];
/// Where files go, from where they are in this crate.
const FILES: [(&str, &str); 9] = [
    ("etc/systemd/system/lab-agent.service", include_str!("node/lab-agent.service")),
    ("etc/systemd/system/lab-images.service", include_str!("node/lab-images.service")),
    ("etc/systemd/system/lab-network.service", include_str!("node/lab-network.service")),
    ("etc/systemd/system/lab-proxy.service", include_str!("node/lab-proxy.service")),
    ("etc/systemd/system/kubelet.service", include_str!("node/kubelet.service")),
    ("etc/systemd/journald.conf.d/lab.conf", include_str!("node/journald.conf")),
    ("etc/containerd/config.toml", include_str!("node/containerd.toml")),
    ("etc/cni/net.d/10-pods.conflist", include_str!("node/cni.conflist")),
    // Pods get the node's, which names nobody: there is nobody to ask.
    ("etc/lab/resolv.conf", "nameserver 127.0.0.1\n"),
];

/// What systemd needs to see on the kernel's command line to use cgroup v1.
const USE_V1: &str = " systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1";

/// The kernel of a node with this cgroup version: the disk's, if that still has v1's memory controller.
pub(super) fn kernel(cgroup: Cgroup) -> Kernel {
    match cgroup {
        Cgroup::V1 => Kernel::V6_1,
        Cgroup::V2 => setup::NODE_KERNEL,
    }
}

/// What a node starts with.
pub(super) struct Node<'a> {
    /// The lab's folder.
    pub(super) folder: &'a Path,
    /// The kubelet's configuration.
    pub(super) kubelet: Value,
    /// An archive of images.
    pub(super) images: PathBuf,
    /// The static `oomtrace`.
    pub(super) oomtrace: PathBuf,
    /// What systemd, the runtime and the kubelet use.
    pub(super) cgroup: Cgroup,
}

impl Node<'_> {
    /// Writes the initramfs and starts QEMU.
    pub(super) fn start(&self, state: &mut State, ours: bool) -> Result<()> {
        let initramfs = self.folder.join("initramfs");
        self.write_initramfs(&initramfs, &state.token, state.ports.api)?;
        let (kernel, disk) = (setup::kernel(kernel(self.cgroup))?, setup::node()?);
        let use_v1 = if self.cgroup == Cgroup::V1 { USE_V1 } else { "" };
        let mut qemu = setup::qemu(Arch::Amd64)?.command();
        qemu.args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            &format!("{MEMORY}M"),
        ]);
        qemu.args(["-nodefaults", "-display", "none", "-monitor", "none"]);
        qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initramfs);
        // Few messages, for a serial port is slow. The kernel's log has room for every one, for `lab capture`.
        qemu.arg("-append").arg(format!(
            "console=ttyS0 loglevel=3 log_buf_len=16M panic=-1 systemd.unit=multi-user.target systemd.getty_auto=no \
             systemd.show_status=no systemd.hostname=node1{use_v1}"
        ));
        qemu.arg("-serial").arg(format!("file:{}", state.log("console").display()));
        let disk = disk.display().to_string().replace(',', ",,");
        qemu.args(["-drive", &format!("file={disk},format=raw,if=virtio,cache=unsafe,snapshot=on,discard=unmap")]);
        let (agent, kubelet) = (state.ports.agent, state.ports.kubelet);
        qemu.args([
            "-netdev",
            &format!(
                "user,id=net,hostfwd=tcp:127.0.0.1:{agent}-:{},hostfwd=tcp:127.0.0.1:{kubelet}-:{kubelet}",
                agent::PORT
            ),
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
        ]);
        state.start("qemu", &mut qemu, ours)
    }

    fn write_initramfs(&self, path: &Path, token: &str, api: u16) -> Result<()> {
        let mut initramfs = Initramfs::create(path)?;
        initramfs.file(Path::new("/init"), 0o755, include_bytes!("node/init.sh"))?;
        initramfs.copy(&setup::busybox()?, Path::new("/bin/busybox"))?;
        for folder in ["proc", "sys", "dev", "root"] {
            initramfs.folder(&Path::new("/").join(folder))?;
        }
        let release = kernel(self.cgroup);
        let kernel = setup::kernel(release)?;
        for (position, module) in kernel.modules(&MODULES)?.iter().enumerate() {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            initramfs.copy(module, Path::new(&format!("/modules/{position:02}-{name}")))?;
        }
        let root = Path::new("/files");
        if release != setup::NODE_KERNEL {
            let modules = kernel.modules_folder();
            let name = modules.file_name().context("a kernel's modules are in a folder")?;
            initramfs.copy(&modules, &root.join("usr/lib/modules").join(name))?;
        }
        for (path, text) in FILES {
            initramfs.file(&root.join(path), 0o644, text.as_bytes())?;
        }
        initramfs.file(&root.join("etc/machine-id"), 0o444, format!("{token}\n").as_bytes())?;
        initramfs.file(&root.join("etc/lab/token"), 0o600, token.as_bytes())?;
        let service = format!("SERVICE={SERVICE}\nHOST={HOST}\nAPI_SERVER={HOST}:{api}\n");
        initramfs.file(&root.join("etc/lab/api"), 0o644, service.as_bytes())?;
        initramfs.file(&root.join("etc/hosts"), 0o644, b"127.0.0.1 localhost node1\n")?;
        initramfs.file(&root.join("etc/kubernetes/kubelet.yaml"), 0o644, format!("{:#}\n", self.kubelet).as_bytes())?;
        initramfs.folder(&root.join("etc/kubernetes/manifests"))?;
        let kubeconfig = control_plane::kubeconfig(self.folder, "kubelet");
        initramfs.copy(&kubeconfig, &root.join("etc/kubernetes/kubelet.kubeconfig"))?;
        initramfs.copy(&self.images, &root.join("usr/lib/lab/images.tar"))?;
        let this = std::env::current_exe().context("where this program is, is not known")?;
        for (program, name) in [(&this, "usr/lib/lab/xtask"), (&self.oomtrace, "usr/bin/oomtrace")] {
            let stripped = path.with_extension("stripped");
            build::strip(program, &stripped)?;
            initramfs.copy(&stripped, &root.join(name))?;
            std::fs::remove_file(stripped)?;
        }
        initramfs.finish()
    }
}
