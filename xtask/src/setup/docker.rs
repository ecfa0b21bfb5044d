//! Docker with the libraries that it needs, for guests with containers and no Kubernetes; its containerd and runc are
//! [`containerd`](super::containerd())'s.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// The folder that they are unpacked in.
pub(crate) fn docker() -> Result<PathBuf> {
    cache::piece("docker", |folder| {
        Suite::open("trixie")?
            .unpack(&["docker.io", "docker-cli", "libc6", "libsystemd0", "libcap2", "libgcc-s1"], folder)
    })
}
