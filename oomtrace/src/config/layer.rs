//! One place that options come from, read against the options that there are.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{Arg, Command};

use super::{
    Error, Origin, UNCONFIGURED,
    file::{File, Found, Key},
    value,
};

/// So alike a name and an option have to be for one to be meant by the other: `strsim::jaro_winkler`, 1 for the same.
pub(super) const ALIKE: f64 = 0.7;
/// The same for variables, whose prefix Kubernetes uses for a service of the same name, too (`OOMTRACE_SERVICE_HOST`).
const VERY_ALIKE: f64 = 0.95;

/// What is said of an option.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) values: Vec<OsString>,
    pub(super) origin: Origin,
}

/// All that one place says.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// By section and key.
    entries: BTreeMap<(String, String), Entry>,
    pub(super) warnings: Vec<String>,
}

/// An option's name in a file, if it may stand there.
pub(super) fn key(arg: &Arg) -> Option<&str> {
    arg.get_long().filter(|long| !["help", "version", super::CONFIG].contains(long))
}

/// The section of a subcommand: those that do what `run` does have none.
pub(super) fn section(subcommand: Option<&str>) -> &str {
    subcommand.filter(|name| !["run", "config"].contains(name)).unwrap_or_default()
}

/// Every option, by its section and key.
fn options(root: &Command) -> impl Iterator<Item = (&str, &str, &Arg)> {
    let subcommands = root.get_subcommands().filter(|subcommand| {
        !UNCONFIGURED.contains(&subcommand.get_name()) && !section(Some(subcommand.get_name())).is_empty()
    });
    let sections = subcommands.map(|subcommand| (subcommand.get_name(), subcommand)).chain([("", root)]);
    sections
        .flat_map(|(section, command)| command.get_arguments().filter_map(move |arg| Some((section, key(arg)?, arg))))
}

/// An option's variable.
pub(super) fn variable(section: &str, key: &str) -> String {
    let separator = if section.is_empty() { "" } else { "_" };
    format!("OOMTRACE_{section}{separator}{key}").replace('-', "_").to_ascii_uppercase()
}

/// Whether Kubernetes sets a variable for a service that is called `oomtrace`.
fn is_of_a_service(variable: &str) -> bool {
    let behind = variable.strip_prefix("OOMTRACE_").unwrap_or_default();
    behind == "PORT" || ["PORT_", "SERVICE_"].iter().any(|begin| behind.starts_with(begin))
}

/// The name that is most like another one, if any is so alike that it may be meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>, alike: f64) -> Option<&'a str> {
    let rated = known.map(|known| (strsim::jaro_winkler(name, known), known)).filter(|(score, _)| *score >= alike);
    rated.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

impl Layer {
    /// What a section says of a key.
    pub(super) fn entry(&self, section: &str, key: &str) -> Option<&Entry> {
        self.entries.get(&(section.to_owned(), key.to_owned()))
    }

    /// The variables that are meant for options; an empty one is as good as none.
    pub(super) fn of_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        root: &Command,
    ) -> Result<Self, Error> {
        let mut layer = Self::default();
        let known: BTreeMap<String, _> =
            options(root).map(|(section, key, arg)| (variable(section, key), (section, key, arg))).collect();
        for (name, text) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with("OOMTRACE_") && !text.is_empty()) else {
                continue;
            };
            if let Some((section, key, arg)) = known.get(name) {
                let origin = Origin::Variable(name.to_owned());
                let values = value::from_variable(arg, &text).map_err(|problem| Error::Value {
                    at: origin.clone(),
                    key: (*key).to_owned(),
                    problem,
                })?;
                layer.entries.insert(((*section).to_owned(), (*key).to_owned()), Entry { values, origin });
            } else if name != variable("", super::CONFIG)
                && !is_of_a_service(name)
                && let Some(nearest) = nearest(name, known.keys().map(String::as_str), VERY_ALIKE)
            {
                layer.warnings.push(format!("{name} in the environment is no option; is {nearest} meant?"));
            }
        }
        Ok(layer)
    }

    /// The file's keys, each of which has to be an option.
    pub(super) fn of_file(file: File, root: &Command) -> Result<Self, Error> {
        let mut layer = Self::default();
        for Key { section, name, value, origin } in file.keys {
            // A table with nothing in it says nothing, as long as there is such a table.
            if name.is_empty() && value == Found::EMPTY_TABLE && options(root).any(|(of, ..)| of == section) {
                continue;
            }
            let Some((_, key, arg)) = options(root).find(|(of, key, _)| *of == section && *key == name) else {
                return Err(unknown(&section, &name, origin, root));
            };
            let values = value::from_file(arg, &value).map_err(|problem| Error::Value {
                at: origin.clone(),
                key: key.to_owned(),
                problem,
            })?;
            layer.entries.insert((section, name), Entry { values, origin });
        }
        Ok(layer)
    }
}

fn unknown(section: &str, name: &str, at: Origin, root: &Command) -> Error {
    let dashed = name.replace('_', "-");
    let is_section = options(root).any(|(of, ..)| of == section);
    let (key, nearest) = if is_section {
        let keys = options(root).filter(|(of, ..)| *of == section).map(|(_, key, _)| key);
        let shown = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        (shown, nearest(&dashed, keys, ALIKE))
    } else {
        (format!("[{section}]"), nearest(section, options(root).map(|(of, ..)| of), ALIKE))
    };
    Error::Unknown { at, key, nearest: nearest.map(ToOwned::to_owned) }
}
