//! Which captures there are, and with which arguments `oomtrace timeline` reads them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tempfile::TempDir;

/// Captures that are read together: what they are called, and the arguments.
const TOGETHER: [(&str, &[&str]); 7] = [
    (
        "together/evict-1.20",
        &[
            "evict-1.20-systemd/kubelet.log.zst",
            "evict-1.20-systemd/pods.json.zst",
            "evict-1.20-systemd/events.json.zst",
            "evict-1.20-systemd/cri.json.zst",
            "evict-1.20-systemd/metrics-evict.txt",
        ],
    ),
    (
        "together/evict-1.36",
        &[
            "evict-1.36-systemd/kubelet.log.zst",
            "evict-1.36-systemd/pods.json.zst",
            "evict-1.36-systemd/events.json.zst",
            "evict-1.36-systemd/cri.json.zst",
            "evict-1.36-systemd/metrics-evict.txt",
        ],
    ),
    (
        "together/oomkill-1.36",
        &[
            "--kernel-log",
            "kernel-log/oomkill.kmsg",
            "--kubelet-log",
            "oomkill-1.36-systemd/kubelet.log.zst",
            "--pods",
            "oomkill-1.36-systemd/pods-mid.json.zst",
            "oomkill-1.36-systemd/pods.json.zst",
            "oomkill-1.36-systemd/cri.json.zst",
        ],
    ),
    (
        "together/oomkill-1.36-without-pods",
        &["kernel-log/oomkill.dmesg-T.txt", "oomkill-1.36-systemd/kubelet.journal-short.log.zst"],
    ),
    ("together/recording-full", &["--events", "live/n-crash.jsonl.zst", "--full"]),
    ("together/recording-summary", &["--events", "live/n-churn.jsonl.zst", "--summary"]),
    ("together/two-recordings", &["--events", "live/oomkill.jsonl.zst", "live/n-podlevel.jsonl.zst"]),
];

/// Files and folders beside the captures that are none.
const NO_CAPTURES: [&str; 6] =
    ["truth.json", "expect.json", "cgroup_paths.tsv", "tracepoint-formats", "judge.py", "node-states"];

/// When every input was written last, seconds since 1970: times without a year are of the one before.
const WRITTEN: u64 = 1_796_083_200;

/// No input is larger.
const LARGEST: u64 = 8 << 20;

/// One call of `oomtrace timeline`.
pub(crate) struct Case {
    /// What it is called; also its file's path.
    pub(crate) name: String,
    /// The folder that paths are relative to, below that of all inputs.
    pub(crate) folder: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// A copy of a folder whose files all have the same time.
pub(crate) fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().expect("a folder");
    for file in files(from) {
        let copy = to.path().join(relative(&file, from));
        fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        // A copy has the original's permissions, which may be for reading alone.
        fs::write(&copy, fs::read(&file).expect("a capture")).expect("a copy");
        let written: SystemTime = UNIX_EPOCH + Duration::from_secs(WRITTEN);
        File::options().append(true).open(&copy).and_then(|copy| copy.set_modified(written)).expect("a time");
    }
    to
}

/// Each file by itself; a folder with `expect.json` as it says; and files whose names begin alike (`NAME.kmsg`, `NAME.kubelet.log`)
/// together.
pub(crate) fn of(inputs: &Path) -> Vec<Case> {
    let files = files(inputs);
    let mut cases = Vec::new();
    let described: Vec<_> =
        files.iter().filter(|file| file.ends_with("expect.json")).filter_map(|file| file.parent()).collect();
    for folder in &described {
        let text = fs::read(folder.join("expect.json")).expect("a description");
        let description: Value = serde_json::from_slice(&text).expect("JSON");
        let arguments = description["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let folder = PathBuf::from(relative(folder, inputs));
        let name = folder.to_str().expect("UTF-8").to_owned();
        cases.push(Case { name, folder, arguments: arguments.map(ToOwned::to_owned).collect() });
    }
    let alone: Vec<&str> = files
        .iter()
        .filter(|file| !described.iter().any(|folder| file.starts_with(folder)))
        .filter(|file| fs::metadata(file).is_ok_and(|metadata| metadata.len() < LARGEST))
        .map(|file| relative(file, inputs))
        .filter(|file| !Path::new(file).iter().any(|part| NO_CAPTURES.iter().any(|other| part == OsStr::new(other))))
        .collect();
    cases.extend(alone.iter().map(|file| Case::at_the_top(file, &[file])));
    let alike = |one: &&str, other: &&str| stem(one).is_some() && stem(one) == stem(other);
    let together = alone.chunk_by(alike).filter(|files| files.len() > 1);
    cases.extend(together.filter_map(|files| Some(Case::at_the_top(&stem(files[0])?, files))));
    cases
}

/// `live/oomkill` of `live/oomkill.kubelet.log.zst`. What is before the first dot of a version is no name.
fn stem(file: &str) -> Option<String> {
    let (folder, name) = file.rsplit_once('/')?;
    let (stem, _) = name.split_once('.')?;
    stem.contains(char::is_alphabetic).then(|| format!("{folder}/{stem}"))
}

/// Those that are listed above.
pub(crate) fn together() -> Vec<Case> {
    TOGETHER.iter().map(|(name, arguments)| Case::at_the_top(name, arguments)).collect()
}

/// All files of each folder that holds nothing but files.
pub(crate) fn whole_folders(inputs: &Path) -> Vec<Case> {
    let files = files(inputs);
    let alike = |one: &PathBuf, other: &PathBuf| one.parent() == other.parent();
    let folders = files.chunk_by(alike).filter(|files| files.len() > 1);
    let cases = folders.filter_map(|files| {
        let folder = relative(files[0].parent()?, inputs);
        let files: Vec<_> = files.iter().map(|file| relative(file, inputs)).collect();
        Some(Case::at_the_top(&format!("{folder}/all"), &files))
    });
    cases.collect()
}

/// All files below a folder, in order.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn relative<'a>(file: &'a Path, folder: &Path) -> &'a str {
    file.strip_prefix(folder).expect("it is in the folder").to_str().expect("UTF-8")
}

impl Case {
    fn at_the_top(name: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { name: name.to_owned(), folder: PathBuf::new(), arguments }
    }
}
