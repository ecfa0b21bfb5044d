//! Files that name containers, as a runtime and a kubelet make them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::json;

use super::lives::{Life, Source};

/// containerd's folders of containers, as `oomtrace` looks for them.
pub(super) struct Bundles;

impl Bundles {
    fn folder(life: &Life) -> PathBuf {
        PathBuf::from("/run/containerd/io.containerd.runtime.v2.task/k8s.io").join(life.id())
    }
}

impl Source for Bundles {
    fn made(&self, life: &Life) -> Result<()> {
        let folder = Self::folder(life);
        fs::create_dir_all(&folder)?;
        let config = json!({"ociVersion": "1.2.0", "annotations": {
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.container-name": life.name(),
            "io.kubernetes.cri.image-name": "localhost/app:1",
            "io.kubernetes.cri.sandbox-name": life.pod_name(),
            "io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-uid": life.uid(),
        }, "linux": {"resources": {"memory": {"limit": 20 << 20}}}});
        Ok(fs::write(folder.join("config.json"), config.to_string())?)
    }

    fn gone(&self, life: &Life) -> Result<()> {
        Ok(fs::remove_dir_all(Self::folder(life))?)
    }

    /// Its annotations have none.
    fn knows_restarts(&self) -> bool {
        false
    }
}

/// The kubelet's folders of pods' logs, and its links to them. They stay: a kubelet comes by seconds later.
pub(super) struct Links(&'static str);

impl Links {
    pub(super) fn in_folder(root: &'static str) -> Result<Self> {
        for folder in ["var/log/pods", "var/log/containers"] {
            fs::create_dir_all(Path::new(root).join(folder))?;
        }
        Ok(Self(root))
    }

    pub(super) fn root(&self) -> &'static str {
        self.0
    }

    fn log(life: &Life) -> PathBuf {
        let pod = format!("shop_{}_{}", life.pod_name(), life.uid());
        Path::new("/var/log/pods").join(pod).join(life.name()).join(format!("{}.log", life.restarts()))
    }
}

impl Source for Links {
    fn made(&self, life: &Life) -> Result<()> {
        let log = Self::log(life);
        Ok(fs::create_dir_all(Path::new(self.0).join("var/log/pods").join(log.iter().nth(4).unwrap_or_default()))?)
    }

    fn started(&self, life: &Life) -> Result<()> {
        let link = format!("{}_shop_{}-{}.log", life.pod_name(), life.name(), life.id());
        Ok(symlink(Self::log(life), Path::new(self.0).join("var/log/containers").join(link))?)
    }

    fn gone(&self, _: &Life) -> Result<()> {
        Ok(())
    }

    fn end(&self) -> Result<()> {
        Ok(fs::remove_dir_all(self.0)?)
    }
}
