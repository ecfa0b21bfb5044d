//! GitHub's workflows, judged by actionlint and by a rule of our own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{setup, tool};

/// Each workflow, and what is to be said against it.
pub(super) fn complaints() -> Result<Vec<(String, Vec<String>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".github").join("workflows");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    files.iter().map(|file| of_file(file)).collect()
}

fn of_file(file: &Path) -> Result<(String, Vec<String>)> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut complaints = unpinned(&text);
    // Without shellcheck and pyflakes, which would depend on what this machine has.
    let mut lint = Command::new(setup::actionlint()?);
    lint.args(["-no-color", "-oneline", "-shellcheck=", "-pyflakes="]).arg(file);
    let refusal = tool::output(&mut lint).err().map(|error| format!("{error:#}"));
    complaints.extend(refusal.iter().flat_map(|said| said.lines()).map(str::to_owned));
    Ok((name, complaints))
}

/// The actions that are not named by a commit: a tag can be moved to other code, which would sign what it likes.
fn unpinned(workflow: &str) -> Vec<String> {
    let actions = workflow.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("uses: "));
    let is_pinned = |action: &str| {
        let commit = action.split(' ').next().and_then(|action| action.split_once('@'));
        commit.is_some_and(|(_, commit)| commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    actions.filter(|action| !is_pinned(action)).map(|action| format!("{action} is not pinned to a commit")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_pinned_to_a_commit() {
        let pinned =
            "    - uses: a/b@0123456789abcdef0123456789abcdef01234567 # v1\n      uses: a/b@v1\n    - uses: a/b\n";
        assert_eq!(unpinned(pinned), ["a/b@v1 is not pinned to a commit", "a/b is not pinned to a commit"]);
    }
}
