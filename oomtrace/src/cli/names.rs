//! Options of the subcommands that name pods and containers.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use crate::{
    degradation::Degradation,
    live::NameOptions,
    node::{
        index::Bounds,
        names::{Host, KUBELET_READ_ONLY, KubeletAccess, KubeletTrust, Options, cri},
    },
};

/// Where names come from.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "sources")]
pub(super) struct Sources {
    /// The container runtime's socket. Default: the first there is of containerd's, K3s', CRI-O's and cri-dockerd's.
    #[arg(long, value_name = "SOCKET", env = "CONTAINER_RUNTIME_ENDPOINT")]
    cri_endpoint: Option<PathBuf>,
    /// Follow the runtime's events also where it gives each to one client only, containerd 1.x. Not where the kubelet
    /// follows them, too (its feature gate `EventedPLEG`, which is off by default). Else the runtime is asked every 3 s.
    #[arg(long)]
    cri_events: bool,
    /// Where the node's root folder is, if oomtrace runs in a container that has it mounted.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    host_root: PathBuf,
    /// The kubelet's address for `/pods`, which knows limits, owners and roles: `https://NODE:10250` with the node's name as its
    /// certificate has it; `off` not to ask it. Default: its read-only one, `http://127.0.0.1:10255`, if root listens there.
    #[arg(long, value_name = "URL")]
    kubelet_url: Option<String>,
    /// The token that a kubelet at `https://` is shown: of a service account that may get nodes/proxy.
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token")]
    kubelet_token: PathBuf,
    /// What has to have signed the certificate of a kubelet at `https://`.
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")]
    kubelet_ca: PathBuf,
    /// Show the token to any server that answers at `https://`, whatever its certificate is.
    #[arg(long, conflicts_with = "kubelet_ca")]
    kubelet_insecure: bool,
}

/// How long names are kept and waited for.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "names")]
pub(super) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// How long an event waits for names that are not known yet.
    #[arg(long, value_name = "TIME", default_value = "500ms")]
    name_wait: SignedDuration,
    /// How long names are kept after the end of their container.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    name_keep: SignedDuration,
    /// How many containers' names are kept at most, the ended among them.
    #[arg(long, value_name = "N", default_value = "10000")]
    name_entries: usize,
}

impl Sources {
    pub(super) fn options(&self, cgroup_root: &Path) -> Options {
        Options {
            cgroup_root: cgroup_root.to_path_buf(),
            host: Host::at(&self.host_root),
            cri: cri::Access { endpoint: self.cri_endpoint.clone(), events: self.cri_events },
            kubelet: (self.kubelet_url.as_deref() != Some("off")).then(|| self.kubelet()),
            kubelet_degradation: Degradation::default(),
            sees_cgroups: false,
        }
    }

    /// How the kubelet is asked.
    fn kubelet(&self) -> KubeletAccess {
        KubeletAccess {
            url: self.kubelet_url.clone().unwrap_or_else(|| KUBELET_READ_ONLY.to_owned()),
            named: self.kubelet_url.is_some(),
            token: self.kubelet_token.clone(),
            trust: if self.kubelet_insecure {
                KubeletTrust::Anybody
            } else {
                KubeletTrust::Authorities(self.kubelet_ca.clone())
            },
        }
    }
}

impl Args {
    /// How the kubelet is asked, for whatever it is.
    pub(super) fn kubelet(&self) -> KubeletAccess {
        self.sources.kubelet()
    }

    pub(super) fn options(&self, cgroup_root: &Path) -> NameOptions {
        NameOptions {
            sources: self.sources.options(cgroup_root),
            bounds: Bounds { entries: self.name_entries, keep: self.name_keep.unsigned_abs() },
            wait: self.name_wait.unsigned_abs(),
        }
    }
}
