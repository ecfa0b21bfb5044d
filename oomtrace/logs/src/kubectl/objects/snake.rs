//! Objects as Python's client has them (`to_dict()`): the names of the fields have `_` where the API writes a capital.

use serde_json::Value;

/// Whether an object of Kubernetes' is written so. The CRI's names are, too, and are read as they are.
pub(super) fn is_written_so(value: &Value) -> bool {
    ["/involved_object", "/status/container_statuses", "/container_statuses", "/last_state/terminated"]
        .iter()
        .any(|at| value.pointer(at).is_some())
}

/// The same with the API's names.
pub(super) fn as_the_api_writes(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, field)| (renamed(name), as_the_api_writes(field))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(as_the_api_writes).collect()),
        value => value.clone(),
    }
}

/// `last_state` to `lastState`, `container_id` to `containerID`. Labels and annotations have dots or slashes, and stay.
fn renamed(name: &str) -> String {
    if !name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return name.to_owned();
    }
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let mut renamed = words.next().unwrap_or_default().to_owned();
    for word in words {
        match word {
            "id" | "ip" => renamed.push_str(&word.to_ascii_uppercase()),
            _ => {
                renamed.extend(word.chars().next().map(|first| first.to_ascii_uppercase()));
                renamed.push_str(&word[1..]);
            }
        }
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_renamed_and_labels_are_not() {
        let written = serde_json::json!({
            "metadata": {"creation_timestamp": "t", "labels": {"a.b/c_d": "e"}},
            "status": {"container_statuses": [{"container_id": "c", "last_state": {"terminated": {"exit_code": 137}}}]},
        });
        assert!(is_written_so(&written));
        let read = as_the_api_writes(&written);
        assert!(!is_written_so(&read));
        assert_eq!(read.pointer("/status/containerStatuses/0/lastState/terminated/exitCode"), Some(&Value::from(137)));
        assert_eq!(read.pointer("/status/containerStatuses/0/containerID"), Some(&Value::from("c")));
        assert!(read["metadata"]["creationTimestamp"].is_string() && read["metadata"]["labels"]["a.b/c_d"].is_string());
    }
}
