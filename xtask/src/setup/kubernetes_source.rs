//! Kubernetes itself, built from Debian's source package: that of bookworm is the last which has the whole source. What is kept
//! is the programs; the source, the compiler and what it cached are removed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::apt::Suite;
use crate::{cache, tool};

/// The release that the source package holds, whatever its own version says.
const RELEASE: &str = "1.20.2";
/// Newer compilers refuse the vendored code.
const GO: [&str; 2] = ["golang-1.19-go", "golang-1.19-src"];
/// The programs of a node and of its control plane.
const PROGRAMS: [&str; 4] = ["kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// Where the programs look for their own version.
const VERSION_PACKAGES: [&str; 2] =
    ["k8s.io/kubernetes/vendor/k8s.io/component-base/version", "k8s.io/kubernetes/vendor/k8s.io/client-go/pkg/version"];

/// The folder with kubelet, kube-apiserver, kube-controller-manager and kube-scheduler, and `pause`, which holds a pod's
/// namespaces; all of them static.
pub(crate) fn kubernetes() -> Result<PathBuf> {
    cache::piece(&format!("kubernetes-{RELEASE}"), |folder| {
        let work = folder.join("work");
        let build = Build { go: work.join("usr/lib/go-1.19"), path: work.join("path"), work };
        build.fetch()?;
        build.pause(&folder.join("pause"))?;
        build.generate()?;
        build.programs(folder)?;
        fs::remove_dir_all(&build.work).with_context(|| format!("cannot remove {}", build.work.display()))
    })
}

struct Build {
    /// Everything that is removed afterwards.
    work: PathBuf,
    /// `GOROOT`.
    go: PathBuf,
    /// `GOPATH`.
    path: PathBuf,
}

impl Build {
    fn source(&self) -> PathBuf {
        self.path.join("src/k8s.io/kubernetes")
    }

    fn fetch(&self) -> Result<()> {
        let source = self.source();
        fs::create_dir_all(&source).with_context(|| format!("cannot create {}", source.display()))?;
        let suite = Suite::open_sources("bookworm")?;
        let archive = suite.original_source("kubernetes", &self.work)?;
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        ensure!(name.contains(RELEASE), "Debian's source package is not of Kubernetes {RELEASE}: {name}");
        let mut unpack = Command::new("tar");
        tool::output(unpack.arg("-xf").arg(&archive).arg("-C").arg(&source).arg("--strip-components=1"))?;
        Suite::open("bookworm")?.unpack(&GO, &self.work)
    }

    /// `go`, in the mode that knows no modules: everything is in the source's vendor folder, and nothing is fetched.
    fn go(&self) -> Command {
        let mut go = Command::new(self.go.join("bin/go"));
        go.current_dir(self.source()).env("GOROOT", &self.go).env("GOPATH", &self.path);
        go.env("GOCACHE", self.work.join("cache")).env("GOTMPDIR", &self.work);
        for (name, value) in [
            ("GO111MODULE", "off"),
            ("GOFLAGS", "-trimpath"),
            ("CGO_ENABLED", "0"),
            ("GOPROXY", "off"),
            ("GOTOOLCHAIN", "local"),
            ("GOENV", "off"),
            ("GOOS", "linux"),
            ("GOARCH", "amd64"),
        ] {
            go.env(name, value);
        }
        go
    }

    /// What the API server describes its types with, which no source package holds: it is generated from marked packages. Without
    /// it a server-side apply fails.
    fn generate(&self) -> Result<()> {
        let generator = self.work.join("openapi-gen");
        let package = "k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen";
        tool::output(self.go().args(["build", "-o"]).arg(&generator).arg(package))?;
        let source = self.source();
        let mut packages = Vec::new();
        for part in ["pkg", "staging/src"] {
            marked_packages(&source, Path::new(part), &mut packages)?;
        }
        ensure!(packages.len() > 50, "only {} packages of Kubernetes describe API types", packages.len());
        let mut generate = Command::new(generator);
        generate.current_dir(&source).env("GOROOT", &self.go).env("GOPATH", &self.path).env("GO111MODULE", "off");
        // It asks `go` where packages are.
        generate.env("PATH", prepend_path(&self.go.join("bin"))?).env("GOCACHE", self.work.join("cache"));
        generate.args([
            "-O",
            "zz_generated.openapi",
            "-h",
            "/dev/null",
            "-p",
            "k8s.io/kubernetes/pkg/generated/openapi",
        ]);
        generate.arg("-r").arg(self.work.join("violations")).args(["-i", &packages.join(",")]);
        tool::output(&mut generate)?;
        Ok(())
    }

    fn programs(&self, into: &Path) -> Result<()> {
        let (major, minor) = RELEASE.split_once('.').context("a release has two numbers")?;
        let minor = minor.split('.').next().unwrap_or(minor);
        let versions = VERSION_PACKAGES.map(|package| {
            format!("-X {package}.gitVersion=v{RELEASE} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
        });
        let mut go = self.go();
        go.args(["build", "-ldflags", &format!("-s -w {}", versions.join(" ")), "-o"]).arg(into);
        tool::output(go.args(PROGRAMS.map(|program| format!("k8s.io/kubernetes/cmd/{program}"))))?;
        Ok(())
    }

    /// The process that holds a pod's namespaces, with the C compiler that Rust's linking needs anyway.
    fn pause(&self, program: &Path) -> Result<()> {
        let source = self.source().join("build/pause/linux/pause.c");
        tool::output(Command::new("cc").args(["-Os", "-static", "-s", "-o"]).arg(program).arg(source))?;
        Ok(())
    }
}

/// The packages in `folder` of the source that are marked for the generator, as their import paths.
fn marked_packages(source: &Path, folder: &Path, packages: &mut Vec<String>) -> Result<()> {
    let mut marked = false;
    let path = source.join(folder);
    let mut entries = fs::read_dir(&path)
        .with_context(|| format!("cannot list {}", path.display()))?
        .collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            marked_packages(source, &folder.join(&*name), packages)?;
        } else if !marked && name.ends_with(".go") {
            let text = fs::read(entry.path())?;
            marked = text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"// +k8s:openapi-gen=true"));
        }
    }
    if marked {
        let folder = folder.to_string_lossy();
        let path = folder.strip_prefix("staging/src/").map_or(folder.to_string(), |path| format!("vendor/{path}"));
        packages.push(format!("k8s.io/kubernetes/{path}"));
    }
    Ok(())
}

/// `PATH` with a folder before the others.
fn prepend_path(folder: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_by_their_mark_and_named_as_the_vendor_folder_has_them() -> Result<()> {
        let source = tempfile::tempdir()?;
        let write = |path: &str, text: &str| {
            let path = source.path().join(path);
            fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
            fs::write(path, text).context("cannot write")
        };
        write("pkg/apis/a/doc.go", "// +k8s:openapi-gen=true\npackage a\n")?;
        write("pkg/apis/b/doc.go", "// It says \"// +k8s:openapi-gen=true\".\npackage b\n")?;
        write("staging/src/k8s.io/api/core/v1/doc.go", "// +k8s:openapi-gen=true\n")?;
        let mut packages = Vec::new();
        for part in ["pkg", "staging/src"] {
            marked_packages(source.path(), Path::new(part), &mut packages)?;
        }
        assert_eq!(packages, ["k8s.io/kubernetes/pkg/apis/a", "k8s.io/kubernetes/vendor/k8s.io/api/core/v1"]);
        Ok(())
    }
}
