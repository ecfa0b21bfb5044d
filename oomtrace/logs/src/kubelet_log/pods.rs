//! How the kubelet writes pods: one, and lists of them.
//!
//! | kubelet | one | a list |
//! |---|---|---|
//! | 1.20 | `name_namespace(uid)` | `a_ns(uid), b_ns(uid)` |
//! | 1.21 to 1.25, 1.27 | `"ns/name"` | `[ns/a ns/b]` |
//! | 1.26 | `"ns/name"` | `"[ns/a ns/b]"` |
//! | 1.28 on | `"ns/name"` | `["ns/a","ns/b"]` |
//! | JSON log | `{"name":"a","namespace":"ns"}` | an array of them |

use oomtrace_model::{Pod, PodUid};
use serde_json::Value as Json;

use super::klog::Value;

/// A pod by `namespace/name`; by `name` alone where there is no namespace.
pub(super) fn by_name(text: &str) -> Option<Pod> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    let valid = is_name(name) && namespace.is_none_or(is_name);
    valid.then(|| Pod { namespace: namespace.map(str::to_owned), name: Some(name.to_owned()), ..Pod::default() })
}

/// Letters, digits, dashes and dots: a pod's name is a DNS subdomain (`ValidatePodName`), so it holds nothing that a line
/// could be forged with.
fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
}

/// A pod by `name_namespace(uid)`: `format.Pod` (`pkg/kubelet/util/format/pod.go`).
pub(super) fn by_full_name(text: &str) -> Option<Pod> {
    let (name, uid) = text.strip_suffix(')')?.rsplit_once('(')?;
    let (name, namespace) = name.split_once('_')?;
    let pod = by_name(&format!("{namespace}/{name}"))?;
    Some(Pod { uid: uid.parse().ok(), ..pod })
}

/// Pods by `name_namespace(uid)`, with commas between.
pub(super) fn by_full_names(text: &str) -> Vec<Pod> {
    text.split(", ").filter_map(by_full_name).collect()
}

/// The pod of a key's value.
pub(super) fn of_value(value: &Value<'_>) -> Option<Pod> {
    match value {
        Value::Text(text) => by_name(text).or_else(|| by_full_name(text)),
        _ => of_json(value.json()?.as_ref()),
    }
}

/// The pods of a key's value, in its order.
pub(super) fn list_of_value(value: &Value<'_>) -> Vec<Pod> {
    match value.json().as_deref() {
        Some(Json::Array(elements)) => elements.iter().filter_map(of_json).collect(),
        _ => value.list().iter().filter_map(|name| by_name(name)).collect(),
    }
}

fn of_json(json: &Json) -> Option<Pod> {
    match json {
        Json::String(text) => by_name(text),
        Json::Object(object) => {
            let name = object.get("name").or_else(|| object.get("Name"))?.as_str()?;
            let namespace = object.get("namespace").or_else(|| object.get("Namespace")).and_then(Json::as_str);
            by_name(&namespace.map_or(name.to_owned(), |namespace| format!("{namespace}/{name}")))
        }
        _ => None,
    }
}

/// A pod of which the uid alone is known.
pub(super) fn by_uid(text: &str) -> Option<PodUid> {
    text.parse().ok()
}
