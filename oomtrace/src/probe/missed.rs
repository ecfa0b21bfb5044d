//! How often the kernel skipped a program: while another of its own kind ran on the same processor, in an interrupt that came
//! between, or where a return probe had no place to keep the call until its return.
//!
//! The kernel counts this for each program (`recursion_misses`, from 5.12) and for each kprobe (`missed` of its link, from 6.7).

use std::{
    collections::BTreeMap,
    fs, io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use aya::Ebpf;
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_prog_info};

/// The programs, as the kernel counts what it skipped.
pub(super) struct Missed(Vec<Program>);

struct Program {
    name: String,
    /// Of the program, and of what it is attached by.
    fds: Vec<OwnedFd>,
    /// What of it has been reported.
    reported: u64,
}

impl Missed {
    /// Watches all that is loaded and attached.
    pub(super) fn of(ebpf: &Ebpf) -> Self {
        let mut links = links();
        let programs = ebpf.programs().filter_map(|(name, program)| {
            let fd = program.fd().ok()?.as_fd().try_clone_to_owned().ok()?;
            let mut fds = links.remove(&program_info(fd.as_fd()).ok()?.id).unwrap_or_default();
            fds.push(fd);
            Some(Program { name: name.to_owned(), fds, reported: 0 })
        });
        Self(programs.collect())
    }

    /// The programs that were skipped since this was last asked, and how often.
    pub(super) fn newly(&mut self) -> Vec<(String, u64)> {
        let newly = self.0.iter_mut().filter_map(|program| {
            let newly = program.missed().saturating_sub(program.reported);
            program.reported += newly;
            (newly > 0).then(|| (program.name.clone(), newly))
        });
        newly.collect()
    }
}

impl Program {
    fn missed(&self) -> u64 {
        let Some((program, links)) = self.fds.split_last() else { return 0 };
        let skipped = program_info(program.as_fd()).map_or(0, |info| info.recursion_misses);
        skipped + links.iter().map(|link| missed_by_kprobe(link.as_fd())).sum::<u64>()
    }
}

/// This process's links, by the ids of their programs. aya keeps them to itself.
fn links() -> BTreeMap<u32, Vec<OwnedFd>> {
    let mut links: BTreeMap<u32, Vec<OwnedFd>> = BTreeMap::new();
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return links };
    for entry in open.filter_map(Result::ok) {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if !target.to_string_lossy().starts_with("anon_inode:bpf_link") {
            continue;
        }
        let Some(fd) = entry.file_name().to_str().and_then(|fd| fd.parse::<RawFd>().ok()) else { continue };
        // SAFETY: it was open a moment ago, and its owner keeps it as long as the probes are loaded.
        let Ok(fd) = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned() else { continue };
        if let Ok(info) = link_info(fd.as_fd()) {
            links.entry(info.prog_id).or_default().push(fd);
        }
    }
    links
}

fn program_info(fd: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    info(fd)
}

fn link_info(fd: BorrowedFd<'_>) -> io::Result<bpf_link_info> {
    info(fd)
}

fn missed_by_kprobe(link: BorrowedFd<'_>) -> u64 {
    match link_info(link) {
        // SAFETY: a link of this type fills in this part, with zeroes where the kernel is older.
        Ok(info) if info.type_ == bpf_link_type::BPF_LINK_TYPE_PERF_EVENT as u32 => unsafe {
            info.__bindgen_anon_1.perf_event.__bindgen_anon_1.kprobe.missed
        },
        _ => 0,
    }
}

/// What the kernel says of an object of BPF.
///
/// # Safety
///
/// It has to consist of numbers.
unsafe trait Info {}
// SAFETY: numbers and unions of them.
unsafe impl Info for bpf_prog_info {}
// SAFETY: as above.
unsafe impl Info for bpf_link_info {}

/// Asks the kernel, which fills in as much as it knows.
fn info<T: Info>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = MaybeUninit::<T>::zeroed();
    // SAFETY: zeroes are a value of it.
    let mut attr: bpf_attr = unsafe { MaybeUninit::zeroed().assume_init() };
    attr.info.bpf_fd = fd.as_raw_fd().cast_unsigned();
    attr.info.info_len = u32::try_from(size_of::<T>()).unwrap_or(0);
    attr.info.info = info.as_mut_ptr() as u64;
    let command = bpf_cmd::BPF_OBJ_GET_INFO_BY_FD as libc::c_long;
    // SAFETY: the kernel writes no more than the length that is given.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<bpf_attr>()) };
    // SAFETY: numbers, be they the kernel's or zero.
    if answer == 0 { Ok(unsafe { info.assume_init() }) } else { Err(io::Error::last_os_error()) }
}
