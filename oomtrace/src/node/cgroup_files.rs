//! A cgroup's memory files, read together, on either version of the hierarchy.

use std::path::Path;

use serde::Serialize;

use super::{
    hierarchy::{Hierarchy, read},
    memory::files::{FlatKeyed, MemInfo},
};

/// A limit of this size and above is none: cgroup v1 has a number near the largest there is.
const NO_LIMIT: u64 = 1 << 62;

/// What a cgroup's files say of its memory, in bytes. What a kernel does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CgroupMemory {
    /// Its path from the hierarchy's root.
    pub path: String,
    /// `memory.current`; `memory.usage_in_bytes`.
    pub usage_bytes: Option<u64>,
    /// `memory.max`; `memory.limit_in_bytes`. `None` also where there is no limit.
    pub limit_bytes: Option<u64>,
    /// `memory.high`.
    pub high_bytes: Option<u64>,
    /// `memory.low`.
    pub low_bytes: Option<u64>,
    /// `memory.min`.
    pub min_bytes: Option<u64>,
    /// `memory.peak`; `memory.max_usage_in_bytes`.
    pub peak_bytes: Option<u64>,
    /// `memory.swap.max`; `None` also where there is no limit.
    pub swap_limit_bytes: Option<u64>,
    /// Whether `memory.swap.max` is there and says `max`.
    pub swap_unlimited: bool,
    /// `memory.swap.current`; `total_swap`.
    pub swap_bytes: Option<u64>,
    /// Whether `memory.oom.group` is set: all processes in it are killed together.
    pub oom_group: bool,
    /// The lines of `memory.stat`.
    pub stat: Stat,
}

/// `memory.stat`, in bytes: of a cgroup and all below it (on v1 the `total_` lines).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stat {
    /// `anon`; `total_rss`.
    pub anon_bytes: Option<u64>,
    /// `file`, which has shared memory and tmpfs in it; `total_cache`.
    pub file_bytes: Option<u64>,
    /// `file_mapped`; `total_mapped_file`.
    pub file_mapped_bytes: Option<u64>,
    /// `shmem`; `total_shmem`.
    pub shmem_bytes: Option<u64>,
    /// `active_file`; `total_active_file`.
    pub active_file_bytes: Option<u64>,
    /// `inactive_file`; `total_inactive_file`.
    pub inactive_file_bytes: Option<u64>,
    /// `unevictable`; `total_unevictable`.
    pub unevictable_bytes: Option<u64>,
    /// `kernel` (5.18 and later); on v1 `memory.kmem.usage_in_bytes`.
    pub kernel_bytes: Option<u64>,
    /// `kernel_stack`.
    pub kernel_stack_bytes: Option<u64>,
    /// `pagetables`.
    pub page_tables_bytes: Option<u64>,
    /// `sec_pagetables`.
    pub sec_page_tables_bytes: Option<u64>,
    /// `percpu`.
    pub percpu_bytes: Option<u64>,
    /// `vmalloc`.
    pub vmalloc_bytes: Option<u64>,
    /// `slab`.
    pub slab_bytes: Option<u64>,
    /// `slab_reclaimable`.
    pub slab_reclaimable_bytes: Option<u64>,
    /// `sock`.
    pub sock_bytes: Option<u64>,
    /// `zswap`.
    pub zswap_bytes: Option<u64>,
    /// `swapcached`.
    pub swap_cached_bytes: Option<u64>,
}

impl Stat {
    /// Reads the file of a version of the hierarchy.
    ///
    /// # Errors
    ///
    /// Fails where a line is no number.
    pub fn parse(text: &str, version: u8) -> Result<Self, String> {
        let stat: FlatKeyed = text.parse().map_err(|error| format!("memory.stat: {error}"))?;
        let of = |v2: &str, v1: &str| if version == 1 { stat.get(v1) } else { stat.get(v2) };
        let only = |v2: &str| if version == 1 { None } else { stat.get(v2) };
        Ok(Self {
            anon_bytes: of("anon", "total_rss"),
            file_bytes: of("file", "total_cache"),
            file_mapped_bytes: of("file_mapped", "total_mapped_file"),
            shmem_bytes: of("shmem", "total_shmem"),
            active_file_bytes: of("active_file", "total_active_file"),
            inactive_file_bytes: of("inactive_file", "total_inactive_file"),
            unevictable_bytes: of("unevictable", "total_unevictable"),
            kernel_bytes: only("kernel"),
            kernel_stack_bytes: only("kernel_stack"),
            page_tables_bytes: only("pagetables"),
            sec_page_tables_bytes: only("sec_pagetables"),
            percpu_bytes: only("percpu"),
            vmalloc_bytes: only("vmalloc"),
            slab_bytes: only("slab"),
            slab_reclaimable_bytes: only("slab_reclaimable"),
            sock_bytes: only("sock"),
            zswap_bytes: only("zswap"),
            swap_cached_bytes: only("swapcached"),
        })
    }
}

impl CgroupMemory {
    /// Reads a cgroup. What cannot be read, and why, is added to `trouble`; `None` where the cgroup is not there.
    #[must_use]
    pub fn read(hierarchy: &Hierarchy, path: &str, trouble: &mut Vec<String>) -> Option<Self> {
        let folder = hierarchy.folder(path)?;
        if !folder.is_dir() {
            return None;
        }
        let mut files = Files { hierarchy, path, trouble };
        let mut read = if hierarchy.version() == 1 { files.v1() } else { files.v2() };
        // One that went meanwhile has lost its files.
        if !folder.is_dir() {
            trouble.push(format!("the cgroup {path} went while it was read"));
        }
        path.clone_into(&mut read.path);
        Some(read)
    }

    /// The working set, as cAdvisor and the kubelet compute it: use less inactive memory of files (`setMemoryStats`,
    /// `container/libcontainer/handler.go`).
    #[must_use]
    pub fn working_set_bytes(&self) -> Option<u64> {
        Some(self.usage_bytes?.saturating_sub(self.stat.inactive_file_bytes?))
    }

    /// The kubelet's use of the node, for the root: on v2 it has no `memory.current`, and is what is anonymous and what is of
    /// files (`rootStatsFromMeminfo`, `fs2/memory.go` of runc 1.1.9 and later: kubelets since mid-2023).
    #[must_use]
    pub fn of_root(mut self) -> Self {
        if self.usage_bytes.is_none() {
            self.usage_bytes =
                self.stat.anon_bytes.zip(self.stat.file_bytes).map(|(anon, file)| anon.saturating_add(file));
        }
        self
    }
}

struct Files<'a> {
    hierarchy: &'a Hierarchy,
    path: &'a str,
    trouble: &'a mut Vec<String>,
}

impl Files<'_> {
    fn v2(&mut self) -> CgroupMemory {
        let swap = self.text("memory.swap.max");
        CgroupMemory {
            usage_bytes: self.number("memory.current"),
            limit_bytes: self.number("memory.max"),
            high_bytes: self.number("memory.high"),
            low_bytes: self.number("memory.low"),
            min_bytes: self.number("memory.min"),
            peak_bytes: self.number("memory.peak"),
            swap_limit_bytes: self.number("memory.swap.max"),
            swap_unlimited: swap.is_some_and(|text| text.trim() == "max"),
            swap_bytes: self.number("memory.swap.current"),
            oom_group: self.number("memory.oom.group") == Some(1),
            stat: self.stat(),
            path: String::new(),
        }
    }

    fn v1(&mut self) -> CgroupMemory {
        let mut stat = self.stat();
        stat.kernel_bytes = self.number("memory.kmem.usage_in_bytes");
        CgroupMemory {
            usage_bytes: self.number("memory.usage_in_bytes"),
            limit_bytes: self.number("memory.limit_in_bytes"),
            peak_bytes: self.number("memory.max_usage_in_bytes"),
            stat,
            ..CgroupMemory::default()
        }
    }

    fn stat(&mut self) -> Stat {
        let Some(text) = self.text("memory.stat") else { return Stat::default() };
        Stat::parse(&text, self.hierarchy.version()).unwrap_or_else(|error| {
            self.trouble.push(format!("{} of {}", error, self.path));
            Stat::default()
        })
    }

    fn text(&mut self, file: &str) -> Option<String> {
        self.hierarchy.read(self.path, file).unwrap_or_else(|error| {
            self.trouble.push(error.to_string());
            None
        })
    }

    /// A number of bytes; `None` for no limit.
    fn number(&mut self, file: &str) -> Option<u64> {
        let text = self.text(file)?;
        let text = text.trim();
        if text == "max" {
            return None;
        }
        let number = text.parse();
        if number.is_err() {
            self.trouble.push(format!("{file} of {}: {text:?} is no number", self.path));
        }
        number.ok().filter(|number| *number < NO_LIMIT)
    }
}

/// The node's memory by `/proc/meminfo`, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is the line of its name; see proc_meminfo(5)")]
pub struct NodeMemory {
    pub total_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
    pub available_bytes: Option<u64>,
    pub buffers_bytes: Option<u64>,
    pub cached_bytes: Option<u64>,
    pub swap_cached_bytes: Option<u64>,
    pub anon_bytes: Option<u64>,
    pub shmem_bytes: Option<u64>,
    pub slab_bytes: Option<u64>,
    pub slab_reclaimable_bytes: Option<u64>,
    pub kernel_stack_bytes: Option<u64>,
    pub page_tables_bytes: Option<u64>,
    pub sec_page_tables_bytes: Option<u64>,
    pub percpu_bytes: Option<u64>,
    pub hugetlb_bytes: Option<u64>,
    pub swap_total_bytes: Option<u64>,
    pub swap_free_bytes: Option<u64>,
    pub commit_limit_bytes: Option<u64>,
    pub committed_bytes: Option<u64>,
}

impl NodeMemory {
    /// Reads `/proc/meminfo` of a `/proc`.
    ///
    /// # Errors
    ///
    /// Fails where it is not there, or is something else.
    pub fn read(proc: &Path) -> Result<Self, String> {
        let path = proc.join("meminfo");
        let text = read(&path).map_err(|error| error.to_string())?;
        let text = text.ok_or_else(|| format!("{} is not there", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads its text.
    ///
    /// # Errors
    ///
    /// Fails where a size is no number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let meminfo: MemInfo = text.parse().map_err(|error| format!("{error}"))?;
        let get = |name| meminfo.get(name);
        Ok(Self {
            total_bytes: get("MemTotal"),
            free_bytes: get("MemFree"),
            available_bytes: get("MemAvailable"),
            buffers_bytes: get("Buffers"),
            cached_bytes: get("Cached"),
            swap_cached_bytes: get("SwapCached"),
            anon_bytes: get("AnonPages"),
            shmem_bytes: get("Shmem"),
            slab_bytes: get("Slab"),
            slab_reclaimable_bytes: get("SReclaimable"),
            kernel_stack_bytes: get("KernelStack"),
            page_tables_bytes: get("PageTables"),
            sec_page_tables_bytes: get("SecPageTables"),
            percpu_bytes: get("Percpu"),
            hugetlb_bytes: get("Hugetlb"),
            swap_total_bytes: get("SwapTotal"),
            swap_free_bytes: get("SwapFree"),
            commit_limit_bytes: get("CommitLimit"),
            committed_bytes: get("Committed_AS"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn made(version: u8, files: &[(&str, &str)]) -> (tempfile::TempDir, Hierarchy) {
        let mount = tempfile::tempdir().expect("a folder");
        let root = if version == 1 { mount.path().join("memory") } else { mount.path().to_owned() };
        fs::create_dir_all(root.join("a")).expect("a folder");
        let proof = if version == 1 { "memory.limit_in_bytes" } else { "cgroup.controllers" };
        fs::write(root.join(proof), "cpu memory\n").expect("a file");
        for (file, text) in files {
            fs::write(root.join(file), text).expect("a file");
        }
        let hierarchy = Hierarchy::find(mount.path()).expect("a hierarchy");
        (mount, hierarchy)
    }

    #[test]
    fn the_working_set_is_use_less_inactive_files_on_both_versions() {
        let v2 = [
            ("a/memory.current", "1000\n"),
            ("a/memory.max", "max\n"),
            ("a/memory.stat", "anon 5\ninactive_file 300\n"),
        ];
        let v1 = [
            ("a/memory.usage_in_bytes", "1000\n"),
            ("a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("a/memory.stat", "rss 1\ntotal_rss 5\ntotal_inactive_file 300\n"),
        ];
        for (version, files) in [(2, v2.as_slice()), (1, v1.as_slice())] {
            let (_mount, hierarchy) = made(version, files);
            let mut trouble = Vec::new();
            let read = CgroupMemory::read(&hierarchy, "/a", &mut trouble).expect("a cgroup");
            assert_eq!((read.working_set_bytes(), read.limit_bytes), (Some(700), None), "v{version}");
            assert_eq!((read.stat.anon_bytes, trouble), (Some(5), Vec::new()));
            assert!(CgroupMemory::read(&hierarchy, "/gone", &mut Vec::new()).is_none());
        }
    }

    #[test]
    fn the_roots_use_is_what_is_anonymous_and_of_files() {
        let (_mount, hierarchy) = made(2, &[("memory.stat", "anon 5\nfile 7\ninactive_file 3\nslab 900\n")]);
        let root = CgroupMemory::read(&hierarchy, "/", &mut Vec::new()).expect("a cgroup").of_root();
        assert_eq!((root.usage_bytes, root.working_set_bytes()), (Some(12), Some(9)));
    }

    #[test]
    fn a_file_that_says_something_else_is_named_and_the_rest_is_read() {
        let (_mount, hierarchy) =
            made(2, &[("a/memory.current", "lots\n"), ("a/memory.max", "4096\n"), ("a/memory.stat", "anon x\n")]);
        let mut trouble = Vec::new();
        let read = CgroupMemory::read(&hierarchy, "/a", &mut trouble).expect("a cgroup");
        assert_eq!((read.usage_bytes, read.limit_bytes), (None, Some(4096)));
        assert!(trouble.len() == 2 && trouble[0].contains("memory.current of /a"), "{trouble:?}");
    }
}
