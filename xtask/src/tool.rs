//! Runs the programs of this machine (`cargo`, `apt-get`, `dpkg-deb`, …) and says, when one fails, which one, what it
//! said, and what to do where it is missing.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::ErrorKind,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The `cargo` that runs us, so that everything is built by one toolchain.
///
/// Without what cargo told us of our own package: there are build scripts that ask for that (`ring`'s does), so that what one
/// cargo has built, the other builds again.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_a_package(name)) {
        cargo.env_remove(name);
    }
    cargo
}

/// Whether a variable is one that cargo sets for a package's programs, and not one that a person sets for cargo.
fn is_of_a_package(variable: &OsStr) -> bool {
    variable.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

/// Runs a command whose output is for the person watching.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().or_else(|error| bail!(not_started(command, &error)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command whose output is for us, and gives what it wrote to its standard output. What it said on standard
/// error is shown only if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    output_of(command, Stdio::null())
}

/// The same of a command that reads this.
pub(crate) fn output_of(command: &mut Command, input: impl Into<Stdio>) -> Result<String> {
    let output = command.stdin(input).output().or_else(|error| bail!(not_started(command, &error)))?;
    let Output { status, stdout, stderr } = output;
    if !status.success() {
        let said = String::from_utf8_lossy(if stderr.is_empty() { &stdout } else { &stderr });
        bail!("`{}` failed: {status}\n{}", line(command), said.trim_end());
    }
    String::from_utf8(stdout).with_context(|| format!("`{}` did not print UTF-8", line(command)))
}

/// The command as a person would type it, near enough to try it by hand.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    if error.kind() != ErrorKind::NotFound {
        return format!("cannot run `{program}`: {error}");
    }
    let remedy = match &*program {
        "apt-get" | "apt-cache" => "install apt: it fetches QEMU and the test kernels (no root needed)",
        "dpkg" | "dpkg-deb" => "install dpkg: it unpacks QEMU and the test kernels (no root needed)",
        "python3" => "install Python with pip: it brings kubectl and helm, and judges the manifests",
        "strip" => "install binutils: it makes programs small enough for a guest",
        "rustc" | "rustup" | "cargo" => "install Rust with rustup",
        _ => "install it, or put it on the PATH",
    };
    format!("`{program}` is not on the PATH, and `{}` needs it: {remedy}", line(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cargo_of_ours_builds_as_one_that_a_person_starts() {
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo runs this test");
        let cargo = cargo();
        let removed = |name: &str| cargo.get_envs().any(|(variable, value)| variable == name && value.is_none());
        assert!(removed("CARGO_MANIFEST_DIR") && removed("CARGO_PKG_NAME"));
        assert!(!removed("CARGO_HOME") && !removed("CARGO"));
    }

    #[test]
    fn a_missing_program_is_named_with_its_remedy() {
        let error = output(Command::new("dpkg-deb").env("PATH", "/nowhere").arg("--version"))
            .expect_err("it fails")
            .to_string();
        assert!(error.contains("`dpkg-deb` is not on the PATH"), "{error}");
        assert!(error.contains("install dpkg"), "{error}");
    }

    #[test]
    fn a_failing_program_is_quoted_with_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]))
            .expect_err("it fails")
            .to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("no such thing"), "{error}");
    }
}
