//! klog's JSON form (`component-base/logs/json`, zapr): one object a line, `ts` in milliseconds since the epoch with a
//! fraction, `v` on what is not an error.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::{Keys, Message, Severity};
use crate::envelope::when::Wall;

pub(super) fn read(line: &str) -> Option<Message<'_>> {
    let mut object: Map<String, Json> = serde_json::from_str(line).ok()?;
    let Some(Json::String(mut text)) = object.remove("msg") else { return None };
    // The first of these loggers kept a sentence's line end.
    text.truncate(text.trim_end_matches('\n').len());
    let wall = Some(Wall::Absolute(timestamp(&object.remove("ts")?)?));
    let severity = if object.remove("v").is_some() { Severity::Info } else { Severity::Error };
    // Printf messages come through here too: they have no keys of their own, and their text is all that tells them apart.
    Some(Message { severity, wall, pid: None, text: Cow::Owned(text), structured: true, keys: Keys::Json(object) })
}

/// Milliseconds; a double holds today's to a quarter of a microsecond.
fn timestamp(ts: &Json) -> Option<Timestamp> {
    let micros = (ts.as_f64()? * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "checked; a double's whole numbers up to 2^53 are exact")]
    let micros = (micros.abs() < 9e15).then_some(micros as i64)?;
    Timestamp::from_microsecond(micros).ok()
}
