//! `cargo xtask setup`: everything that building and testing need beyond rustup, apt and git. Each piece is fetched
//! once, into the cache, verified by the tool that fetched it; the other subcommands ask here for just the pieces
//! they need.

mod actionlint;
mod apt;
mod bpf_linker;
mod bpftrace;
mod busybox;
mod cargo_mutants;
mod chromium;
mod containerd;
mod cross;
mod cyclonedx;
mod docker;
mod etcd;
mod kernel;
mod kubernetes;
mod kubernetes_source;
mod log_engines;
mod node;
mod nodejs;
mod otlp_receivers;
mod podman;
mod prometheus;
mod qemu;
mod rpm;
mod rsyslog;
mod rust_src;
mod systemd;

use std::{fs, path::Path, process::ExitCode, thread};

use anyhow::{Result, bail};

pub(crate) use self::{
    actionlint::actionlint,
    bpf_linker::bpf_linker,
    bpftrace::bpftrace,
    busybox::{busybox, busybox_for},
    cargo_mutants::cargo_mutants,
    chromium::chromium,
    containerd::containerd,
    cross::cross,
    cyclonedx::cyclonedx,
    docker::docker,
    etcd::etcd,
    kernel::{Kernel, KernelFiles, kernel, kernel_for},
    kubernetes::{helm, kubectl, python},
    kubernetes_source::kubernetes,
    log_engines::log_engines,
    node::{KERNEL as NODE_KERNEL, node},
    nodejs::nodejs,
    otlp_receivers::otlp_receivers,
    podman::podman,
    prometheus::prometheus,
    qemu::qemu,
    rpm::rpm,
    rsyslog::{jq, rsyslog},
    rust_src::rust_src,
    systemd::{journal_tools, systemd, systemd_analyze},
};
use crate::{arch::Arch, cache};

/// What a person can choose, for `--help`.
pub(crate) const VARIABLES: &str = "\
What building for arm64, its kernels and a release need is fetched when it is first used.

Environment variables, for this and every other command:
  OOMTRACE_CACHE          the folder for downloads [default: oomtrace in $XDG_CACHE_HOME, or ~/.cache/oomtrace]
  OOMTRACE_DEBIAN_MIRROR  the Debian mirror's URI [default: the one in this machine's apt configuration]
  OOMTRACE_QEMU           a qemu-system-x86_64 to use instead of fetching one";

/// Brings every piece, the compiling and the downloading at once.
pub(crate) fn run() -> Result<ExitCode> {
    let (toolchain, guests, lab) = thread::scope(|scope| {
        let guests = scope.spawn(|| guests(Arch::Amd64, &Kernel::ALL));
        let lab = scope.spawn(lab);
        (toolchain(), guests.join(), lab.join())
    });
    let (Ok(guests), Ok(lab)) = (guests, lab) else { bail!("fetching QEMU, kernels and Kubernetes ended in a panic") };
    toolchain?;
    guests?;
    lab?;
    chromium()?;
    report()?;
    Ok(ExitCode::SUCCESS)
}

/// What compiling the probes needs.
pub(crate) fn toolchain() -> Result<()> {
    rust_src()?;
    bpf_linker()?;
    Ok(())
}

/// What booting these kernels needs. A kernel that cannot be had does not keep the others from being fetched.
pub(crate) fn guests(arch: Arch, kernels: &[Kernel]) -> Result<()> {
    qemu(arch)?;
    busybox_for(arch)?;
    if arch == Arch::Amd64 {
        containerd()?;
        docker()?;
        podman()?;
        prometheus()?;
        systemd()?;
        rsyslog()?;
    }
    let failed: Vec<_> = kernels.iter().filter_map(|each| kernel_for(arch, *each).err()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{}", failed.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("\n"))
}

/// What a lab needs. Kubernetes is compiled: ten minutes of one processor.
pub(crate) fn lab() -> Result<()> {
    qemu(Arch::Amd64)?;
    etcd()?;
    kubectl()?;
    kernel(NODE_KERNEL)?;
    node()?;
    Ok(())
}

/// One line a piece: what is there now, where, and how large.
fn report() -> Result<()> {
    let show = |name: &str, folder: &Path| -> Result<()> {
        println!("{name:<34} present, {:>6.1} MB in {}", cache::megabytes(folder)?, folder.display());
        Ok(())
    };
    show("rust-src", &rust_src()?)?;
    show("bpf-linker", &bpf_linker()?)?;
    show("qemu", qemu(Arch::Amd64)?.folder())?;
    show("busybox", &busybox()?)?;
    show("containerd and runc", &containerd()?)?;
    show("docker", &docker()?)?;
    show("podman", &podman()?)?;
    show("prometheus", &prometheus()?)?;
    show("chromium", chromium()?.parent().unwrap_or(Path::new("")))?;
    show("rsyslog", &rsyslog()?)?;
    show("systemd", &systemd()?)?;
    show("kubernetes", &kubernetes()?)?;
    show("etcd", &etcd::folder()?)?;
    show("kubectl and helm", kubectl()?.parent().unwrap_or(Path::new("")))?;
    show("the lab's node", node()?.parent().unwrap_or(Path::new("")))?;
    for each in Kernel::ALL {
        let files = kernel(each)?;
        show(&format!("kernel {}", files.release), &files.folder)?;
    }
    let root = cache::root()?;
    println!(
        "{:<34} {:>15.1} MB in {}",
        "the whole cache",
        cache::megabytes(&root)?,
        fs::canonicalize(&root)?.display()
    );
    Ok(())
}
