//! Reading the kernel's memory at offsets that only the daemon knows.
//!
//! Every read names its fallback: what a pointer that is NULL, a field that this kernel lacks or a page that cannot be
//! read gives. Nothing here fails.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use oomtrace_common::layout::{ABSENT_OFFSET, KernelLayout, MachineLayout, MarkVictimFormat};

/// Where the running kernel keeps its fields.
#[unsafe(no_mangle)]
pub(crate) static KERNEL: KernelLayout = KernelLayout::UNKNOWN;

/// What the machine is like.
#[unsafe(no_mangle)]
pub(crate) static MACHINE: MachineLayout =
    MachineLayout { per_cpu_offsets: 0, cpus: 0, page_size: 0, memory_cgroup_v1: 0, panic_on_oom: 0, command_lines: 0 };

/// Where the tracepoint `oom:mark_victim` keeps its fields.
#[unsafe(no_mangle)]
pub(crate) static MARK_VICTIM: MarkVictimFormat = MarkVictimFormat::UNKNOWN;

/// A value that the daemon sets. Read as volatile, since the compiler sees only the initial value; a constant to the
/// verifier all the same.
#[inline(always)]
pub(crate) fn constant<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference is valid, and nothing writes to a global after loading.
    unsafe { core::ptr::read_volatile(value) }
}

/// An offset or an enumerator of the running kernel, by its name in [`KernelLayout`].
macro_rules! layout {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::KERNEL.$field)
    };
}
pub(crate) use layout;

/// Adds 1 to a count of a map, whatever other CPUs do to it.
///
/// By the instruction itself: the standard library offers no `fetch_add` for a target that need not have the older value,
/// which BPF gives since 5.12 only.
///
/// # Safety
///
/// `count` has to be a map's value.
#[inline(always)]
pub(crate) unsafe fn add_one(count: *mut u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!("lock *(u64 *)({count} + 0) += {one}", count = in(reg) count, one = in(reg) 1_u64);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: as above.
    unsafe {
        *count += 1;
    }
}

/// What may be read from the kernel: whatever the bytes are there, they are one of these.
///
/// # Safety
///
/// Every pattern of bytes has to be a value.
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),*) => {
        // SAFETY: a number is any pattern of its bytes.
        $(unsafe impl Plain for $type {})*
    };
}
plain!(u8, u32, u64, i16, i32, i64);
// SAFETY: so is an array of them.
unsafe impl<T: Plain, const LEN: usize> Plain for [T; LEN] {}

/// An address in the kernel; 0 is NULL, and reads as the fallback.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) u64);

impl Address {
    pub(crate) const NULL: Self = Self(0);

    /// Whether there is nothing behind it.
    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address of a field in the struct here; NULL where there is no such field, and as unreadable as NULL where there
    /// is no struct.
    #[inline(always)]
    pub(crate) fn field(self, offset: u32) -> Self {
        if offset == ABSENT_OFFSET { Self::NULL } else { Self(self.0.wrapping_add(offset.into())) }
    }

    /// The value here, or `fallback`.
    #[inline(always)]
    pub(crate) fn read<T: Plain>(self, fallback: T) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes size_of::<T>() bytes, or returns an error; any bytes are a `T`.
        unsafe {
            if bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, self.0 as *const _) == 0 {
                value.assume_init()
            } else {
                fallback
            }
        }
    }

    /// The field at `offset` of the struct here, or `fallback`.
    #[inline(always)]
    pub(crate) fn get<T: Plain>(self, offset: u32, fallback: T) -> T {
        self.field(offset).read(fallback)
    }

    /// The pointer at `offset` of the struct here; NULL where it cannot be read.
    ///
    /// Without a branch, since each one doubles the verifier's work: the helper fills with zeroes what it cannot read,
    /// and nothing can be read at the small addresses that are offsets from NULL.
    #[inline(always)]
    pub(crate) fn follow(self, offset: u32) -> Self {
        if offset == ABSENT_OFFSET {
            return Self::NULL;
        }
        let mut pointer = 0_u64;
        let at = self.0.wrapping_add(offset.into());
        // SAFETY: the helper writes 8 bytes in any case.
        unsafe { bpf_probe_read_kernel((&raw mut pointer).cast(), size_of::<u64>() as u32, at as *const _) };
        Self(pointer)
    }
}
