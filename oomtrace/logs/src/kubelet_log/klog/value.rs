//! The value of a key, in whichever way this klog writes it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value as Json;

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text without its quotes, or a number.
    Text(Cow<'a, str>),
    /// Something in brackets, as it was written: JSON since klog 2.100, Go's `%+v` before.
    Raw(&'a str),
    /// What a JSON log has: an array or an object.
    Json(&'a Json),
}

impl<'a> Value<'a> {
    pub(super) fn of(json: &'a Json) -> Self {
        match json {
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Number(number) => Self::Text(Cow::Owned(number.to_string())),
            Json::Bool(value) => Self::Text(Cow::Borrowed(if *value { "true" } else { "false" })),
            json => Self::Json(json),
        }
    }

    /// The text; of what is in brackets, as it was written.
    #[must_use]
    pub fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Raw(text) => Some(Cow::Borrowed(text)),
            Self::Json(_) => None,
        }
    }

    /// The text; of what is in brackets, as it was written.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Raw(text) => Some(Cow::Borrowed(text)),
            Self::Json(_) => None,
        }
    }

    /// The value as JSON, where it is an array or an object that was written so.
    #[must_use]
    pub fn json(&self) -> Option<Cow<'_, Json>> {
        match self {
            Self::Text(text) if text.starts_with(['{', '[']) => serde_json::from_str(text).ok().map(Cow::Owned),
            Self::Text(_) => None,
            Self::Raw(text) => serde_json::from_str(text).ok().map(Cow::Owned),
            Self::Json(json) => Some(Cow::Borrowed(json)),
        }
    }

    /// The value as a type of its own, where it was written as JSON.
    #[must_use]
    pub fn parsed<'v, T: Deserialize<'v>>(&'v self) -> Option<T> {
        match self {
            Self::Text(text) => serde_json::from_str(text).ok(),
            Self::Raw(text) => serde_json::from_str(text).ok(),
            Self::Json(json) => T::deserialize(*json).ok(),
        }
    }

    /// The elements of a list of texts: `["a","b"]`, `[a b]`, `"[a b]"`.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        if let Some(json) = self.json() {
            let elements = json.as_array().map(Vec::as_slice).unwrap_or_default();
            return elements.iter().filter_map(|element| element.as_str().map(str::to_owned)).collect();
        }
        let Some(text) = self.text() else { return Vec::new() };
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
        inner.split_whitespace().map(str::to_owned).collect()
    }

    /// A field of a struct: of `{"ID":"x"}`, of `&{ID:x Type:y}`, of `&pleg.PodLifecycleEvent{ID:"x", Type:"y"}`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        if let Some(json) = self.json() {
            return match json.get(name)? {
                Json::String(text) => Some(text.clone()),
                Json::Number(number) => Some(number.to_string()),
                _ => None,
            };
        }
        go_field(&self.text()?, name)
    }
}

/// A field of a struct as Go prints it for `%+v` and `%#v`. A text that is not quoted ends before the next field's name.
fn go_field(text: &str, name: &str) -> Option<String> {
    let inner = &text[text.find('{')? + 1..];
    let label = format!("{name}:");
    let at = match inner.strip_prefix(&label) {
        Some(_) => 0,
        None => inner.find(&format!(" {label}"))? + 1,
    };
    let value = &inner[at + label.len()..];
    if let Some((quoted, _)) = super::text::unquote(value) {
        return Some(quoted.into_owned());
    }
    let next_field = value
        .match_indices(' ')
        .find(|(at, _)| {
            let word = value[at + 1..].split([' ', '}']).next().unwrap_or_default();
            word.split_once(':').is_some_and(|(name, _)| {
                name.starts_with(|c: char| c.is_ascii_uppercase())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        })
        .map(|(at, _)| at);
    let end = next_field.or_else(|| value.rfind('}')).unwrap_or(value.len());
    Some(value[..end].trim_end_matches(',').to_owned())
}
