//! What may be secret, and is left out.

use serde_json::Value;

use crate::node::snapshot::HEAP_VARIABLES;

/// Instead of what was left out.
const LEFT_OUT: &str = "(left out)";
/// What a name has in it whose value may be secret.
const WORDS: [&str; 10] = [
    "token",
    "password",
    "passwd",
    "secret",
    "credential",
    "authorization",
    "bootstrap",
    "apikey",
    "private",
    "header",
];
/// Whether the value of what is called so may be secret.
fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    WORDS.iter().any(|word| plain.contains(word)) || plain.ends_with("key")
}

/// Whether an address has a name and a password in it.
fn has_user(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|place| place.contains('@')))
}

/// Leaves out of an object what may be secret: values by their names, and addresses with a password. Gives what it was.
pub(super) fn leave_out(value: &mut Value) -> Vec<String> {
    let mut left_out = Vec::new();
    search(value, "", &mut left_out);
    left_out
}

fn search(value: &mut Value, path: &str, left_out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                // Whether something is done is no secret; nor is a time.
                let is_plain = matches!(field, Value::Bool(_) | Value::Number(_) | Value::Null);
                if is_secret(name) && !is_plain {
                    *field = LEFT_OUT.into();
                    left_out.push(path);
                } else {
                    search(field, &path, left_out);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| search(item, path, left_out)),
        Value::String(text) if has_user(text) => {
            *value = LEFT_OUT.into();
            left_out.push(path.to_owned());
        }
        _ => {}
    }
}

/// Leaves out of the arguments of a program what may be secret.
pub(super) fn leave_out_of_arguments(arguments: &mut [String]) -> Vec<String> {
    let mut left_out = Vec::new();
    let mut next = None;
    for argument in arguments {
        if let Some(name) = next.take()
            && !argument.starts_with('-')
        {
            left_out.push(name);
            LEFT_OUT.clone_into(argument);
            continue;
        }
        match argument.split_once('=') {
            Some((name, value)) if (is_secret(name) && !matches!(value, "true" | "false")) || has_user(value) => {
                left_out.push(name.to_owned());
                *argument = format!("{name}={LEFT_OUT}");
            }
            None if argument.starts_with('-') && is_secret(argument) => next = Some(argument.clone()),
            None if has_user(argument) => {
                left_out.push("an address with a password".to_owned());
                LEFT_OUT.clone_into(argument);
            }
            _ => {}
        }
    }
    left_out
}

/// Leaves out of a list of pods the values of variables, what `kubectl apply` keeps of them, and arguments that may be secret.
pub(super) fn leave_out_of_pods(pods: &mut Value) -> Vec<String> {
    let mut left_out = vec![
        "pods.json: the values of environment variables, but for those that set a heap's size".to_owned(),
        "pods.json: annotations, but for those of the kubelet's own".to_owned(),
    ];
    for pod in pods.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::Object(annotations)) = pod.pointer_mut("/metadata/annotations") {
            annotations.retain(|name, _| name.starts_with("kubernetes.io/config."));
        }
        if let Some(Value::Object(metadata)) = pod.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            containers.into_iter().flatten().for_each(|container| left_out.extend(of_container(container)));
        }
    }
    left_out
}

fn of_container(container: &mut Value) -> Vec<String> {
    let name = container.get("name").and_then(Value::as_str).unwrap_or("?").to_owned();
    for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        let is_wanted = variable.get("name").and_then(Value::as_str).is_some_and(|name| HEAP_VARIABLES.contains(&name));
        if let Some(value) = variable.get_mut("value").filter(|_| !is_wanted) {
            *value = LEFT_OUT.into();
        }
    }
    let mut left_out = Vec::new();
    for field in ["command", "args"] {
        let Some(Value::Array(words)) = container.get_mut(field) else { continue };
        let mut arguments: Vec<String> = words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
        // A script may hold anything.
        for argument in arguments.iter_mut().filter(|argument| argument.contains('\n') || argument.contains(' ')) {
            let kept: Vec<_> =
                argument.split_whitespace().filter(|word| word.starts_with("-X") || word.contains("max-")).collect();
            format!("{LEFT_OUT} {}", kept.join(" ")).trim_end().clone_into(argument);
            left_out.push(format!("pods.json: a script in the {field} of container {name}"));
        }
        let secret = leave_out_of_arguments(&mut arguments);
        left_out.extend(secret.into_iter().map(|what| format!("pods.json: {what} in the {field} of container {name}")));
        *words = arguments.into_iter().map(Value::String).collect();
    }
    left_out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_secret_is_left_out_of_a_configuration_and_the_rest_stays() {
        let mut config = json!({
            "evictionHard": {"memory.available": "100Mi"},
            "staticPodURLHeader": {"Authorization": ["Bearer hunter2"]},
            "serverTLSBootstrap": true,
            "token": "hunter2",
            "tlsPrivateKeyFile": "/hunter2.key",
            "datastore-endpoint": "postgres://me:hunter2@db/k3s",
        });
        let left_out = leave_out(&mut config);
        assert!(!config.to_string().contains("hunter2"), "{config}");
        assert_eq!(config["evictionHard"]["memory.available"], "100Mi");
        assert_eq!(config["serverTLSBootstrap"], true);
        assert_eq!(left_out.len(), 4, "{left_out:?}");
    }

    #[test]
    fn what_may_be_secret_is_left_out_of_arguments() {
        let mut arguments =
            ["k3s", "agent", "--token", "hunter2", "--node-ip=10.0.0.1", "--agent-token=hunter2", "--v=2"]
                .map(str::to_owned);
        let left_out = leave_out_of_arguments(&mut arguments);
        assert_eq!(
            arguments.join(" "),
            "k3s agent --token (left out) --node-ip=10.0.0.1 --agent-token=(left out) --v=2"
        );
        assert_eq!(left_out, ["--token", "--agent-token"]);
    }

    #[test]
    fn pods_keep_what_sets_a_heap_and_lose_other_values() {
        let mut pods = json!({"items": [{
            "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2", "kubernetes.io/config.hash": "h"}},
            "spec": {"containers": [{
                "name": "app",
                "env": [{"name": "PASSWORD", "value": "hunter2"}, {"name": "GOMEMLIMIT", "value": "100MiB"}],
                "args": ["-Xmx64m", "--password=hunter2", "exec x -Xms1m hunter2"],
            }]},
        }]});
        leave_out_of_pods(&mut pods);
        let text = pods.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        for kept in ["100MiB", "-Xmx64m", "-Xms1m", "config.hash"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }
}
