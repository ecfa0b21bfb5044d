//! What a victim was started as: `java` says nothing.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use oomtrace_common::record::{COMMAND_LINE_LEN, CommandLine, tag};

use crate::{
    kernel::{Address, MACHINE, constant, layout},
    ring::{self, Fill, fill},
    task::{self, current},
};

/// Nothing yet.
struct Zeroes;

impl Fill<[u8; COMMAND_LINE_LEN]> for Zeroes {
    #[inline(always)]
    unsafe fn fill(self, out: *mut [u8; COMMAND_LINE_LEN]) {
        // SAFETY: the caller's promise.
        unsafe { out.write_bytes(0, 1) };
    }
}

/// Sends the beginning of a victim's command line, for the mark that follows. It is in the victim's own memory, and can be read
/// where the victim itself runs, which is usual at a container's own limit.
#[inline(always)]
pub(crate) fn send(victim: Address, decision: u64) {
    let tgid = task::tgid(victim);
    if constant(&MACHINE.command_lines) == 0 || task::tgid(current()) != tgid {
        return;
    }
    let mm = current().follow(layout!(task_mm));
    let (start, end) = (mm.get(layout!(mm_arg_start), 0_u64), mm.get(layout!(mm_arg_end), 0_u64));
    if start == 0 || end <= start {
        return;
    }
    // Not a byte of what lies behind: the environment. Masked as `write_names` does, and for the same reason.
    let len = black_box((end - start).min(COMMAND_LINE_LEN as u64 - 1)) & (COMMAND_LINE_LEN as u64 - 1);
    let Some(mut entry) = ring::reserve::<CommandLine>() else { return };
    let record = entry.as_mut_ptr();
    // SAFETY: the record is reserved, and there is room for so many bytes.
    let read = unsafe {
        fill!(
            record,
            CommandLine {
                header: ring::header(tag::COMMAND_LINE, decision),
                tgid: tgid,
                len: len as u32,
                text: Zeroes,
            }
        );
        bpf_probe_read_user((&raw mut (*record).text).cast(), len as u32, start as *const _)
    };
    if read == 0 {
        entry.submit(0);
    } else {
        entry.discard(0);
    }
}
