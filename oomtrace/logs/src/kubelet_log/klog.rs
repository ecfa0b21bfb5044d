//! What the kubelet's logger prints (`k8s.io/klog/v2` 2.4 to 2.130), as one message with its keys.
//!
//! | form | kubelet | a line |
//! |---|---|---|
//! | text, structured | 1.21 on | `I1123 23:24:42.998045     440 eviction_manager.go:381] "Eviction manager: …" resourceName="memory"` |
//! | text, printf | 1.20, some to this day | `W1123 23:36:25.040254     439 eviction_manager.go:344] eviction manager: …` |
//! | JSON (`--logging-format=json`) | 1.20 on | `{"ts":1795476961825.0369,"caller":"…","msg":"Eviction manager: …","v":0,"resourceName":"memory"}` |
//!
//! A structured message is quoted as Go quotes strings, and so is the text of a key: whatever a container puts into them
//! (the output of its probe, a termination message) cannot end them, and cannot start a line.

mod json;
mod text;
mod value;

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

pub(super) use self::text::unquote;
pub use self::value::Value;
use crate::envelope::when::Wall;

/// A message of the kubelet.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// How serious it is to the kubelet.
    pub severity: Severity,
    /// When, as written: text has no year and no zone, JSON is an instant to the microsecond. `None` where the head was cut off.
    pub wall: Option<Wall>,
    /// The process id as the kubelet itself sees it; JSON does not tell.
    pub pid: Option<u32>,
    /// The message, without its keys.
    pub text: Cow<'a, str>,
    /// Whether keys can follow it. A printf message has everything in its text.
    pub structured: bool,
    keys: Keys<'a>,
}

/// Where the keys are: they are read when they are asked for.
#[derive(Clone, Debug, PartialEq)]
enum Keys<'a> {
    /// ` key=value key=value`.
    Text(&'a str),
    /// An object's fields.
    Json(Map<String, Json>),
}

/// How serious a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `I`.
    Info,
    /// `W`.
    Warning,
    /// `E`.
    Error,
    /// `F`: the kubelet ends.
    Fatal,
}

impl<'a> Message<'a> {
    /// Reads what klog printed, without whatever a log file puts before it. `None` where it is no message of klog's.
    #[must_use]
    pub fn read(line: &'a str) -> Option<Self> {
        if line.starts_with('{') {
            return json::read(line);
        }
        without_component(line).and_then(text::read).or_else(|| text::read_without_head(line))
    }

    /// The value of a key.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<Value<'_>> {
        match &self.keys {
            Keys::Text(text) => text::key(text, name),
            Keys::Json(object) => object.get(name).map(Value::of),
        }
    }

    /// The text of a key.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<Cow<'_, str>> {
        self.key(name)?.into_text()
    }
}

/// `MicroShift` runs the kubelet beside other components in one process, and writes whose line it is before it: `kubelet
/// I1123 …`, `??? I1123 …` where it does not know (its patch of klog's `internal/buffer/buffer.go`).
fn without_component(line: &str) -> Option<&str> {
    match line.split_once(' ') {
        Some(("kubelet" | "???", rest)) => Some(rest),
        Some((component, _)) if component.starts_with(|c: char| c.is_ascii_lowercase()) => None,
        _ => Some(line),
    }
}
