//! Commands on the node.

use anyhow::{Result, bail};

/// How a command ended.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// As a shell has it.
    pub(crate) status: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// The standard output of a command that succeeded.
    pub(crate) fn success(self) -> Result<String> {
        let Self { status, stdout, stderr } = self;
        if status != 0 {
            let said = if stderr.is_empty() { &stdout } else { &stderr };
            bail!("exit status {status}: {}", said.trim_end());
        }
        Ok(stdout)
    }
}
