//! Options from elsewhere than the command line: `OOMTRACE_*` variables, and below them a TOML file.
//!
//! The one definition of every option is clap's. What is found here becomes the option's default ([`layered`]), so that the
//! command line stays stronger, and clap checks and converts all of it the same. An option of `run` is called the same
//! everywhere: `--ring-size`, `OOMTRACE_RING_SIZE`, `ring-size = 512`; one of another subcommand is `OOMTRACE_PODS_FORMAT`, and
//! in the file in a table of the subcommand's name.

mod file;
mod layer;
mod value;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command, builder::Resettable, parser::ValueSource};

pub use self::value::toml_value;
use self::{
    file::File,
    layer::{Entry, Layer},
};

/// Read where it is there, and no other is named.
pub const DEFAULT_FILE: &str = "/etc/oomtrace/config.toml";
/// The option that names the file: the one that cannot stand in it.
pub const CONFIG: &str = "config";
/// Subcommands that ask the same node as `run`: what both have, they take from `run` where they have none of their own.
const ASK_THE_SAME_NODE: [&str; 8] = ["collect", "doctor", "explain", "healthy", "memory", "node", "pods", "timeline"];
/// Subcommands that work on nothing that could be configured, and whatever is wrong with the file.
const UNCONFIGURED: [&str; 4] = ["schema", "completions", "man", "help"];

/// The name that may be meant by one that is not there.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    layer::nearest(name, known, layer::ALIKE)
}

/// Why options are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{} cannot be read ({error}); --config names another, --config /dev/null none", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not TOML.
    #[error("{}: it is not TOML: {error}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        error: String,
    },
    /// There is no such option.
    #[error("{at}: there is no option `{key}`{}", hint(nearest.as_deref()))]
    Unknown {
        /// File and line.
        at: Origin,
        /// What stands there.
        key: String,
        /// What may be meant.
        nearest: Option<String>,
    },
    /// The value is not one for this option.
    #[error("{at}: `{key}`: {problem}")]
    Value {
        /// The variable, or file and line.
        at: Origin,
        /// The option.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// Two options of the same strength contradict each other.
    #[error("{first} and {second} contradict each other: `{key}` cannot be used with `{other}`")]
    Conflict {
        /// Where the one is from.
        first: Origin,
        /// Where the other is from.
        second: Origin,
        /// The one.
        key: String,
        /// The other.
        other: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; is `{nearest}` meant?")).unwrap_or_default()
}

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This environment variable.
    Variable(String),
    /// This line of this file.
    File(PathBuf, usize),
    /// The program itself.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A command whose defaults are what is configured.
#[derive(Debug)]
pub struct Layered {
    /// The command.
    pub command: Command,
    /// Variables that may be meant for an option, and are none's.
    pub warnings: Vec<String>,
    /// Where each option's default is from, by the option's id, where that is not the program itself.
    origins: BTreeMap<String, Origin>,
}

impl Layered {
    /// Where an option's value is from.
    #[must_use]
    pub fn origin(&self, id: &str, matches: &ArgMatches) -> Origin {
        match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => {
                let arg = self.command.get_subcommands().chain([&self.command]).flat_map(Command::get_arguments);
                let variable = arg.filter(|arg| arg.get_id() == id).find_map(Arg::get_env);
                Origin::Variable(variable.unwrap_or_default().to_string_lossy().into_owned())
            }
            _ => self.origins.get(id).cloned().unwrap_or(Origin::Default),
        }
    }
}

/// Makes what is configured the defaults of the command that `arguments` ask for.
///
/// # Errors
///
/// Fails where a file or a variable cannot be read, or has a value that does not fit.
pub fn layered(
    command: Command,
    arguments: &[OsString],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Layered, Error> {
    layered_over(command, arguments, variables, Path::new(DEFAULT_FILE))
}

fn layered_over(
    command: Command,
    arguments: &[OsString],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    default_file: &Path,
) -> Result<Layered, Error> {
    let mut layered = Layered { command, warnings: Vec::new(), origins: BTreeMap::new() };
    // What is wrong with the arguments, or that they ask for help, is found when they are parsed for good.
    let asked = layered.command.clone().ignore_errors(true).try_get_matches_from(arguments);
    let Ok(asked) = asked else { return Ok(layered) };
    let subcommand = asked.subcommand();
    if subcommand.is_some_and(|(name, _)| UNCONFIGURED.contains(&name)) {
        return Ok(layered);
    }
    let file = match asked.get_one::<PathBuf>(CONFIG) {
        Some(path) => File::read(path)?,
        None if default_file.exists() => File::read(default_file)?,
        None => File::default(),
    };
    let variables = Layer::of_variables(variables, &layered.command)?;
    layered.warnings.clone_from(&variables.warnings);
    let file = Layer::of_file(file, &layered.command)?;

    let (name, matches) = subcommand.map_or((None, &asked), |(name, matches)| (Some(name), matches));
    let target = name.and_then(|name| layered.command.find_subcommand(name)).unwrap_or(&layered.command);
    let by_flag = |id: &str| [&asked, matches].into_iter().any(|matches| is_on_command_line(matches, id));
    let chosen = choose(&layered.command, name, target, by_flag, &[variables, file])?;
    for (id, Entry { values, origin }) in chosen {
        let set = |arg: Arg| arg.default_values(values).env(Resettable::Reset);
        layered.command = match name {
            Some(name) if !is_global(&layered.command, &id) => {
                let set_in = |subcommand: Command| subcommand.mut_arg(&id, set);
                layered.command.mut_subcommand(name, set_in)
            }
            _ => layered.command.mut_arg(&id, set),
        };
        layered.origins.insert(id, origin);
    }
    Ok(layered)
}

/// Whether an option was given, be it one of another command.
fn is_on_command_line(matches: &ArgMatches, id: &str) -> bool {
    // Only those that it has may be asked for by name.
    matches.ids().any(|known| known == id) && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Whether an option of the root command is one of every subcommand.
fn is_global(root: &Command, id: &str) -> bool {
    root.get_arguments().any(|arg| arg.get_id() == id && arg.is_global_set())
}

/// For each option that is not on the command line, its strongest value; none where it contradicts a stronger option.
fn choose(
    root: &Command,
    name: Option<&str>,
    target: &Command,
    by_flag: impl Fn(&str) -> bool,
    layers: &[Layer],
) -> Result<BTreeMap<String, Entry>, Error> {
    let globals = root.get_arguments().filter(|arg| name.is_some() && arg.is_global_set());
    let args: Vec<&Arg> = globals.chain(target.get_arguments()).filter(|arg| layer::key(arg).is_some()).collect();
    // What a weaker option may not contradict.
    let mut stronger: Vec<(&Arg, Origin)> =
        args.iter().filter(|arg| by_flag(arg.get_id().as_str())).map(|arg| (*arg, Origin::Flag)).collect();
    let mut chosen = BTreeMap::new();
    for layer in layers {
        let mut of_layer: Vec<(&Arg, Origin)> = Vec::new();
        for &arg in &args {
            let id = arg.get_id().as_str();
            let Some(entry) = find(layer, root, name, arg) else { continue };
            // A switch that is off contradicts nothing.
            let is_off = value::is_switch(arg) && entry.values.iter().all(|value| value == "false");
            let contradicts = |(other, _): &&(&Arg, Origin)| !is_off && contradict(target, arg, other);
            if by_flag(id) || chosen.contains_key(id) || stronger.iter().any(|other| contradicts(&other)) {
                continue;
            }
            if let Some((other, second)) = of_layer.iter().find(contradicts) {
                let (first, second) = (entry.origin.clone(), second.clone());
                let [key, other] = [arg, *other].map(|arg| arg.get_long().unwrap_or_default().to_owned());
                return Err(Error::Conflict { first, second, key, other });
            }
            if !is_off {
                of_layer.push((arg, entry.origin.clone()));
            }
            chosen.insert(id.to_owned(), entry.clone());
        }
        stronger.extend(of_layer);
    }
    Ok(chosen)
}

/// What a layer has for an option of a subcommand.
fn find<'a>(layer: &'a Layer, root: &Command, name: Option<&str>, arg: &Arg) -> Option<&'a Entry> {
    let key = layer::key(arg)?;
    let section = layer::section(name.filter(|_| !arg.is_global_set()));
    let own = layer.entry(section, key);
    let is_shared = || {
        let of_run = root.get_arguments().find(|of_run| of_run.get_id() == arg.get_id());
        of_run.is_some_and(|of_run| {
            of_run.get_default_values() == arg.get_default_values()
                && of_run.get_value_parser().type_id() == arg.get_value_parser().type_id()
        })
    };
    own.or_else(|| {
        let asks_the_node = name.is_some_and(|name| ASK_THE_SAME_NODE.contains(&name));
        if asks_the_node && is_shared() { layer.entry("", key) } else { None }
    })
}

/// Whether two options cannot be used together; each may be the one that says so.
fn contradict(command: &Command, one: &Arg, other: &Arg) -> bool {
    if one.is_global_set() || other.is_global_set() {
        return false;
    }
    let says = |one, other: &Arg| command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id());
    says(one, other) || says(other, one)
}
