//! Sending records to the daemon.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use oomtrace_common::record::Header;
