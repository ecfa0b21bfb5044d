//! What oomtrace writes about itself: the manual's pages, the shells' completions, and a configuration file.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{Kind, read};
use crate::{archive::gzip, tool};

const SHELLS: [&str; 3] = ["bash", "fish", "zsh"];
const HEAD: &str = "# The options of `oomtrace run`, each with its default; oomtrace-run(1) says what they are for. A copy of this\n\
                    # in /etc/oomtrace/config.toml is read.\n";

/// Has a program of the packaged source write them: they tell the options that it has.
pub(super) fn files(oomtrace: &Path) -> Result<Vec<(Kind, Vec<u8>)>> {
    let mut files = manual(oomtrace)?;
    for shell in SHELLS {
        let script = tool::output(command(oomtrace).args(["completions", shell]))?;
        files.push((Kind::Completion(shell), script.into_bytes()));
    }
    let defaults = tool::output(command(oomtrace).args(["config", "--config", "/dev/null"]))?;
    files.push((Kind::Example, example(&defaults)?.into_bytes()));
    Ok(files)
}

/// Compressed, as Debian's policy has it (12.1), and without a date.
fn manual(oomtrace: &Path) -> Result<Vec<(Kind, Vec<u8>)>> {
    let folder = tempfile::tempdir().context("no place for the manual's pages")?;
    tool::output(command(oomtrace).arg("man").arg(folder.path()))?;
    let page = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a page's name is not UTF-8")?;
        Ok((Kind::Manual(name.to_owned()), gzip(&read(&path)?)?))
    };
    fs::read_dir(folder.path())?.map(page).collect()
}

/// A configuration file that changes nothing, of what `oomtrace config` prints: `ring-size = 512  # default`.
fn example(defaults: &str) -> Result<String> {
    let options = defaults.lines().skip_while(|line| line.starts_with("# ") && !line.contains(" is not set"));
    let lines = options.map(|line| match line.split_once("  # ") {
        Some((unset, _)) if unset.starts_with("# ") => Ok(format!("{unset}\n")),
        Some((option, "default")) => Ok(format!("# {option}\n")),
        _ => Err(anyhow::anyhow!("`oomtrace config` printed {line:?} where nothing is configured")),
    });
    let lines = lines.collect::<Result<Vec<_>>>()?;
    ensure!(!lines.is_empty(), "`oomtrace config` printed no options");
    Ok(format!("{HEAD}\n{}", lines.concat()))
}

/// Nothing of this machine's environment, such as an `OOMTRACE_…` variable, gets into the package.
fn command(oomtrace: &Path) -> Command {
    let mut command = Command::new(oomtrace);
    command.env_clear();
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_has_every_option_and_sets_none() -> Result<()> {
        let defaults = "# What goes.\n# More.\n# node-name is not set  # default\nring-size = 512  # default\n";
        assert_eq!(example(defaults)?, format!("{HEAD}\n# node-name is not set\n# ring-size = 512\n"));
        assert!(example("# What goes.\nring-size = 4  # flag\n").is_err(), "a value of this machine");
        assert!(example("# What goes.\n").is_err(), "no options");
        Ok(())
    }
}
