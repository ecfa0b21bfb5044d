//! A leak on purpose: memory of a chosen kind, taken block by block and never given back.

mod size;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    ptr::NonNull,
};

use rustix::{
    fs::{Mode, OFlags},
    mm::{MapFlags, ProtFlags},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

pub use self::size::{Share, Size, SizeError};

/// What kind of memory is leaked: they are charged alike, and differ in what the kernel can take back before it kills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// From the allocator, as programs leak.
    #[default]
    Heap,
    /// Anonymous private mappings, one a block.
    Mapping,
    /// Shared memory (tmpfs pages): anonymous shared mappings. Only swap can take it in.
    Shared,
    /// The page cache of a temporary file: reclaimed before anybody is killed.
    PageCache,
    /// Named files in this folder, one a block, which stay when the program ends. On a tmpfs (an emptyDir with `medium: Memory`)
    /// they are shared memory of the pod; on a disk they fill it.
    Files(PathBuf),
}

/// How much to take at a time, and how much in all.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to take.
    pub kind: Kind,
    /// How much to take in a step, bytes; not 0.
    pub block_bytes: u64,
    /// Where to stop, bytes.
    pub max_bytes: u64,
    /// How much of each block to write to, from its start. The kernel charges a page when it is first touched.
    pub touch: Share,
}

/// What there is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Counts the steps, from 1.
    pub number: u64,
    /// What has been asked of the kernel so far.
    pub allocated_bytes: u64,
    /// What of it has been written to.
    pub touched_bytes: u64,
}

/// The kernel, or the allocator, gives no more.
#[derive(Debug, thiserror::Error)]
#[error("step {step}: another {} are refused after {}: {cause}", Size(*block_bytes), Size(*allocated_bytes))]
pub struct Refused {
    /// The step that failed.
    pub step: u64,
    /// What was asked for, bytes.
    pub block_bytes: u64,
    /// What had been granted before, bytes.
    pub allocated_bytes: u64,
    /// What the system said.
    pub cause: io::Error,
}

/// Memory that is taken and kept until this is dropped.
pub struct Leak {
    plan: Plan,
    /// The blocks of [`Kind::Heap`].
    heap: Vec<Vec<u8>>,
    /// The blocks of [`Kind::Mapping`] and [`Kind::Shared`].
    mappings: Vec<Mapping>,
    /// The file whose pages are [`Kind::PageCache`].
    file: Option<File>,
    last: Step,
}

impl Leak {
    /// A leak that has taken nothing yet. From here on this process gets no huge pages: one page touched of one takes all of it,
    /// and what is held would not be what was touched.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        // A kernel without huge pages refuses, and has none to spare.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
        let last = Step { number: 0, allocated_bytes: 0, touched_bytes: 0 };
        Self { plan, heap: Vec::new(), mappings: Vec::new(), file: None, last }
    }

    /// Takes one more block, a smaller one where a whole one would exceed the maximum; `None` when the maximum is
    /// reached.
    ///
    /// # Errors
    ///
    /// Fails where the kernel refuses the memory.
    pub fn grow(&mut self) -> Result<Option<Step>, Refused> {
        let Plan { kind: _, block_bytes, max_bytes, touch } = self.plan;
        let block_bytes = block_bytes.min(max_bytes - self.last.allocated_bytes);
        if block_bytes == 0 {
            return Ok(None);
        }
        let touch_bytes = touch.of(block_bytes);
        self.take(block_bytes, touch_bytes).map_err(|cause| Refused {
            step: self.last.number + 1,
            block_bytes,
            allocated_bytes: self.last.allocated_bytes,
            cause,
        })?;
        self.last = Step {
            number: self.last.number + 1,
            allocated_bytes: self.last.allocated_bytes + block_bytes,
            touched_bytes: self.last.touched_bytes + touch_bytes,
        };
        Ok(Some(self.last))
    }

    fn take(&mut self, block_bytes: u64, touch_bytes: u64) -> io::Result<()> {
        let (len, touch) = (length(block_bytes)?, length(touch_bytes)?);
        match &self.plan.kind {
            Kind::Heap => {
                let mut block = Vec::new();
                block.try_reserve_exact(len).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
                for byte in block.spare_capacity_mut()[..touch].iter_mut().step_by(rustix::param::page_size()) {
                    byte.write(1);
                }
                self.heap.push(block);
            }
            kind @ (Kind::Mapping | Kind::Shared) => {
                let mut mapping = Mapping::new(len, *kind == Kind::Shared)?;
                mapping.touch(touch);
                self.mappings.push(mapping);
            }
            Kind::PageCache => {
                let mut file = match self.file.take() {
                    Some(file) => file,
                    None => nameless_file()?,
                };
                let written = append(&mut file, touch_bytes, block_bytes);
                self.file = Some(file);
                written?;
            }
            Kind::Files(folder) => append(&mut named_file(folder, self.last.number + 1)?, touch_bytes, block_bytes)?,
        }
        Ok(())
    }
}

fn length(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// A file that is gone when it is closed, in the folder for temporary files (`TMPDIR`, else `/tmp`).
fn nameless_file() -> io::Result<File> {
    let folder = std::env::temp_dir();
    rustix::fs::open(&folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|error| {
            io::Error::other(format!("no temporary file in {}: {}", folder.display(), io::Error::from(error)))
        })
}

/// A new file in `folder`. Its name has the process and the step, and a number more where an earlier life of the container, in
/// which this process had the same id, left one.
fn named_file(folder: &Path, step: u64) -> io::Result<File> {
    let process = std::process::id();
    let mut life = 0_u32;
    loop {
        let path = folder.join(format!("oomtrace-leak-{process}-{life}-{step}"));
        match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => life += 1,
            Err(error) => return Err(io::Error::other(format!("no file {}: {error}", path.display()))),
            Ok(file) => return Ok(file),
        }
    }
}

/// Limits the address space of this process (`RLIMIT_AS`, as `ulimit -v` does): the kernel refuses what goes beyond.
///
/// # Errors
///
/// Fails where the kernel refuses the limit.
pub fn limit_address_space(bytes: u64) -> io::Result<()> {
    let maximum = getrlimit(Resource::As).maximum;
    Ok(setrlimit(Resource::As, Rlimit { current: Some(bytes), maximum })?)
}

/// Makes the file longer by `block` bytes, of which the first `touch` are written; the others are a hole.
fn append(file: &mut File, touch: u64, block: u64) -> io::Result<()> {
    const ZEROES: [u8; 16 << 10] = [0; 16 << 10];
    let from = file.metadata()?.len();
    io::Seek::seek(file, io::SeekFrom::Start(from))?;
    let mut left = touch;
    while left > 0 {
        let len = length(left)?.min(ZEROES.len());
        file.write_all(&ZEROES[..len])?;
        left -= len as u64;
    }
    file.set_len(from + block)
}

/// Anonymous memory straight from the kernel.
struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize, shared: bool) -> io::Result<Self> {
        let flags = if shared { MapFlags::SHARED } else { MapFlags::PRIVATE };
        // SAFETY: at no given address, so nothing that is mapped already is replaced.
        let at = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags)
        }?;
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { at, len })
    }

    /// Writes to each of the pages that the first `len` bytes lie in.
    fn touch(&mut self, len: usize) {
        for offset in (0..len.min(self.len)).step_by(rustix::param::page_size()) {
            // SAFETY: inside the mapping, which is writable and ours alone.
            unsafe { self.at.add(offset).write_volatile(1) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing refers into it.
        // It fails only for what is no mapping.
        let _ = unsafe { rustix::mm::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// How much of this process is in memory, bytes: `/proc/self/statm`, in pages.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn plan(kind: Kind, touch: &str) -> Plan {
        Plan { kind, block_bytes: 4 * MIB, max_bytes: 10 * MIB, touch: touch.parse().expect("a share") }
    }

    #[test]
    fn it_grows_block_by_block_and_stops_at_the_maximum() -> Result<(), Refused> {
        for kind in [Kind::Heap, Kind::Mapping, Kind::Shared, Kind::PageCache] {
            let mut leak = Leak::new(plan(kind.clone(), "50%"));
            let mut steps = Vec::new();
            while let Some(Step { number, allocated_bytes, touched_bytes }) = leak.grow()? {
                steps.push((number, allocated_bytes / MIB, touched_bytes / MIB));
            }
            assert_eq!(steps, [(1, 4, 2), (2, 8, 4), (3, 10, 5)], "{kind:?}");
            assert_eq!(leak.grow()?, None, "{kind:?}");
        }
        Ok(())
    }

    #[test]
    fn files_stay_and_a_second_life_with_the_same_pid_adds_to_them() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        for life in 1..=2 {
            let mut leak = Leak::new(plan(Kind::Files(folder.path().to_owned()), "100%"));
            while leak.grow()?.is_some() {}
            drop(leak);
            let sizes = std::fs::read_dir(folder.path())?.map(|file| Ok(file?.metadata()?.len()));
            assert_eq!(sizes.sum::<io::Result<u64>>()?, life * 10 * MIB);
        }
        Ok(())
    }

    #[test]
    fn a_missing_folder_is_named() {
        let refused = Leak::new(plan(Kind::Files("/no/such/folder".into()), "0%")).grow().expect_err("no folder");
        assert!(refused.to_string().contains("no file /no/such/folder/oomtrace-leak-"), "{refused}");
    }

    #[test]
    fn only_what_is_touched_is_resident() -> Result<(), Refused> {
        for (touch, expected) in [("0%", 0), ("100%", 64)] {
            let block = Plan { block_bytes: 64 * MIB, max_bytes: 64 * MIB, ..plan(Kind::Mapping, touch) };
            let mut leak = Leak::new(block);
            leak.grow()?;
            let mapping = &leak.mappings[0];
            let mut pages = vec![0_u8; mapping.len / rustix::param::page_size()];
            // SAFETY: the range is mapped, and there is a byte for each of its pages.
            let known = unsafe { libc::mincore(mapping.at.as_ptr().cast(), mapping.len, pages.as_mut_ptr()) };
            assert_eq!(known, 0);
            let resident = pages.iter().filter(|page| **page & 1 == 1).count() * rustix::param::page_size();
            assert_eq!(resident as u64 / MIB, expected, "touched {touch}");
        }
        Ok(())
    }

    #[test]
    fn more_than_the_address_space_is_refused_in_words() {
        for kind in [Kind::Heap, Kind::Mapping] {
            let huge = Plan { block_bytes: 1 << 62, max_bytes: u64::MAX, ..plan(kind, "0%") };
            let refused = Leak::new(huge).grow().expect_err("no machine has that");
            assert!(refused.to_string().starts_with("step 1: another 4 EiB are refused after 0 B: "), "{refused}");
        }
    }
}
