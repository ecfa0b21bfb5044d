//! What memory looks like: of a cgroup, on either version of the hierarchy, and of the node.
//!
//! Whatever a kernel does not have, and all of a cgroup that has gone, is `None`. An error is a file that is there and
//! cannot be read, or does not say what it should.

pub(crate) mod files;

use std::path::Path;

use self::files::{FlatKeyed, MemInfo, Psi};
use super::{
    cgroup_path::CgroupIdentity,
    hierarchy::{Hierarchy, ReadError, read},
};
use crate::event::{Cgroup, Level, Pressure, Stall};

/// Why memory cannot be reported.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file does not say what it should.
    #[error("{file} of {cgroup}: {line:?} is not understood")]
    Malformed {
        /// The file.
        file: String,
        /// The cgroup, or `the node`.
        cgroup: String,
        /// What it says.
        line: String,
    },
}

/// A cgroup's memory, by its path from the hierarchy's root. `None` where the cgroup has gone.
///
/// # Errors
///
/// Fails where one of its files cannot be read.
pub fn of_cgroup(hierarchy: &Hierarchy, path: &str) -> Result<Option<Pressure>, MemoryError> {
    let Some(id) = hierarchy.id(path) else { return Ok(None) };
    let identity = CgroupIdentity::parse(path);
    let files = Files { hierarchy, path };
    let memory = match hierarchy.version() {
        1 => files.v1()?,
        _ => files.v2()?,
    };
    Ok(Some(Pressure {
        pod: identity.pod(),
        container: identity.container(),
        level: Some(identity.level),
        cgroup: Some(Cgroup { path: Some(path.to_owned()), id: Some(id), unit: identity.unit }),
        ..memory
    }))
}

/// The node's memory, and the working set from which the kubelet takes what is available (`memory.available` is the
/// capacity less it): the root cgroup's `anon` and `file` (cgroup v2; runc's `rootStatsFromMeminfo`, in kubelets from about 1.28
/// on; those before count `MemTotal` less `MemFree`) or its usage (v1), less its inactive file-backed memory.
///
/// # Errors
///
/// Fails where `/proc/meminfo` cannot be read.
pub fn of_node(hierarchy: Option<&Hierarchy>) -> Result<Pressure, MemoryError> {
    let meminfo = read(Path::new("/proc/meminfo"))?.map(|text| parse::<MemInfo>(&text, "/proc/meminfo", "the node"));
    let meminfo = meminfo.transpose()?.unwrap_or_default();
    let psi = read(Path::new("/proc/pressure/memory"))?;
    let stall = psi.map(|text| parse::<Psi>(&text, "/proc/pressure/memory", "the node")).transpose()?;
    let root = match hierarchy {
        Some(hierarchy) => Files { hierarchy, path: "/" }.stat()?,
        None => FlatKeyed::default(),
    };
    let v1 = hierarchy.is_some_and(|hierarchy| hierarchy.version() == 1);
    let usage = match hierarchy {
        Some(hierarchy) if v1 => Files { hierarchy, path: "/" }.number("memory.usage_in_bytes")?,
        _ => root.get("anon").zip(root.get("file")).map(|(anon, file)| anon + file),
    };
    let inactive_file_bytes = root.get(if v1 { "total_inactive_file" } else { "inactive_file" });
    Ok(Pressure {
        level: Some(Level::Node),
        usage_bytes: meminfo.less("MemTotal", "MemAvailable"),
        limit_bytes: meminfo.get("MemTotal"),
        working_set_bytes: working_set(usage, inactive_file_bytes),
        anon_bytes: meminfo.get("AnonPages"),
        file_bytes: meminfo.get("Cached"),
        inactive_file_bytes: inactive_file_bytes.or_else(|| meminfo.get("Inactive(file)")),
        shmem_bytes: meminfo.get("Shmem"),
        slab_bytes: meminfo.get("Slab"),
        kernel_stack_bytes: meminfo.get("KernelStack"),
        page_tables_bytes: meminfo.get("PageTables"),
        zswap_bytes: meminfo.get("Zswap"),
        swap_bytes: meminfo.less("SwapTotal", "SwapFree"),
        available_bytes: meminfo.get("MemAvailable"),
        stall: stall.map(|Psi(stall)| stall),
        ..Pressure::default()
    })
}

/// As cAdvisor reckons it: `container/libcontainer/handler.go`, `setMemoryStats`.
fn working_set(usage_bytes: Option<u64>, inactive_file_bytes: Option<u64>) -> Option<u64> {
    Some(usage_bytes?.saturating_sub(inactive_file_bytes?))
}

/// The files of a cgroup.
struct Files<'a> {
    hierarchy: &'a Hierarchy,
    path: &'a str,
}

impl Files<'_> {
    fn v2(&self) -> Result<Pressure, MemoryError> {
        let stat = self.stat()?;
        let events: FlatKeyed = self.parsed("memory.events")?.unwrap_or_default();
        let usage_bytes = self.number("memory.current")?;
        Ok(Pressure {
            usage_bytes,
            peak_bytes: self.number("memory.peak")?,
            limit_bytes: self.number("memory.max")?,
            working_set_bytes: working_set(usage_bytes, stat.get("inactive_file")),
            anon_bytes: stat.get("anon"),
            file_bytes: stat.get("file"),
            inactive_file_bytes: stat.get("inactive_file"),
            shmem_bytes: stat.get("shmem"),
            slab_bytes: stat.get("slab"),
            kernel_stack_bytes: stat.get("kernel_stack"),
            page_tables_bytes: stat.get("pagetables"),
            sock_bytes: stat.get("sock"),
            zswap_bytes: stat.get("zswap"),
            swap_bytes: self.number("memory.swap.current")?,
            stall: self.stall()?,
            events_max: events.get("max"),
            events_oom: events.get("oom"),
            events_oom_kill: events.get("oom_kill"),
            events_oom_group_kill: events.get("oom_group_kill"),
            ..Pressure::default()
        })
    }

    /// Slab is `memory.kmem.slabinfo`'s on v1, which newer kernels have not: `None`.
    fn v1(&self) -> Result<Pressure, MemoryError> {
        let stat = self.stat()?;
        let control: FlatKeyed = self.parsed("memory.oom_control")?.unwrap_or_default();
        let usage_bytes = self.number("memory.usage_in_bytes")?;
        Ok(Pressure {
            usage_bytes,
            peak_bytes: self.number("memory.max_usage_in_bytes")?,
            limit_bytes: self.number("memory.limit_in_bytes")?.filter(|limit| *limit < NO_LIMIT_V1),
            working_set_bytes: working_set(usage_bytes, stat.get("total_inactive_file")),
            anon_bytes: stat.get("total_rss"),
            file_bytes: stat.get("total_cache"),
            inactive_file_bytes: stat.get("total_inactive_file"),
            shmem_bytes: stat.get("total_shmem"),
            swap_bytes: stat.get("total_swap"),
            events_max: self.number("memory.failcnt")?,
            events_oom_kill: control.get("oom_kill"),
            ..Pressure::default()
        })
    }

    fn stat(&self) -> Result<FlatKeyed, MemoryError> {
        Ok(self.parsed("memory.stat")?.unwrap_or_default())
    }

    fn stall(&self) -> Result<Option<Stall>, MemoryError> {
        Ok(self.parsed::<Psi>("memory.pressure")?.map(|Psi(stall)| stall))
    }

    /// A number; `None` for `max`, which is no limit.
    fn number(&self, file: &str) -> Result<Option<u64>, MemoryError> {
        let Some(text) = self.hierarchy.read(self.path, file)? else { return Ok(None) };
        match text.trim() {
            "max" => Ok(None),
            number => Ok(Some(parse(number, file, self.path)?)),
        }
    }

    fn parsed<Parsed: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        file: &str,
    ) -> Result<Option<Parsed>, MemoryError> {
        let Some(text) = self.hierarchy.read(self.path, file)? else { return Ok(None) };
        parse(&text, file, self.path).map(Some)
    }
}

/// `PAGE_COUNTER_MAX` pages in bytes, for pages up to 64 KiB: no limit on cgroup v1.
const NO_LIMIT_V1: u64 = (i64::MAX as u64) / 65536 * 65536;

fn parse<Parsed: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
    file: &str,
    cgroup: &str,
) -> Result<Parsed, MemoryError> {
    text.parse().map_err(|error: Parsed::Err| MemoryError::Malformed {
        file: file.to_owned(),
        cgroup: cgroup.to_owned(),
        line: format!("{text:.120} ({error})"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn made(version: u8, files: &[(&str, &str)]) -> (tempfile::TempDir, Hierarchy) {
        let mount = tempfile::tempdir().expect("a folder");
        let root = if version == 1 { mount.path().join("memory") } else { mount.path().to_owned() };
        fs::create_dir_all(root.join("kubepods/pod01234567-89ab-cdef-0123-456789abcdef")).expect("a folder");
        let proof = if version == 1 { "memory.limit_in_bytes" } else { "cgroup.controllers" };
        fs::write(root.join(proof), "cpu memory\n").expect("a file");
        for (file, text) in files {
            fs::write(root.join(file), text).expect("a file");
        }
        let hierarchy = Hierarchy::find(mount.path()).expect("a hierarchy");
        assert_eq!(hierarchy.version(), version);
        (mount, hierarchy)
    }

    const POD: &str = "/kubepods/pod01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn a_cgroup_of_version_2_is_reported_with_its_working_set_and_stalls() {
        let pod = &POD[1..];
        let (_mount, hierarchy) = made(
            2,
            &[
                (&format!("{pod}/memory.current"), "20971520\n"),
                (&format!("{pod}/memory.peak"), "31457280\n"),
                (&format!("{pod}/memory.max"), "max\n"),
                (&format!("{pod}/memory.stat"), "anon 10485760\nfile 8388608\ninactive_file 4194304\nslab 5\n"),
                (&format!("{pod}/memory.events"), "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n"),
                (
                    &format!("{pod}/memory.pressure"),
                    "some avg10=1.50 avg60=0.20 avg300=0.00 total=123\nfull avg10=0.75 avg60=0.10 avg300=0.00 total=45\n",
                ),
            ],
        );
        let memory = of_cgroup(&hierarchy, POD).expect("files").expect("a cgroup");
        assert_eq!((memory.usage_bytes, memory.limit_bytes), (Some(20 << 20), None));
        assert_eq!((memory.working_set_bytes, memory.peak_bytes), (Some(16 << 20), Some(30 << 20)));
        assert_eq!((memory.anon_bytes, memory.shmem_bytes, memory.slab_bytes), (Some(10 << 20), None, Some(5)));
        assert_eq!((memory.events_max, memory.events_oom_kill), (Some(12), Some(2)));
        assert_eq!(memory.swap_bytes, None);
        let stall = memory.stall.expect("PSI");
        assert_eq!((stall.some_total_us, stall.full_total_us), (123, 45));
        assert!((stall.some_avg10 - 1.5).abs() < 1e-9 && (stall.full_avg60 - 0.1).abs() < 1e-9);
        assert_eq!(memory.level, Some(Level::Pod));
        assert!(memory.pod.is_some() && memory.container.is_none());
    }

    #[test]
    fn a_cgroup_of_version_1_is_reported_with_what_it_has() {
        let pod = &POD[1..];
        let (_mount, hierarchy) = made(
            1,
            &[
                (&format!("{pod}/memory.usage_in_bytes"), "20971520\n"),
                (&format!("{pod}/memory.limit_in_bytes"), "9223372036854771712\n"),
                (&format!("{pod}/memory.failcnt"), "7\n"),
                (
                    &format!("{pod}/memory.stat"),
                    "cache 1\ntotal_cache 8388608\ntotal_rss 9\ntotal_inactive_file 4194304\n",
                ),
                (&format!("{pod}/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
            ],
        );
        let memory = of_cgroup(&hierarchy, POD).expect("files").expect("a cgroup");
        assert_eq!((memory.usage_bytes, memory.limit_bytes), (Some(20 << 20), None));
        assert_eq!((memory.working_set_bytes, memory.anon_bytes), (Some(16 << 20), Some(9)));
        assert_eq!((memory.events_max, memory.events_oom_kill), (Some(7), Some(4)));
        assert!(memory.stall.is_none());
    }

    #[test]
    fn a_cgroup_that_has_gone_is_nothing_and_no_error() {
        let (_mount, hierarchy) = made(2, &[]);
        assert!(of_cgroup(&hierarchy, "/kubepods/gone").expect("no error").is_none());
        let bare = of_cgroup(&hierarchy, POD).expect("no error").expect("a cgroup");
        assert!(bare.usage_bytes.is_none() && bare.working_set_bytes.is_none());
    }

    #[test]
    fn a_file_that_says_something_else_is_an_error_that_names_it() {
        let (_mount, hierarchy) = made(2, &[(&format!("{}/memory.current", &POD[1..]), "lots\n")]);
        let error = of_cgroup(&hierarchy, POD).expect_err("an error").to_string();
        assert!(error.contains("memory.current") && error.contains(POD) && error.contains("lots"), "{error}");
    }

    #[test]
    fn this_machine_has_memory_and_some_of_it_is_used() {
        let memory = of_node(None).expect("this machine");
        assert!(memory.usage_bytes > Some(0) && memory.usage_bytes < memory.limit_bytes);
        assert!(memory.available_bytes.is_some() && memory.anon_bytes.is_some());
    }
}
