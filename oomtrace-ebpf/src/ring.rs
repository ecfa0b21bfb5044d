//! Sending records to the daemon.

use aya_ebpf::{
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use oomtrace_common::record::{Header, lost};

use crate::kernel::add_one;

/// The records' way to the daemon, which sets its size. A burst of 200 kills takes about 400 KiB, should the daemon not
/// get to run at all meanwhile.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(512 * 1024, 0);

/// What could not be reported: by the constants of [`lost`]. The daemon reports it.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(lost::LEN, 0);

/// Counts something that cannot be reported.
#[inline(always)]
pub(crate) fn count(what: u32) {
    if let Some(lost) = LOST.get_ptr_mut(what) {
        // SAFETY: the map's value. Another program may come between on the same CPU, hence atomically.
        unsafe { add_one(lost) };
    }
}

/// Room for one record in the ring. A record that finds none is counted.
#[inline(always)]
pub(crate) fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count(lost::RING);
    }
    entry
}

/// How a field of a record is filled in.
pub(crate) trait Fill<T> {
    /// Writes the field.
    ///
    /// # Safety
    ///
    /// `out` has to be writable.
    unsafe fn fill(self, out: *mut T);
}

impl<T: Copy> Fill<T> for T {
    #[inline(always)]
    unsafe fn fill(self, out: *mut T) {
        // SAFETY: the caller's promise.
        unsafe { out.write(self) };
    }
}

/// Fills in all fields of what lies at an address. What leaves one out does not compile: the daemon would get what the ring held
/// there before.
macro_rules! fill {
    ($out:expr, $type:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        const _: fn($type) = |$type { $($field: _),* }| {};
        let out: *mut $type = $out;
        $($crate::ring::Fill::fill($value, &raw mut (*out).$field);)*
    }};
}

/// Sends a record with these fields, where the ring has room for it.
macro_rules! send {
    ($type:ident { $($field:ident: $value:expr),* $(,)? }) => {
        if let Some(mut entry) = $crate::ring::reserve::<$type>() {
            let record = entry.as_mut_ptr();
            // SAFETY: the record is reserved.
            unsafe { $crate::ring::fill!(record, $type { $($field: $value),* }) };
            entry.submit(0);
        }
    };
}
pub(crate) use {fill, send};

/// `CLOCK_BOOTTIME` now, nanoseconds.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: no precondition.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// The header of a record that is made now.
#[inline(always)]
pub(crate) fn header(tag: u32, decision: u64) -> Header {
    // SAFETY: no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    Header { tag, cpu, boot_ns: boot_ns(), decision }
}
