//! A field of a journal entry as `journalctl -o json` prints it (systemd.journal-fields(7)).

use std::borrow::Cow;

use serde::Deserialize;

/// A field's value: text, or bytes where it is not all printable; more than one where the field was given twice.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Field {
    Text(String),
    Bytes(Vec<u8>),
    Many(Vec<Field>),
}

impl Field {
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(bytes)),
            Self::Many(fields) => fields.first()?.text(),
        }
    }

    pub(crate) fn is(&self, wanted: &str) -> bool {
        self.text().is_some_and(|text| text == wanted)
    }

    pub(crate) fn micros(&self) -> Option<u64> {
        self.text()?.parse().ok()
    }
}
