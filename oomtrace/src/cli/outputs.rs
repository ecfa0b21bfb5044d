//! Where `oomtrace run` prints events.

use crate::{
    leak::Size,
    sink::{Format, Kinds, Output, Rotation},
};

/// Options about outputs.
#[derive(Debug, clap::Args)]
#[group(id = "outputs")]
#[command(next_help_heading = "Outputs")]
pub(super) struct Args {
    /// Print events as `jsonl`, `text` or `otel` on standard output, or as `jsonl:FILE`, … at the end of a file; may be given
    /// several times. `jsonl:FILE,only=incident+oom_kill` chooses kinds for this output. SIGHUP opens the files again.
    #[arg(long, value_name = "FORMAT[:FILE][,only=KINDS]")]
    output: Vec<Output>,
    /// Which kinds of events to print, on every output that does not choose itself. `default` stands for what a log stack is
    /// for: `incident`, `oom_kill`, `eviction` (without what the kubelet only looks at), `panic_on_oom`, `under_oom`, `lost`,
    /// `error` and `status`; `all` for every kind. What is recorded, counted and made incidents of does not depend on it.
    #[arg(long, value_name = "KIND,…", default_value = "default")]
    only: Vec<Kinds>,
    /// Print every kind of event: `--only all`.
    #[arg(long, conflicts_with = "only")]
    all: bool,
    /// Put a file of --output aside (FILE.1, FILE.2, …) before it grows past this size; 0 for never.
    #[arg(long, value_name = "SIZE", default_value = "64Mi")]
    output_rotate_size: Size,
    /// How many files that were put aside are kept.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(..=10_000))]
    output_rotate_keep: u32,
}

impl Args {
    /// What is printed where, with what `--format` and `--only` say.
    pub(super) fn all(&self, format: Option<Format>, fallback: Format) -> Result<Vec<Output>, String> {
        let kinds = self.kinds();
        let mut outputs = Output::all(&self.output, format, fallback)?;
        for output in &mut outputs {
            output.only.get_or_insert_with(|| kinds.clone());
        }
        Ok(outputs)
    }

    /// What is printed where nothing else is chosen.
    pub(super) fn kinds(&self) -> Kinds {
        if self.all { Kinds::all() } else { Kinds::together(&self.only) }
    }

    /// When files are put aside.
    pub(super) fn rotation(&self) -> Rotation {
        Rotation { bytes: self.output_rotate_size.0, keep: self.output_rotate_keep }
    }
}
