//! What oomtrace takes of the node itself, and how it sees to it that it outlives what it watches.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Less likely to be killed than any pod, like the kubelet itself (`pkg/kubelet/qos/policy.go`), yet not immortal.
const OOM_SCORE_ADJ: &str = "-999";
/// Twice what it was seen to take (`memory.peak`): 24 MiB on 7.3, 20 MiB on 6.12, while the probes are loaded.
const NEEDED_BYTES: u64 = 48 << 20;

/// Makes oomtrace an unlikely victim of what it watches.
pub(crate) fn protect_from_oom_killer() {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ) {
        warn!("oom_score_adj stays as it is ({error}); oomtrace itself may be killed: needs CAP_SYS_RESOURCE");
    }
}

/// Lets oomtrace have as many files open as it may: the flight recorder has one for each cgroup, and 1024 is what systemd lets a unit
/// begin with.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        debug!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// What to say where oomtrace's own memory is limited to less than it needs. Within its own limit no `oom_score_adj` helps: the
/// kernel kills what is there.
pub(crate) fn too_little_memory() -> Option<String> {
    let (limit, file) = memory_limit()?;
    (limit < NEEDED_BYTES).then(|| {
        format!(
            "oomtrace's own memory is limited to {} MiB ({}), and it may take up to {} MiB: it may be killed for that; raise \
             `resources.limits.memory`, or MemoryMax= of its unit",
            limit >> 20,
            file.display(),
            NEEDED_BYTES >> 20
        )
    })
}

/// The lowest memory limit that this process sees above itself, bytes, and the file that has it.
pub(crate) fn memory_limit() -> Option<(u64, PathBuf)> {
    limit(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new("/sys/fs/cgroup"))
}

/// The lowest limit that this process sees above itself, and which file says so. `cgroups` is `/proc/self/cgroup`, cgroups(7).
///
/// In a container the folder of the path may not be there: with v1, what is mounted is the container's own cgroup, while the
/// path counts from the node's root. The limit is at the mount then.
fn limit(cgroups: &str, mount: &Path) -> Option<(u64, PathBuf)> {
    let paths = cgroups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            controllers if controllers.split(',').any(|controller| controller == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        Some((root, path.trim_start_matches('/'), file))
    });
    let files = paths.flat_map(|(root, path, file)| {
        Path::new(path).ancestors().map(|folder| root.join(folder).join(file)).collect::<Vec<_>>()
    });
    // `max` is no limit, and no number either.
    let limits = files.filter_map(|file| Some((fs::read_to_string(&file).ok()?.trim().parse().ok()?, file)));
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(files: &[(&str, &str)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            let file = mount.path().join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            fs::write(file, text).expect("written");
        }
        mount
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let mount = mounted(&[
            ("system.slice/memory.max", "33554432\n"),
            ("system.slice/oomtrace.service/memory.max", "max\n"),
            ("user.slice/memory.max", "4096\n"),
        ]);
        let (bytes, file) = limit("0::/system.slice/oomtrace.service\n", mount.path()).expect("a limit");
        assert_eq!((bytes, file), (32 << 20, mount.path().join("system.slice/memory.max")));
    }

    #[test]
    fn a_container_sees_its_own_limit_at_the_mount_with_either_version() {
        let v2 = mounted(&[("memory.max", "134217728\n")]);
        assert_eq!(limit("0::/\n", v2.path()).expect("a limit").0, 128 << 20);
        let v1 = mounted(&[("memory/memory.limit_in_bytes", "134217728\n")]);
        let cgroups = "4:memory:/kubepods/burstable/pod1/2\n1:name=systemd:/kubepods/burstable/pod1/2\n0::/\n";
        assert_eq!(limit(cgroups, v1.path()).expect("a limit").0, 128 << 20);
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_say() {
        let mount = mounted(&[("memory.max", "max\n")]);
        assert_eq!(limit("0::/\n", mount.path()), None);
        assert_eq!(limit("", mount.path()), None);
    }
}
