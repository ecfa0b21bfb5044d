//! What this program was built from and with: `build.rs` finds it out.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, 12 digits; `unknown` outside of a repository.
pub const COMMIT: &str = env!("OOMTRACE_BUILD_COMMIT");
/// The platform.
pub const TARGET: &str = env!("OOMTRACE_BUILD_TARGET");
/// cargo's profile: `release`, `debug`.
pub const PROFILE: &str = env!("OOMTRACE_BUILD_PROFILE");
/// The compiler: `rustc 1.95.0 (59807616e 2026-04-14)`.
pub const RUSTC: &str = env!("OOMTRACE_BUILD_RUSTC");

/// For `--version`.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("OOMTRACE_BUILD_COMMIT"),
    ", ",
    env!("OOMTRACE_BUILD_TARGET"),
    ", ",
    env!("OOMTRACE_BUILD_PROFILE"),
    ", ",
    env!("OOMTRACE_BUILD_RUSTC"),
    ")"
);
