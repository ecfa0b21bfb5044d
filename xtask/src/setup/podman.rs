//! Podman, crun and conmon with the libraries they need, for guests with containers and no Kubernetes.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Suite;
use crate::cache;

/// What they link to, at any depth. With what Debian has them depend on the packages would be three times as many, for
/// networks that no guest has.
const PACKAGES: [&str; 31] = [
    "podman",
    "conmon",
    "crun",
    "libacl1",
    "libassuan9",
    "libatomic1",
    "libattr1",
    "libaudit1",
    "libbsd0",
    "libbz2-1.0",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcrypt1",
    "libgcc-s1",
    "libglib2.0-0t64",
    "libgpg-error0",
    "libgpgme11t64",
    "libmd0",
    "libpam0g",
    "libpcre2-8-0",
    "libseccomp2",
    "libselinux1",
    "libsemanage2",
    "libsepol2",
    "libsqlite3-0",
    "libsubid5",
    "libsystemd0",
    "libyajl2",
    "libzstd1",
    "zlib1g",
];

/// The folder that they are unpacked in.
pub(crate) fn podman() -> Result<PathBuf> {
    cache::piece("podman", |folder| Suite::open("trixie")?.unpack(&PACKAGES, folder))
}
