//! Debian packages without root and without touching the system: a private apt world per suite, with its own package
//! lists, its own (empty) record of what is installed, and Debian's keyring to verify every download.
//!
//! The mirror, proxy and credentials are the machine's own: apt reads its usual configuration first, and
//! then ours, which replaces only the sources, the preferences and the folders (`apt.conf(5)`: `-c` is read last).
//! A suite has a world of its own, so that one which leaves the mirror takes only its own packages with it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{arch::Arch, cache, tool};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "OOMTRACE_DEBIAN_MIRROR";

/// A Debian suite, its lists fresh from the mirror.
pub(super) struct Suite {
    name: &'static str,
    config: PathBuf,
}

impl Suite {
    /// Writes the suite's world and updates its lists. The caller holds a piece's lock, but other pieces use the same
    /// suite: hence a lock of its own, for apt fails at once where another apt has the lists locked.
    pub(super) fn open(name: &'static str) -> Result<Self> {
        Self::open_for(Arch::Amd64, name)
    }

    /// The same with the packages of another architecture.
    pub(super) fn open_for(arch: Arch, name: &'static str) -> Result<Self> {
        Self::open_world(arch, name, &arch.piece(name), ("deb", "Packages"))
    }

    /// The same for the suite's source packages, which are listed apart: few want them.
    pub(super) fn open_sources(name: &'static str) -> Result<Self> {
        Self::open_world(Arch::Amd64, name, &format!("{name}-sources"), ("deb-src", "Sources"))
    }

    fn open_world(arch: Arch, name: &'static str, world: &str, kind: (&str, &str)) -> Result<Self> {
        ensure!(
            Path::new(KEYRING).exists(),
            "no {KEYRING} to verify Debian's packages with: install the package `debian-archive-keyring`"
        );
        let world = cache::root()?.join("apt").join(world);
        let _lock = cache::lock(&world, name)?;
        for folder in ["lists/partial", "archives/partial", "sources", "preferences"] {
            let folder = world.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let write = |file: &str, text: &str| {
            let path = world.join(file);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("status", "")?;
        write("sources/debian.sources", &sources(&mirror()?, name, arch, kind))?;
        write("apt.conf", &config(&world, arch))?;
        let suite = Self { name, config: world.join("apt.conf") };
        tool::output(suite.apt("apt-get").arg("update")).with_context(|| {
            format!("cannot read Debian's suite {name}; if this mirror does not have it, set {MIRROR} to one that has")
        })?;
        Ok(suite)
    }

    /// Downloads the newest `package` and all that it needs, as if nothing were installed, and unpacks it in `into`.
    pub(super) fn unpack_with_dependencies(&self, package: &str, into: &Path) -> Result<()> {
        self.download_with_dependencies(&[package], into)?.unpack(into)
    }

    /// Downloads the newest of these packages and all that they need, as if nothing were installed, into a folder in `beside`.
    pub(super) fn download_with_dependencies(&self, packages: &[&str], beside: &Path) -> Result<Debs> {
        let debs = Debs::new(beside)?;
        let archives = format!("Dir::Cache::archives={}", debs.0.display());
        let mut install = self.apt("apt-get");
        tool::output(install.args(["-o", &archives, "install", "--download-only", "--yes"]).args(packages))?;
        Ok(debs)
    }

    /// Downloads the original source of a source package to `into`, and gives the archive's path.
    pub(super) fn original_source(&self, package: &str, into: &Path) -> Result<PathBuf> {
        tool::output(self.apt("apt-get").args(["source", "--download-only", package]).current_dir(into))?;
        let mut files = fs::read_dir(into)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?.into_iter();
        let original = files.find(|path| path.to_string_lossy().contains(".orig.tar."));
        original.with_context(|| format!("Debian's source package {package} has no original archive"))
    }

    /// Downloads just these packages (`name` or `name=version`), and unpacks them in `into`.
    pub(super) fn unpack<S: AsRef<str>>(&self, packages: &[S], into: &Path) -> Result<()> {
        let debs = Debs::new(into)?;
        let packages = packages.iter().map(AsRef::as_ref);
        tool::output(self.apt("apt-get").arg("download").args(packages).current_dir(&debs.0))?;
        debs.unpack(into)
    }

    /// `package` and those of its dependencies, at any depth, whose names start with `prefix`.
    pub(super) fn dependencies(&self, package: &str, prefix: &str) -> Result<Vec<String>> {
        let listing = tool::output(self.apt("apt-cache").args(["depends", "--recurse", "--important", package]))?;
        let packages = listing.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned);
        Ok(packages.collect())
    }

    /// The version of `package` made from release `upstream` of the original.
    pub(super) fn version_of(&self, package: &str, upstream: &str) -> Result<String> {
        let listing = tool::output(self.apt("apt-cache").args(["madison", package]))?;
        let versions = || listing.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
        versions().find(|version| is_release(version, upstream)).map(str::to_owned).with_context(|| {
            let offered = versions().collect::<Vec<_>>().join(", ");
            format!("{package} {upstream} is not in Debian's suite {} (it has: {offered})", self.name)
        })
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-q").arg("-c").arg(&self.config).env("LC_ALL", "C.UTF-8");
        command
    }
}

/// Downloaded packages, beside what they will be unpacked to; removed once they are.
pub(super) struct Debs(PathBuf);

impl Debs {
    fn new(into: &Path) -> Result<Self> {
        let folder = into.join(".debs");
        let partial = folder.join("partial");
        fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        Ok(Self(folder))
    }

    /// The packages, sorted by name.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>> {
        let Self(folder) = self;
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        files.sort();
        Ok(files)
    }

    /// Unpacks them, and deletes them.
    pub(super) fn unpack(self, into: &Path) -> Result<()> {
        for path in self.files()? {
            tool::output(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(into))?;
        }
        self.remove()
    }

    /// Deletes them.
    pub(super) fn remove(self) -> Result<()> {
        let Self(folder) = self;
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
    }
}

/// Our part of apt's configuration.
fn config(world: &Path, arch: Arch) -> String {
    let world = world.display();
    format!(
        r#"Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{world}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{world}/preferences";
Dir::State "{world}";
Dir::State::lists "{world}/lists";
Dir::State::status "{world}/status";
Dir::Cache "{world}";
Dir::Cache::archives "{world}/archives";
Acquire::Languages "none";
APT::Architecture "{arch}";
APT::Default-Release "";
APT::Install-Recommends "false";
// As root, apt would download as a user of its own, who may not enter root's home, where the cache is by default.
APT::Sandbox::User "root";
// Without this, a suite that cannot be fetched is a mere warning.
APT::Update::Error-Mode "any";
// Hooks of this machine are about the system's packages, and these are not.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"#
    )
}

/// The world's one source.
fn sources(mirror: &str, suite: &str, arch: Arch, (types, targets): (&str, &str)) -> String {
    format!(
        "Types: {types}\nURIs: {mirror}\nSuites: {suite}\nComponents: main\nArchitectures: {arch}\nTargets: {targets}\n\
         Signed-By: {KEYRING}\n"
    )
}

/// Where this machine gets Debian from.
fn mirror() -> Result<String> {
    if let Some(mirror) = env::var(MIRROR).ok().filter(|mirror| !mirror.is_empty()) {
        return Ok(mirror);
    }
    let targets = tool::output(Command::new("apt-get").args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI)"]))?;
    if let Some(mirror) = main_archive(&targets) {
        return Ok(mirror.to_owned());
    }
    // There are no targets, and so no origins, before the system's first `apt-get update`.
    let uris = tool::output(Command::new("apt-get").args(["update", "--print-uris"]))?;
    let Some(mirror) = archive_by_name(&uris) else {
        bail!(
            "this machine's apt has no source for Debian's main archive: set {MIRROR} to the URI of a Debian mirror, \
             the one whose folder `dists` holds bullseye, bookworm and trixie"
        );
    };
    Ok(mirror.to_owned())
}

/// From lines `ORIGIN URI`: Debian's archive, but not its separate one for security updates or debug symbols.
fn main_archive(targets: &str) -> Option<&str> {
    let mut debian = targets.lines().filter_map(|line| line.strip_prefix("Debian "));
    debian.find(|uri| !uri.contains("-security") && !uri.contains("-debug") && !uri.starts_with("cdrom:"))
}

/// From lines `'URI/dists/SUITE/InRelease' …`: the first archive that is called `debian`.
fn archive_by_name(uris: &str) -> Option<&str> {
    let mut archives = uris.lines().filter_map(|line| line.strip_prefix('\'')?.split_once("/dists/"));
    archives.find_map(|(archive, _)| archive.ends_with("/debian").then_some(archive))
}

/// Whether a Debian version is a packaging of `upstream`: `[epoch:]upstream[+repack]-revision`.
fn is_release(version: &str, upstream: &str) -> bool {
    let version = version.split_once(':').map_or(version, |(_epoch, version)| version);
    version.strip_prefix(upstream).is_some_and(|rest| rest.starts_with(['+', '-', '~']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_debians_main_archive_and_not_the_security_one() {
        let targets = "Debian http://mirror.example/debian-security/\n\
                       Docker https://docker.example/linux/debian/\n\
                       Debian http://mirror.example/debian/\n";
        assert_eq!(main_archive(targets), Some("http://mirror.example/debian/"));
    }

    #[test]
    fn a_machine_that_is_not_debian_has_no_mirror() {
        assert_eq!(main_archive("Ubuntu http://mirror.example/ubuntu/\n"), None);
        assert_eq!(archive_by_name("'http://mirror.example/ubuntu/dists/noble/InRelease' x 0 \n"), None);
    }

    #[test]
    fn before_the_first_update_the_mirror_is_known_by_its_name() {
        let uris = "'http://mirror.example/debian-security/dists/bookworm-security/InRelease' x 0 \n\
                    'http://mirror.example/debian/dists/bookworm/InRelease' y 0 \n";
        assert_eq!(archive_by_name(uris), Some("http://mirror.example/debian"));
    }

    #[test]
    fn a_repackaged_version_is_still_of_its_release() {
        assert!(is_release("1.95.0+dfsg1-2~bpo13+1", "1.95.0"));
        assert!(is_release("1:1.95.0-1", "1.95.0"));
        assert!(!is_release("1.95.01-1", "1.95.0"));
        assert!(!is_release("1.96.0+dfsg1-1", "1.95.0"));
    }
}
