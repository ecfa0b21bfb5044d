//! A field of a journal entry as `journalctl -o json` prints it (systemd.journal-fields(7)).

use std::str::FromStr;

use serde::Deserialize;

/// A field's value: text, or bytes where it is not all printable; more than one where the field was given twice.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Text(String),
    Bytes(Vec<u8>),
    Many(Vec<Value>),
}

impl Value {
    pub(crate) fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.into_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            Self::Many(values) => values.into_iter().next()?.into_bytes(),
        }
    }

    pub(crate) fn into_text(self) -> Option<String> {
        let bytes = self.into_bytes()?;
        Some(String::from_utf8(bytes).unwrap_or_else(|not| String::from_utf8_lossy(not.as_bytes()).into_owned()))
    }

    pub(crate) fn number<T: FromStr>(self) -> Option<T> {
        self.into_text()?.parse().ok()
    }
}
