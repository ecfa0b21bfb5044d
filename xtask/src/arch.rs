//! The architectures that oomtrace is built for, and what each tool calls them.

use std::fmt;

use clap::ValueEnum;

/// An architecture of processors, by Debian's name; Rust's target is understood, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// x86-64
    #[default]
    #[value(aliases = ["x86_64", "x86_64-unknown-linux-gnu"])]
    Amd64,
    /// arm64, compiled here and run in an emulated machine
    #[value(aliases = ["aarch64", "aarch64-unknown-linux-gnu"])]
    Arm64,
}

impl Arch {
    /// Every one, in the order in which they are listed.
    pub(crate) const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// Debian's name, Kubernetes' and that of container images.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// What `uname -m` says, and RPM.
    pub(crate) const fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Whether this machine runs its programs.
    pub(crate) fn is_this_machines(self) -> bool {
        self.machine() == std::env::consts::ARCH
    }

    /// Of a piece of the cache that each architecture has one of, this one's name.
    pub(crate) fn piece(self, name: &str) -> String {
        match self {
            Self::Amd64 => name.to_owned(),
            Self::Arm64 => format!("{name}-{self}"),
        }
    }

    /// Rust's target whose programs are static (see `.cargo/config.toml`).
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.debian())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_architecture_is_known_by_every_tools_name() {
        for arch in Arch::ALL {
            for name in [arch.debian(), arch.machine(), arch.target()] {
                assert_eq!(Arch::from_str(name, false), Ok(arch));
            }
        }
    }
}
