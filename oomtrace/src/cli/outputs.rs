//! Where `oomtrace run` prints events.

use crate::{
    leak::Size,
    sink::{Format, Output, Rotation},
};

/// Options about outputs.
#[derive(Debug, clap::Args)]
#[group(id = "outputs")]
#[command(next_help_heading = "Outputs")]
pub(super) struct Args {
    /// Print events as `jsonl` or `text` on standard output, or as `jsonl:FILE` or `text:FILE` at the end of a file; may be
    /// given several times. SIGHUP opens the files again.
    #[arg(long, value_name = "FORMAT[:FILE]")]
    output: Vec<Output>,
    /// Put a file of --output aside (FILE.1, FILE.2, …) before it grows past this size; 0 for never.
    #[arg(long, value_name = "SIZE", default_value = "64Mi")]
    output_rotate_size: Size,
    /// How many files that were put aside are kept.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(..=10_000))]
    output_rotate_keep: u32,
}

impl Args {
    /// What is printed where, with what `--format` says.
    pub(super) fn all(&self, format: Option<Format>, fallback: Format) -> Result<Vec<Output>, String> {
        Output::all(&self.output, format, fallback)
    }

    /// When files are put aside.
    pub(super) fn rotation(&self) -> Rotation {
        Rotation { bytes: self.output_rotate_size.0, keep: self.output_rotate_keep }
    }
}
