//! The kubelet's process and its command line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::event::programs::KUBELETS;

/// Where a kubelet's configuration is, beside what `--config` says.
pub const CONFIGS: [&str; 4] = [
    "/var/lib/kubelet/config.yaml",
    "/etc/kubernetes/kubelet/kubelet-config.json",
    "/home/kubernetes/kubelet-config.yaml",
    "/etc/rancher/k3s/config.yaml",
];

/// A process that runs a kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletProcess {
    /// Its folder below `/proc`.
    pub folder: PathBuf,
    /// Its arguments, the program first.
    pub arguments: Vec<String>,
}

impl KubeletProcess {
    /// The first one below `proc`.
    #[must_use]
    pub fn find(proc: &Path) -> Option<Self> {
        let entries = fs::read_dir(proc).ok()?.flatten().map(|entry| entry.path());
        let is_process = |path: &PathBuf| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        };
        entries.filter(is_process).find_map(|folder| {
            let line = fs::read(folder.join("cmdline")).ok()?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let arguments: Vec<String> =
                text.split(['\0', '\n']).map(str::to_owned).filter(|argument| !argument.is_empty()).collect();
            let found = Self { folder, arguments };
            // OpenShift's program was all of Kubernetes' at once.
            let is_kubelet = found.program() != "hyperkube" || found.arguments.get(1).is_some_and(|of| of == "kubelet");
            (KUBELETS.has_process(found.program()) && is_kubelet).then_some(found)
        })
    }

    /// The program's name: `kubelet`, `k3s`.
    #[must_use]
    pub fn program(&self) -> &str {
        // `k3s server` writes its arguments as one.
        let first = self.arguments.first().map(String::as_str).unwrap_or_default();
        first.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.folder.file_name()?.to_str()?.parse().ok()
    }

    /// The value of an option: `--config=FILE`, `--config FILE`.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix(name) {
                Some("") => return arguments.next().map(String::as_str),
                Some(rest) if rest.starts_with('=') => return Some(&rest[1..]),
                _ => {}
            }
        }
        None
    }
}

/// The node's `/proc`, and whether it is below the root folder where it was looked for; else this system's own.
#[must_use]
pub fn proc(host: &super::names::Host) -> (PathBuf, bool) {
    let of_host = host.path("/proc");
    let there = of_host.join("stat").exists() || of_host.join("meminfo").exists();
    if there || of_host == Path::new("/proc") { (of_host, true) } else { (PathBuf::from("/proc"), false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_found_in_both_of_its_forms() {
        let arguments = ["/usr/bin/kubelet", "--config", "/a", "--config-dir=/b", "--v=2"].map(str::to_owned).to_vec();
        let process = KubeletProcess { folder: PathBuf::from("/proc/812"), arguments };
        assert_eq!((process.option("--config"), process.option("--config-dir")), (Some("/a"), Some("/b")));
        assert_eq!((process.option("--kube-reserved"), process.pid()), (None, Some(812)));
        assert_eq!(process.program(), "kubelet");
    }

    #[test]
    fn k3s_writes_its_arguments_as_one() {
        let process =
            KubeletProcess { folder: PathBuf::new(), arguments: vec!["/usr/local/bin/k3s server".to_owned()] };
        assert_eq!((process.program(), process.pid()), ("k3s", None));
    }
}
