//! `cargo xtask vm`: a command in a guest with a real kernel.

mod guest;
mod initramfs;
pub(crate) mod interrupt;
mod machine;
mod packages;

use std::{ffi::OsString, fs::File, io, path::PathBuf, process::ExitCode, str::FromStr, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;

pub(crate) use self::{
    guest::{Accel, Cgroup, Guest, Outcome, Sink, With},
    initramfs::Initramfs,
};
use crate::{arch::Arch, build, setup::Kernel};

/// Our exit status where the guest's command has none: far from those that commands use, and `docker run`'s for the
/// same.
pub(crate) const NO_STATUS: u8 = 125;

const EXIT_STATUS: &str = "\
The exit status is the command's (128 and the signal's number if a signal ended it), or 125 if it did not run to its \
end: the guest did not boot, panicked, hung, or was interrupted. With all kernels, it is 0 only if every one's is, \
and --out DIR and --console FILE become DIR/KERNEL and FILE.KERNEL.";

#[derive(Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct Vm {
    /// The kernel to boot: 5.10, 6.1, 6.12, 7.x, for arm64 also 6.12-16k (by the size of its pages), or all
    #[arg(long)]
    kernel: Kernels,
    /// The machine's architecture
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// The cgroup hierarchy to mount; v1 needs a kernel that has its memory controller
    #[arg(long, value_enum, default_value_t = Cgroup::V2)]
    cgroup: Cgroup,
    /// What else the guest has
    #[arg(long, value_enum)]
    with: Option<With>,
    /// The guest's memory [default: 1024, with anything else 2048]
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// The guest's processors
    #[arg(long, value_name = "N", default_value_t = 2)]
    cpus: u32,
    /// What executes the guest's instructions
    #[arg(long, value_enum, default_value_t = Accel::Tcg)]
    accel: Accel,
    /// The guest's clock counts the instructions of its one processor, 1,000 a microsecond: however busy this machine is,
    /// the guest's times are the same
    #[arg(long, conflicts_with_all = ["cpus", "accel"])]
    instructions: bool,
    /// A folder to copy to /share in the guest
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
    /// A folder to bring the guest's /out back to
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How long the guest may run
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// A file to keep the kernel's console in
    #[arg(long, value_name = "FILE")]
    console: Option<PathBuf>,
    /// Show the kernel's console on standard error
    #[arg(long, short, conflicts_with = "console")]
    verbose: bool,
    /// The `oomtrace` to put on the guest's PATH, instead of one built now
    #[arg(long, value_name = "FILE")]
    oomtrace: Option<PathBuf>,
    /// Build that one optimised
    #[arg(long, conflicts_with = "oomtrace")]
    release: bool,
    /// What to run; its arguments are kept as they are
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// One kernel of the matrix, or every one.
#[derive(Clone, Copy)]
pub(crate) enum Kernels {
    All,
    One(Kernel),
}

impl Kernels {
    /// Those of an architecture.
    pub(crate) fn of(self, arch: Arch) -> Vec<Kernel> {
        match self {
            Self::All => Kernel::all(arch).to_vec(),
            Self::One(kernel) => vec![kernel],
        }
    }
}

impl FromStr for Kernels {
    type Err = String;

    fn from_str(label: &str) -> Result<Self, Self::Err> {
        match label {
            "all" => Ok(Self::All),
            label => Ok(Self::One(label.parse().map_err(|error| format!("{error}, all"))?)),
        }
    }
}

pub(crate) fn run(vm: &Vm) -> Result<ExitCode> {
    let oomtrace = match &vm.oomtrace {
        Some(program) => program.clone(),
        None => build::oomtrace(vm.arch, vm.release)?,
    };
    if let Kernels::One(kernel) = vm.kernel {
        return Ok(vm.boot(kernel, oomtrace, vm.out.clone(), vm.console.clone())?.status.into());
    }
    let mut table = Vec::new();
    let mut statuses = Vec::new();
    for kernel in vm.kernel.of(vm.arch) {
        eprintln!("== kernel {kernel}, cgroup {}", vm.cgroup);
        let out = vm.out.as_ref().map(|folder| folder.join(kernel.label()));
        let console = vm.console.as_ref().map(|file| file.with_added_extension(kernel.label()));
        let (release, status, result, seconds) = match vm.boot(kernel, oomtrace.clone(), out, console) {
            Ok(Outcome { release, status, total, .. }) => {
                (release, status, format!("exit status {status}"), format!("{:.1} s", total.as_secs_f32()))
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                (kernel.to_string(), NO_STATUS, "no exit status".to_owned(), String::new())
            }
        };
        table.push(format!("{release:<34} {} {result:<16} {seconds:>8}", vm.cgroup));
        statuses.push(status);
    }
    eprintln!("== together\n{}", table.join("\n"));
    statuses.sort_by_key(|status| (*status != NO_STATUS, *status == 0));
    Ok(statuses.first().copied().unwrap_or(0).into())
}

impl Vm {
    fn boot(
        &self,
        kernel: Kernel,
        oomtrace: PathBuf,
        out: Option<PathBuf>,
        console: Option<PathBuf>,
    ) -> Result<Outcome> {
        let console: Sink = match console {
            Some(file) => Box::new(File::create(&file).with_context(|| format!("cannot create {}", file.display()))?),
            None if self.verbose => Box::new(io::stderr()),
            None => Box::new(io::sink()),
        };
        let guest = Guest {
            arch: self.arch,
            cgroup: self.cgroup,
            memory: self.memory.unwrap_or(if self.with.is_some() { 2048 } else { 1024 }),
            with: self.with,
            cpus: if self.instructions { 1 } else { self.cpus },
            accel: self.accel,
            instructions: self.instructions,
            programs: vec![(oomtrace, "oomtrace")],
            share: self.share.clone(),
            out,
            timeout: Duration::from_secs(self.timeout),
            console,
            ..Guest::new(kernel, &self.command)
        };
        guest.run()
    }
}
