//! What `oomtrace timeline` prints of every capture in `tests/data`, byte for byte: `tests/golden/expected` has a file for each,
//! with standard error, text, JSON and HTML, so that a change of any word is seen in a diff.
//!
//! `cargo xtask golden` compares, and with `--bless` writes what is printed now as what is expected. It can also compare captures
//! in a folder outside the project with what an earlier build printed of them.

mod cases;
mod printed;

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    thread,
};

use self::cases::Case;

/// Set to anything: what is printed now becomes what is expected.
const BLESS: &str = "OOMTRACE_GOLDEN_BLESS";
/// A folder of captures outside the project.
const BESIDE: &str = "OOMTRACE_GOLDEN_BESIDE";
/// Where to keep what is printed of the captures in [`BESIDE`].
const STORE: &str = "OOMTRACE_GOLDEN_STORE";

#[test]
fn every_capture_reads_as_it_did() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let inputs = cases::copy(&tests.join("data"));
    let mut cases = cases::of(inputs.path());
    cases.extend(cases::together());
    compare(&cases, inputs.path(), &tests.join("golden/expected"), env::var_os(BLESS).is_some());
}

#[test]
fn captures_outside_the_project_read_as_they_did_before() {
    let (Some(beside), Some(store)) = (env::var_os(BESIDE), env::var_os(STORE).map(PathBuf::from)) else { return };
    let inputs = cases::copy(Path::new(&beside));
    let mut cases = cases::of(inputs.path());
    cases.extend(cases::whole_folders(inputs.path()));
    let first = !store.exists();
    compare(&cases, inputs.path(), &store, first || env::var_os(BLESS).is_some());
}

/// Compares what is printed of each case with what is expected, or writes it there.
fn compare(cases: &[Case], inputs: &Path, expected: &Path, bless: bool) {
    assert!(!cases.is_empty(), "there are no captures");
    let printed = print_all(cases, inputs);
    if bless {
        let _ = fs::remove_dir_all(expected);
    }
    let mut differences = String::new();
    for (case, printed) in cases.iter().zip(&printed) {
        let file = expected.join(format!("{}.txt", case.name));
        if bless {
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(&file, printed).expect("a file");
        } else {
            differences.extend(difference(&file, printed));
        }
    }
    if !bless {
        let known: Vec<_> = cases.iter().map(|case| expected.join(format!("{}.txt", case.name))).collect();
        for file in cases::files(expected).into_iter().filter(|file| !known.contains(file)) {
            let _ = writeln!(differences, "{}: there is no such capture any more", file.display());
        }
    }
    assert!(differences.is_empty(), "{differences}\nif this is as it should be: cargo xtask golden --bless");
}

/// What is printed of each case, several at a time.
fn print_all(cases: &[Case], inputs: &Path) -> Vec<String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = cases.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let print = |cases: &'_ [Case]| cases.iter().map(|case| printed::of(case, inputs)).collect::<Vec<_>>();
        let running: Vec<_> = cases.chunks(share).map(|cases| scope.spawn(move || print(cases))).collect();
        running.into_iter().flat_map(|running| running.join().expect("the thread ends")).collect()
    })
}

/// The first lines that differ, if any do.
fn difference(file: &Path, printed: &str) -> Option<String> {
    let Ok(expected) = fs::read_to_string(file) else {
        return Some(format!("{}: nothing is expected of this capture yet\n", file.display()));
    };
    if expected == printed {
        return None;
    }
    let (expected, printed): (Vec<_>, Vec<_>) = (expected.lines().collect(), printed.lines().collect());
    let same = expected.iter().zip(&printed).take_while(|(expected, printed)| expected == printed).count();
    let line = |lines: &[&str]| lines.get(same).map_or("(the end)", |line| line).to_owned();
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let (old, new) = (line(&expected), line(&printed));
    Some(format!("{name}: line {} differs ({})\n- {old}\n+ {new}\n", same + 1, file.display()))
}
