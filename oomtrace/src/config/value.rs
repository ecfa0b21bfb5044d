//! Values on their way from a variable or a file to an option.

use std::{
    any::TypeId,
    error::Error as _,
    ffi::{OsStr, OsString},
};

use clap::{
    Arg, ArgAction, Command,
    error::{ContextKind, ContextValue},
};

use super::file::Found;
use crate::{leak::Size, sink::Output};

/// Whether an option takes no value.
pub(super) fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Whether it may be given several times, or takes several values.
fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_num_args().is_some_and(|number| number.max_values() > 1)
}

/// Whether its value is a number.
fn is_number(arg: &Arg) -> bool {
    let of = arg.get_value_parser().type_id();
    [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()].iter().any(|id| of == *id)
}

/// Whether a number may stand for it as well as text.
fn is_size(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<Size>()
}

/// The values in a variable; an error says what it has to be.
pub(super) fn from_variable(arg: &Arg, text: &OsStr) -> Result<Vec<OsString>, String> {
    if is_switch(arg) {
        let on = match text.to_string_lossy().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => "true",
            "false" | "0" | "no" | "off" => "false",
            _ => return Err("it has to be true or false".to_owned()),
        };
        return Ok(vec![on.into()]);
    }
    let values = match text.to_str() {
        Some(text) if takes_many(arg) => split(text),
        _ => vec![text.to_owned()],
    };
    checked(arg, values)
}

/// The values between commas, but for commas within one: of `jsonl:FILE,only=incident` the part behind the comma is no value.
fn split(text: &str) -> Vec<OsString> {
    let mut values: Vec<OsString> = Vec::new();
    for part in text.split(',') {
        match values.last_mut().filter(|_| part.starts_with(Output::ONLY)) {
            Some(value) => {
                value.push(",");
                value.push(part);
            }
            None => values.push(part.into()),
        }
    }
    values
}

/// The values in a file; an error says what it has to be.
pub(super) fn from_file(arg: &Arg, found: &Found) -> Result<Vec<OsString>, String> {
    let values = match found {
        Found::Switch(on) if is_switch(arg) => return Ok(vec![on.to_string().into()]),
        Found::Many(many) if takes_many(arg) => {
            many.iter().map(|one| single(arg, one)).collect::<Result<Vec<_>, _>>()?
        }
        one => vec![single(arg, one)?],
    };
    checked(arg, values)
}

fn single(arg: &Arg, found: &Found) -> Result<OsString, String> {
    match found {
        Found::Integer(number) if is_number(arg) || is_size(arg) => Ok(number.into()),
        Found::Text(text) if !is_number(arg) && !is_switch(arg) => Ok(text.into()),
        other => {
            let wants = if is_switch(arg) {
                "true or false"
            } else if is_number(arg) {
                "a number without quotes"
            } else if takes_many(arg) {
                "text in quotes, or a list of such"
            } else {
                "text in quotes"
            };
            let is = match other {
                Found::Switch(_) => "a boolean",
                Found::Integer(_) => "a number",
                Found::Text(_) => "text",
                Found::Many(_) => "a list",
                Found::Other(name) => name,
            };
            Err(format!("it has to be {wants}, and is {is}"))
        }
    }
}

/// Checks values as clap will: it would take a wrong default for a mistake of the program.
fn checked(arg: &Arg, values: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let probe = Arg::new("value")
        .required(true)
        .action(ArgAction::Append)
        .num_args(1)
        .allow_hyphen_values(true)
        .value_parser(arg.get_value_parser().clone());
    let parsed = Command::new("value").no_binary_name(true).arg(probe.long("value")).try_get_matches_from(
        values.iter().map(|value| {
            let mut argument = OsString::from("--value=");
            argument.push(value);
            argument
        }),
    );
    let Err(error) = parsed else { return Ok(values) };
    let shown: Vec<_> = values.iter().map(|value| format!("{:?}", value.to_string_lossy())).collect();
    let reason = match (error.get(ContextKind::ValidValue), error.source()) {
        (Some(ContextValue::Strings(valid)), _) if !valid.is_empty() => format!("it has to be {}", valid.join(", ")),
        (_, Some(source)) => source.to_string(),
        _ => "it is not a value for this".to_owned(),
    };
    Err(format!("{}: {reason}", shown.join(", ")))
}

/// An option's values as TOML.
#[must_use]
pub fn toml_value<'a>(arg: &Arg, values: impl IntoIterator<Item = &'a OsStr>) -> String {
    let bare = is_switch(arg) || is_number(arg);
    // JSON's strings are TOML's, but for DEL.
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f");
    let mut values = values.into_iter().map(|value| {
        let text = value.to_string_lossy();
        if bare { text.into_owned() } else { quoted(&text) }
    });
    if takes_many(arg) {
        format!("[{}]", values.collect::<Vec<_>>().join(", "))
    } else {
        values.next().unwrap_or_default()
    }
}
