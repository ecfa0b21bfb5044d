//! How long the questions of `deploy/queries` take over the lines of a fleet, in `DuckDB` and `ClickHouse`, beside `grep -c`.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{build, setup};

const SCRIPT: &str = include_str!("fleet.py");

#[derive(Args)]
pub(crate) struct Fleet {
    /// How many incidents there are, of two lines each, on a hundred nodes
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    incidents: u64,
}

impl Fleet {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let folder = build::target_folder()?.join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let file = folder.join("fleet.jsonl");
        let queries = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("queries");
        let mut python = setup::log_engines()?;
        python.arg("-c").arg(SCRIPT).arg(queries).arg(&file).arg(self.incidents.to_string());
        let answered = python.status().context("Python does not start")?;
        let started = Instant::now();
        let grep = Command::new("grep").args(["-c", "allocatable_oom"]).arg(&file).output();
        let counted = grep.context("grep does not start")?.status.success();
        println!("{:7.1} s grep -c of a scenario", started.elapsed().as_secs_f64());
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        Ok(if answered.success() && counted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
