//! The kernels that oomtrace is tested on: Debian's cloud kernels, unpacked and never installed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{apt::Suite, busybox};
use crate::{arch::Arch, cache, tool};

/// A kernel of the test matrix, called by its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    V5_10,
    V6_1,
    V6_12,
    /// With pages of 16 KiB, which arm64 alone has.
    V6_12Pages16K,
    V7,
}

impl Kernel {
    /// The matrix, oldest first.
    pub(crate) const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V7];
    /// The same for arm64. Debian has no kernel with pages of 64 KiB.
    const ARM64: [Self; 5] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::V6_12Pages16K, Self::V7];

    /// The matrix of an architecture.
    pub(crate) const fn all(arch: Arch) -> &'static [Self] {
        match arch {
            Arch::Amd64 => &Self::ALL,
            Arch::Arm64 => &Self::ARM64,
        }
    }

    /// What a person calls it, and its folder in the cache.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V6_12Pages16K => "6.12-16k",
            Self::V7 => "7.x",
        }
    }

    /// The Debian suite it is from.
    const fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 | Self::V6_12Pages16K => "trixie",
            Self::V7 => "trixie-backports",
        }
    }

    /// The package that needs the newest of this kernel.
    fn package(self, arch: Arch) -> String {
        match self {
            Self::V6_12Pages16K => format!("linux-image-{arch}-16k"),
            _ => format!("linux-image-cloud-{arch}"),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(label: &str) -> Result<Self, Self::Err> {
        let labels = || Self::ARM64.map(Self::label).join(", ");
        Self::ARM64.into_iter().find(|kernel| kernel.label() == label).ok_or_else(|| format!("not one of {}", labels()))
    }
}

/// An unpacked kernel.
pub(crate) struct KernelFiles {
    /// What `uname -r` says in it.
    pub(crate) release: String,
    /// What QEMU boots.
    pub(crate) image: PathBuf,
    /// The options it was built with.
    config: PathBuf,
    /// `…/lib/modules/RELEASE`.
    modules: PathBuf,
    /// The piece of the cache.
    pub(crate) folder: PathBuf,
}

/// The files of `kernel` for x86-64.
pub(crate) fn kernel(kernel: Kernel) -> Result<KernelFiles> {
    kernel_for(Arch::Amd64, kernel)
}

/// The files of `kernel`.
pub(crate) fn kernel_for(arch: Arch, kernel: Kernel) -> Result<KernelFiles> {
    ensure!(Kernel::all(arch).contains(&kernel), "there is no kernel {kernel} for {arch}");
    let folder = cache::piece(&format!("{}/{kernel}", arch.piece("kernels")), |folder| {
        let suite = Suite::open_for(arch, kernel.suite())?;
        // From 7.x on the meta package leads to several: image, modules, configuration.
        suite.unpack(&suite.dependencies(&kernel.package(arch), "linux-")?, folder)?;
        // Where /usr is merged the modules are under it, but depmod looks in /lib.
        if !folder.join("lib").exists() {
            fs::rename(folder.join("usr/lib"), folder.join("lib"))?;
        }
        let release = release(folder)?;
        // Packages do not have the modules' dependencies: they are computed on installation, as here.
        tool::output(Command::new(busybox()?).arg("depmod").arg("-b").arg(folder).arg(release))?;
        Ok(())
    })?;
    let release = release(&folder)?;
    let modules = folder.join("lib/modules").join(&release);
    let file = |name: &str| {
        let places = [folder.join(format!("boot/{name}-{release}")), modules.join(name)];
        let found = places.iter().find(|place| place.exists()).cloned();
        found.with_context(|| format!("kernel {release} has no {name} in {}", folder.display()))
    };
    Ok(KernelFiles { image: file("vmlinuz")?, config: file("config")?, modules, folder: folder.clone(), release })
}

/// The folder of modules is named for the release.
fn release(folder: &Path) -> Result<String> {
    let modules = folder.join("lib/modules");
    let mut names = fs::read_dir(&modules).with_context(|| format!("cannot list {}", modules.display()))?;
    let Some(name) = names.next().transpose()? else { bail!("{} has no kernel's modules", modules.display()) };
    Ok(name.file_name().to_string_lossy().into_owned())
}

impl KernelFiles {
    /// Whether cgroup v1 has the memory controller.
    pub(crate) fn has_memory_v1(&self) -> Result<bool> {
        let config = fs::read_to_string(&self.config)
            .with_context(|| format!("cannot read the kernel's options in {}", self.config.display()))?;
        Ok(memory_v1(&config))
    }

    /// `…/lib/modules/RELEASE`.
    pub(crate) fn modules_folder(&self) -> PathBuf {
        self.modules.clone()
    }

    /// The files of these modules and of those they depend on, in the order to insert them. What is built into
    /// this kernel has no file.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let path = self.modules.join("modules.dep");
        let dependencies = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut order = Vec::new();
        for name in names {
            let mut files = dependencies.lines().filter_map(|line| line.split_once(':'));
            if let Some((file, _)) = files.find(|(file, _)| module_name(file) == *name) {
                insertion_order(&dependencies, file, &mut order);
            }
        }
        Ok(order.into_iter().map(|file| self.modules.join(file)).collect())
    }
}

/// `kernel/drivers/block/virtio_blk.ko.xz` is `virtio_blk`.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

/// Adds to `order` first what `file` depends on, by `modules.dep` (`FILE: FILE…`, in no useful order), and then
/// itself. The kernel allows no cycles.
fn insertion_order(dependencies: &str, file: &str, order: &mut Vec<String>) {
    if order.iter().any(|earlier| earlier == file) {
        return;
    }
    let mut lines = dependencies.lines().filter_map(|line| line.split_once(':'));
    if let Some((_, needed)) = lines.find(|(name, _)| *name == file) {
        for needed in needed.split_whitespace() {
            insertion_order(dependencies, needed, order);
        }
    }
    order.push(file.to_owned());
}

/// The option `MEMCG_V1` came with 6.11 (`init/Kconfig`); before it, the memory controller always had its v1 half.
fn memory_v1(config: &str) -> bool {
    let has = |line: &str| config.lines().any(|candidate| candidate == line);
    has("CONFIG_MEMCG=y") && !has("# CONFIG_MEMCG_V1 is not set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_inserted_after_what_it_depends_on() {
        let dependencies = "a/virtio_blk.ko.xz: a/virtio.ko.xz a/virtio_ring.ko.xz\n\
                            a/virtio_ring.ko.xz: a/virtio.ko.xz\n\
                            a/virtio.ko.xz:\n";
        let mut order = Vec::new();
        insertion_order(dependencies, "a/virtio_blk.ko.xz", &mut order);
        assert_eq!(order, ["a/virtio.ko.xz", "a/virtio_ring.ko.xz", "a/virtio_blk.ko.xz"]);
    }

    #[test]
    fn a_modules_name_is_its_files_with_underscores() {
        assert_eq!(module_name("kernel/net/bridge/br-netfilter.ko.xz"), "br_netfilter");
        assert_eq!(module_name("kernel/drivers/block/virtio_blk.ko"), "virtio_blk");
    }

    #[test]
    fn kernels_that_can_leave_the_v1_memory_controller_out_say_so() {
        assert!(memory_v1("CONFIG_MEMCG=y\n"), "before 6.11 there was no choice");
        assert!(memory_v1("CONFIG_MEMCG=y\nCONFIG_MEMCG_V1=y\n"));
        assert!(!memory_v1("CONFIG_MEMCG=y\n# CONFIG_MEMCG_V1 is not set\n"));
        assert!(!memory_v1("# CONFIG_MEMCG is not set\n"));
    }

    #[test]
    fn every_kernels_label_reads_back() {
        for kernel in Kernel::ARM64 {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
        assert!("4.4".parse::<Kernel>().is_err());
    }
}
