//! What oomtrace gives up of its rights once it traces: who takes it over then gets no more than what is left.
//!
//! | measure | what is given up | by |
//! |---|---|---|
//! | `capabilities` | all but those that are needed until the end | each thread |
//! | `no_new_privs` | more rights by running a program | each thread |
//! | `seccomp` | system calls that a tracer never needs once it traces | all threads at once |
//! | `landlock` | writing elsewhere than in the folders of its own files | each thread |
//!
//! Two of these are a thread's own affair, and a thread inherits them from the one that starts it. Threads that are started before
//! the probes are attached, for outputs and figures, need no rights: they begin with [`Confinement::confine_thread`]. The main
//! thread follows with [`Confinement::confine_process`] once everything is open, and all later threads are its children.

mod capabilities;
mod landlock;
mod seccomp;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use strum::VariantArray as _;

pub(crate) use self::{landlock::version as landlock_version, seccomp::is_there as seccomp_is_there};
use crate::{config::nearest, event::Measure};

/// Words that stand for every measure, and for none.
const ALL: &str = "all";
const NONE: &str = "none";

/// Which measures are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures(BTreeSet<Measure>);

impl Measures {
    fn contain(&self, measure: Measure) -> bool {
        self.0.contains(&measure)
    }
}

impl FromStr for Measures {
    type Err = String;

    /// Measures with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            ALL => return Ok(Self(Measure::VARIANTS.iter().copied().collect())),
            NONE => return Ok(Self::default()),
            _ => {}
        }
        let measures = text.split(',').map(str::trim).map(|word| Measure::from_str(word).map_err(|_| unknown(word)));
        measures.collect::<Result<_, _>>().map(Self)
    }
}

/// What to say of a word that is no measure.
fn unknown(word: &str) -> String {
    let names: Vec<&str> = Measure::VARIANTS.iter().map(Into::into).collect();
    let meant = nearest(word, names.iter().copied()).map_or_else(String::new, |name| format!("; is {name} meant?"));
    format!("there is no measure {word:?}{meant}: {ALL}, {NONE}, or of {}", names.join(", "))
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(Into::into).collect::<Vec<&str>>().join(","))
    }
}

/// How a run is to be confined.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// What is wanted.
    pub measures: Measures,
    /// Whether environments of other processes are read, where that may be.
    pub reads_environments: bool,
}

/// What the process is needed for once everything is open.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Folders, and files, that are written to.
    pub writes: Vec<PathBuf>,
    /// Whether maps of the probes are read.
    pub asks_maps: bool,
    /// Whether programs are run: `journalctl`.
    pub runs_programs: bool,
}

/// What was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confined {
    /// By which.
    pub measures: Vec<Measure>,
    /// What could not be, why, and what helps.
    pub lacking: Vec<String>,
}

impl Confined {
    fn note<T>(&mut self, measure: Measure, result: Result<T, String>) -> bool {
        match result {
            Ok(_) => self.measures.push(measure),
            Err(why) => {
                let (name, without) = (<&str>::from(measure), without(measure));
                self.lacking.push(format!("{name} does not confine oomtrace ({why}): {without} (--confine)"));
            }
        }
        self.measures.last() == Some(&measure)
    }
}

/// What an attacker has who takes oomtrace over where a measure is missing.
fn without(measure: Measure) -> &'static str {
    match measure {
        Measure::Capabilities => "who takes it over has the rights that it was started with",
        Measure::NoNewPrivs => "who takes it over may gain rights by running a program",
        Measure::Seccomp => "who takes it over may use every system call",
        Measure::Landlock => "who takes it over may write wherever its user may",
    }
}

impl Confinement {
    /// Confines the calling thread, before it does anything: it may write to nothing but `writes`. What cannot be is said by
    /// [`confine_process`](Self::confine_process), for all.
    pub(crate) fn confine_thread(&self, writes: Option<&Path>) {
        let writes = writes.map(folders_of).unwrap_or_default();
        let confined = self.confine(&Needs { writes, ..Needs::default() });
        tracing::debug!(?confined, "a thread is confined");
    }

    /// Confines the calling thread and those that it will start, and all threads where that is possible.
    #[must_use]
    pub fn confine_process(&self, needs: &Needs) -> Confined {
        let mut confined = self.confine(needs);
        if self.measures.contain(Measure::Seccomp) {
            confined.note(Measure::Seccomp, seccomp::forbid(needs.runs_programs));
        }
        confined.measures.sort_unstable();
        confined
    }

    fn confine(&self, needs: &Needs) -> Confined {
        let mut confined = Confined::default();
        // The kernel asks for it before seccomp and Landlock.
        let no_new_privs = [Measure::NoNewPrivs, Measure::Seccomp, Measure::Landlock];
        if no_new_privs.into_iter().any(|measure| self.measures.contain(measure)) {
            let result = rustix::thread::set_no_new_privs(true);
            confined.note(Measure::NoNewPrivs, result.map_err(|error| error.to_string()));
        }
        let has_landlock = self.measures.contain(Measure::Landlock)
            && confined.note(Measure::Landlock, landlock::forbid_writing_but_to(&needs.writes));
        if self.measures.contain(Measure::Capabilities) {
            // Landlock lets nobody read what only a tracer of that process may.
            let reads_environments = self.reads_environments && needs.asks_maps && !has_landlock;
            let result = capabilities::drop_but_for(needs, reads_environments);
            confined.note(Measure::Capabilities, result.map_err(|error| error.to_string()));
        }
        confined
    }
}

/// Where a file is kept and may be replaced: its folder, that of what a link leads to, and the file itself where it is none,
/// such as a device or a pipe.
pub(crate) fn folders_of(file: &Path) -> Vec<PathBuf> {
    let is_special = fs::metadata(file).is_ok_and(|metadata| !metadata.is_file());
    if is_special {
        return vec![file.to_owned()];
    }
    let folder = |file: &Path| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut folders = vec![folder(file)];
    folders.extend(fs::canonicalize(file).ok().map(|file| folder(&file)));
    folders
}
