//! Sending records to the daemon.

use aya_ebpf::{
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use oomtrace_common::record::Header;

/// The records' way to the daemon, which sets its size. A burst of 200 kills takes about 400 KiB, should the daemon not
/// get to run at all meanwhile.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// How many records did not fit [`EVENTS`]: the daemon reports each as lost.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Room for one record in the ring. A record that finds none is counted.
#[inline(always)]
pub(crate) fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none()
        && let Some(lost) = LOST.get_ptr_mut(0)
    {
        // SAFETY: the map's value, and this CPU's alone.
        unsafe { *lost += 1 };
    }
    entry
}

/// The header of a record that is made now.
#[inline(always)]
pub(crate) fn header(tag: u32, decision: u64) -> Header {
    // SAFETY: neither helper has a precondition.
    let (cpu, boot_ns) = unsafe { (bpf_get_smp_processor_id(), bpf_ktime_get_boot_ns()) };
    Header { tag, cpu, boot_ns, decision }
}
