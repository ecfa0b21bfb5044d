//! `cargo xtask soak`: what random tests of minutes do not meet.

use std::{
    fs::{self, File},
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{arch::Arch, build, setup::Kernel, test::guests, vm::Guest};

/// For booting, the end, and a machine that has more to do.
const BESIDE: Duration = Duration::from_mins(15);

#[derive(Args)]
#[command(
    after_help = "Needs no privileges. A guest has processes killed for memory, by others, and not at all, at random rates, while \
                  oomtrace is stopped, restarted and killed, the clock is set, its file is rotated and nobody reads its standard \
                  output. At the end each kill must have been reported once, or be counted as lost, in its incident, under its \
                  name, and nothing else. What oomtrace wrote is in target/soak/KERNEL/. The same seed does the same things, but \
                  not at the same moments."
)]
pub(crate) struct Soak {
    /// How long
    #[arg(long, value_name = "N", default_value = "60")]
    minutes: u64,
    /// The kernel: 5.10, 6.1, 6.12 or 7.x
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// What the random numbers begin with [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

pub(crate) fn run(soak: &Soak) -> Result<ExitCode> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = soak.seed.unwrap_or(since_1970.as_secs());
    let time = Duration::from_mins(soak.minutes);
    let programs = guests::compile(Arch::Amd64)?;
    let out = build::target_folder()?.join("soak").join(soak.kernel.label());
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot clear {} of an earlier run", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    println!("{} minutes on {}, seed {seed}", soak.minutes, soak.kernel);
    let arguments = ["kernel-tests".to_owned(), "--soak".to_owned(), time.as_secs().to_string(), seed.to_string()];
    let guest = Guest {
        programs: programs.in_guest(),
        console: Box::new(File::create(out.join("console.log"))?),
        timeout: time + BESIDE,
        out: Some(out),
        ..Guest::new(soak.kernel, arguments)
    };
    let status = guest.run()?.status;
    ensure!(status == 0, "the soak failed; --seed {seed} does the same things again");
    Ok(ExitCode::SUCCESS)
}
