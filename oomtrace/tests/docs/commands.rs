//! Commands of the documentation: which of them are run, and how the others are held to what there is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command as Process, Output},
};

use clap::{CommandFactory as _, error::ErrorKind};
use serde_json::Value;
use tempfile::TempDir;

use super::blocks::{Command, root};

/// Subcommands that are parsed and not run here, and why.
const PARSED: [(&str, &str); 8] = [
    ("run", "it traces, with privileges, until it is interrupted: the kernel tests do"),
    ("doctor", "what it says is this machine's: the kernel tests and the lab run it"),
    ("node", "the same; tests/node runs it on captured nodes"),
    ("memory", "the same"),
    ("pods", "the same"),
    ("collect", "it reads this machine's logs: the lab runs it"),
    ("healthy", "it needs a running oomtrace: the kernel tests run it"),
    ("leak", "it takes memory: tests/leak.rs runs it"),
];

/// Words of commands that would be run, but for these, and why not.
const NOT_HERE: [(&str, &str); 4] = [
    ("-", "its input is another command's output"),
    ("shop/cart-0", "a pod of the reader's cluster"),
    ("node.tar.gz", "what `oomtrace collect` wrote on a node"),
    ("team-*", "without files it reads this machine's logs"),
];

/// Programs that are not ours, whose options nothing here parses, and why they are not run.
const OTHERS: [(&str, &str); 14] = [
    ("kubectl", "it needs a cluster: `cargo xtask manifests` renders the overlays, the lab applies them"),
    ("helm", "the same; the chart's values are checked here"),
    ("cargo", "xtask's own tests parse its commands"),
    ("apt", "it installs: xtask's tests of the Debian package do, into a folder"),
    ("systemctl", "it starts services: the kernel tests start the unit"),
    ("journalctl", "it reads this machine's journal"),
    ("tar", "it unpacks a release, which is not built here"),
    ("install", "it installs what a release has, which is not built here"),
    ("skopeo", "it pushes to a registry"),
    ("ctr", "it needs containerd: the kernel tests import the image"),
    ("jq", "`cargo xtask manifests` runs the same queries"),
    ("duckdb", "the same"),
    ("clickhouse-client", "the same, in ClickHouse as a library"),
    ("grep", "it reads another command's output"),
];

/// Files that `cargo xtask release` makes.
const RELEASED: [&str; 7] = [
    "oomtrace-VERSION-x86_64-unknown-linux-gnu.tar.gz",
    "oomtrace_VERSION_amd64.deb",
    "oomtrace-VERSION-1.x86_64.rpm",
    "oomtrace-VERSION-image.tar",
    "oomtrace-VERSION.tgz",
    "oomtrace-VERSION.yaml",
    "docker://REGISTRY/oomtrace:VERSION",
];

/// What the documentation's files are called, and which captures of a real node they are.
const SAMPLES: [(&str, &str); 6] = [
    ("dmesg.txt", "kernel-log/oomkill.dmesg-T.txt"),
    ("kubelet.log", "oomkill-1.36-systemd/kubelet.log.zst"),
    ("pods.json", "oomkill-1.36-systemd/pods.json.zst"),
    ("metrics.txt", "evict-1.36-systemd/metrics-evict.txt"),
    ("node1.jsonl", "live/oomkill.jsonl.zst"),
    ("node2.jsonl", "live/n-podlevel.jsonl.zst"),
];

/// A folder with the files that the documentation reads.
pub(super) struct Samples(TempDir);

impl Samples {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        for (name, capture) in SAMPLES {
            fs::write(folder.path().join(name), fs::read(data.join(capture)).expect("a capture")).expect("a copy");
        }
        Self(folder)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs oomtrace among them, in an environment that is the same everywhere.
    pub(super) fn run(&self, arguments: &[String]) -> Output {
        self.process().args(arguments).output().expect("oomtrace starts")
    }

    pub(super) fn process(&self) -> Process {
        let mut process = Process::new(env!("CARGO_BIN_EXE_oomtrace"));
        process.current_dir(self.0.path()).env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        // On a node with pods it would add that node's figures.
        process.env("OOMTRACE_EXPLAIN_NO_NODE", "true");
        process
    }
}

/// The subcommand of a command of oomtrace's.
fn subcommand(command: &Command) -> Option<&str> {
    let mut words = command.words.iter().map(String::as_str);
    let program = words.next()?.rsplit('/').next();
    (program == Some("oomtrace")).then(|| words.next().filter(|word| !word.starts_with('-')).unwrap_or("run"))
}

/// Why a command of oomtrace's is only parsed.
fn reason(command: &Command) -> Option<&'static str> {
    let subcommand = subcommand(command)?;
    let not_here = NOT_HERE.iter().find(|(word, _)| command.words.iter().any(|other| other == word));
    let parsed = PARSED.iter().find(|(name, _)| *name == subcommand).filter(|_| !is_help(command));
    parsed.or(not_here).map(|(_, reason)| *reason).or_else(|| {
        let alone = subcommand == "timeline" && command.words.len() == 2;
        alone.then_some("without files it reads this machine's logs")
    })
}

fn is_help(command: &Command) -> bool {
    command.words.iter().any(|word| word == "--help")
}

/// Whether it is one of oomtrace's that needs neither privileges nor anything that is not here.
pub(super) fn is_to_run(command: &Command) -> bool {
    subcommand(command).is_some() && reason(command).is_none()
}

/// What is wrong with a command, if anything is.
pub(super) fn wrong(command: &Command) -> Option<String> {
    let words: Vec<_> = command.words.iter().map(String::as_str).collect();
    let line = words.join(" ");
    if subcommand(command).is_some() {
        return refused(command).or_else(|| {
            let lacks = is_to_run(command).then(|| unknown_file(&words)).flatten()?;
            Some(format!("`{line}`: there is no {lacks} among the samples, and no reason for that"))
        });
    }
    let program = words.first().copied().unwrap_or_default();
    if !OTHERS.iter().any(|(name, _)| *name == program) {
        return Some(format!("`{line}`: nothing says how `{program}` is checked"));
    }
    // `kubectl exec … -- oomtrace doctor`
    let inner = words.iter().position(|word| *word == "--").map(|at| &command.words[at + 1..]);
    if let Some(error) = inner.filter(|inner| inner.first().is_some_and(|first| first == "oomtrace")).and_then(refusal)
    {
        return Some(format!("`{line}`: {error}"));
    }
    let no_file = words.iter().find(|word| word.starts_with("deploy/") && !root().join(word).exists());
    let not_released = || {
        words.iter().find(|word| {
            word.contains("VERSION")
                && !RELEASED.contains(&word.trim_start_matches("./").trim_start_matches("oci-archive:"))
        })
    };
    if let Some(file) = no_file.or_else(not_released) {
        return Some(format!("`{line}`: there is no {file}"));
    }
    let key = (program == "helm").then(|| unknown_value(&words)).flatten()?;
    Some(format!("`{line}`: the chart has no value {key}"))
}

/// What oomtrace's own command line says against a command, with the command.
pub(super) fn refused(command: &Command) -> Option<String> {
    refusal(&command.words).map(|error| format!("`{}`: {error}", command.words.join(" ")))
}

/// What oomtrace's own command line says against these words.
fn refusal(words: &[String]) -> Option<clap::Error> {
    let error = oomtrace::cli::Cli::command().try_get_matches_from(words).err()?;
    let is_fine = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    (!is_fine).then_some(error)
}

/// A file that would be read, and is no sample.
fn unknown_file<'a>(words: &[&'a str]) -> Option<&'a str> {
    let is_file =
        |word: &&&str| word.rsplit_once('.').is_some_and(|(_, extension)| extension.chars().all(char::is_alphabetic));
    let files = words.iter().skip(2).filter(|word| !word.starts_with('-')).filter(is_file);
    files.copied().find(|file| !SAMPLES.iter().any(|(name, _)| name == file))
}

/// A value that is set and that the chart does not have.
fn unknown_value<'a>(words: &[&'a str]) -> Option<&'a str> {
    let values = fs::read_to_string(root().join("deploy/helm/oomtrace/values.yaml")).expect("the chart's values");
    let values: Value = serde_yaml_ng::from_str(&values).expect("YAML");
    let set = words.iter().zip(words.iter().skip(1)).filter(|(option, _)| **option == "--set");
    let mut keys = set.filter_map(|(_, value)| value.split_once('=')).map(|(key, _)| key);
    keys.find(|key| key.split('.').try_fold(&values, |values, part| values.get(part)).is_none())
}

/// Fails where a reason is there for nothing that is said any more.
pub(super) fn every_reason_is_used(commands: &[Command]) {
    for (name, _) in PARSED {
        assert!(commands.iter().any(|command| subcommand(command) == Some(name)), "no command of `oomtrace {name}`");
    }
    for (word, _) in NOT_HERE {
        let has = |command: &&Command| subcommand(command).is_some() && command.words.iter().any(|other| other == word);
        assert!(commands.iter().any(|command| has(&command)), "no command of oomtrace's with `{word}`");
    }
    for (program, _) in OTHERS {
        assert!(commands.iter().any(|command| command.words[0] == program), "no command of `{program}`");
    }
    assert!(commands.iter().any(|command| command.piped), "no command reads another's output");
}

#[test]
fn a_command_that_there_is_not_is_found() {
    let said = |line: &str| super::commands_of(line).iter().filter_map(wrong).collect::<Vec<_>>().join("\n");
    assert_eq!(said("sudo oomtrace node --watch && oomtrace timeline dmesg.txt > x.html  # fine"), "");
    assert!(said("oomtrace node --wacth").contains("unexpected argument '--wacth'"));
    assert!(said("oomtrace nodes").contains("unrecognized subcommand"));
    assert!(said("kubectl exec x -- oomtrace doctr").contains("doctr"));
    assert!(said("kubectl apply -k deploy/kustomize/overlays/none").contains("there is no deploy/"));
    assert!(said("helm install a oomtrace-VERSION.tgz --set metric.enabled=true").contains("no value metric.enabled"));
    assert!(said("tar -xzf oomtrace-VERSION-riscv.tar.gz").contains("there is no oomtrace-VERSION-riscv"));
    assert!(said("oomtrace timeline other.txt").contains("no other.txt among the samples"));
    assert!(said("curl x | sh").contains("how `curl` is checked"));
}
