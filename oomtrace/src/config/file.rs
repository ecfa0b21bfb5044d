//! The TOML file, with the line that each key stands on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{Error, Origin};

/// A file's keys, in no order.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) keys: Vec<Key>,
}

/// A key, and what stands behind it.
#[derive(Debug)]
pub(super) struct Key {
    /// The table it is in: a subcommand's name, or nothing.
    pub(super) section: String,
    pub(super) name: String,
    pub(super) value: Found,
    pub(super) origin: Origin,
}

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Switch(bool),
    Integer(String),
    Text(String),
    Many(Vec<Found>),
    /// Something that no option takes, by its name.
    Other(&'static str),
}

impl Found {
    /// Of a table without keys.
    pub(super) const EMPTY_TABLE: Self = Self::Other("an empty table");
}

impl File {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|error| Error::Read { path: path.to_path_buf(), error })?;
        Self::parse(&text, path)
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let table = DeTable::parse(text)
            .map_err(|error| Error::Syntax { path: path.to_path_buf(), error: error.to_string().trim().to_owned() })?;
        let mut file = Self::default();
        let origin = |at: usize| Origin::File(PathBuf::from(path), line(text, at));
        for (key, value) in table.get_ref() {
            let (name, at) = (key.get_ref().to_string(), key.span().start);
            if let DeValue::Table(table) = value.get_ref() {
                for (key, value) in table {
                    file.keys.push(Key {
                        section: name.clone(),
                        name: key.get_ref().to_string(),
                        value: found(value.get_ref()),
                        origin: origin(key.span().start),
                    });
                }
                // That there is no such subcommand is to be said of an empty table, too.
                if table.is_empty() {
                    let (section, value) = (name, Found::EMPTY_TABLE);
                    file.keys.push(Key { section, name: String::new(), value, origin: origin(at) });
                }
            } else {
                let value = found(value.get_ref());
                file.keys.push(Key { section: String::new(), name, value, origin: origin(at) });
            }
        }
        Ok(file)
    }
}

fn line(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

fn found(value: &DeValue<'_>) -> Found {
    match value {
        DeValue::Boolean(on) => Found::Switch(*on),
        DeValue::Integer(number) if number.radix() == 10 => Found::Integer(number.as_str().replace('_', "")),
        DeValue::String(text) => Found::Text(text.to_string()),
        DeValue::Array(many) => Found::Many(many.iter().map(|one| found(one.get_ref())).collect()),
        other => Found::Other(other.type_str()),
    }
}
