//! oomtrace's kernel probes.
//!
//! Each file is one concern of the kernel: [`charges`] counts what hits a limit and [`refusals`] what is not granted at all, [`oom`]
//! hooks the OOM killer's decisions, [`candidates`] those it could have chosen, [`panics`] and [`under_oom`] what may happen
//! instead, [`exit`] how victims ended, [`signal`] tells a kill from a mark, [`cgroup_life`] reports cgroups as they come
//! and go, [`limits`] of limits that are set, [`command_line`] what a victim was started as, [`task`] and [`cgroup`] read who and where, [`kernel`] reads memory at the offsets the daemon found in BTF, [`ring`] sends.
//!
//! For any other target than BPF this is an empty program, so that the workspace builds, lints and tests as one.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// BPF's one instruction that adds atomically. Building for BPF takes the nightly features anyway, to build `core`.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "BPF has 64-bit registers, and the sizes and helpers' results that are cast are bounded"
)]
#![expect(clippy::inline_always, reason = "calls between functions take the verifiers of older kernels too long")]
#![expect(clippy::needless_pass_by_value, reason = "the attribute macros hand programs their context by value")]

mod candidates;
mod cgroup;
mod cgroup_life;
mod charges;
mod command_line;
mod exit;
mod kernel;
mod limits;
mod oom;
mod panics;
mod refusals;
mod ring;
mod signal;
mod task;
mod under_oom;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Never called: nothing here can panic, and the verifier would refuse it if it could.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers that read kernel memory are offered to GPL-compatible programs only.
#[cfg_attr(target_arch = "bpf", unsafe(link_section = "license"), unsafe(no_mangle))]
#[cfg_attr(not(target_arch = "bpf"), expect(dead_code, reason = "read by the kernel from the object file"))]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
