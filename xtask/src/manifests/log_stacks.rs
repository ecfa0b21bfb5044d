//! The configurations of log stacks that cannot be had here, read as their owners' documentation has them: whether each
//! part names others that are there, and the log of the `DaemonSet`'s container. That they are not run, they have to say.

use anyhow::Result;
use serde_json::Value;

use super::render::{text, yaml};

/// What those read that read files: `POD_NAMESPACE_CONTAINER-ID.log`, a link that the kubelet makes.
const EVENTS: &str = "/var/log/containers/oomtrace-*_oomtrace_oomtrace-*.log";
/// Which pods' logs Vector reads: those of the `DaemonSet`.
const PODS: &str = "app.kubernetes.io/name=oomtrace";

/// Whose configuration, and what is wrong with it.
pub(super) fn complaints() -> Result<[(&'static str, Vec<String>); 3]> {
    let file = |name: &str| format!("log-stacks/{name}");
    let (fluent_bit, vector, alloy) = (file("fluent-bit.yaml"), file("vector.yaml"), file("loki.alloy"));
    let with_head = |path: &str, mut complaints: Vec<String>| -> Result<_> {
        let head = text(path)?.lines().next().unwrap_or_default().to_owned();
        if !head.contains("UNTESTED") && !head.contains("PARTLY TESTED") {
            complaints.push(format!("its head does not say that it is UNTESTED or PARTLY TESTED: {head}"));
        }
        Ok(complaints)
    };
    Ok([
        ("Fluent Bit", with_head(&fluent_bit, in_fluent_bit(&yaml(&fluent_bit)?))?),
        ("Vector", with_head(&vector, in_vector(&yaml(&vector)?))?),
        ("Grafana Alloy", with_head(&alloy, in_alloy(&text(&alloy)?))?),
    ])
}

/// The texts at this key of each of a list's members.
fn each<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|member| member[key].as_str()).collect()
}

/// An input's parser is there, and its tag is what filters and outputs match.
fn in_fluent_bit(config: &Value) -> Vec<String> {
    let pipeline = &config["pipeline"];
    let (inputs, parsers) = (&pipeline["inputs"], each(&config["parsers"], "name"));
    let mut complaints = Vec::new();
    if each(inputs, "path") != [EVENTS] {
        complaints.push(format!("it does not read {EVENTS}"));
    }
    if each(inputs, "multiline.parser") != ["cri"] {
        complaints.push("it does not read a runtime's form of lines".to_owned());
    }
    let used = each(&pipeline["filters"], "parser").into_iter().chain(each(inputs, "parser"));
    let unknown = used.filter(|parser| !parsers.contains(parser));
    complaints.extend(unknown.map(|parser| format!("there is no parser {parser}")));
    for part in ["filters", "outputs"] {
        let matches = each(&pipeline[part], "match");
        if matches.is_empty() || matches != vec!["oomtrace"; matches.len()] || each(inputs, "tag") != ["oomtrace"] {
            complaints.push(format!("{part} match {matches:?}, which no input has for a tag"));
        }
    }
    complaints
}

/// Each component's inputs are there, and every source and transform is an input.
fn in_vector(config: &Value) -> Vec<String> {
    let parts = ["sources", "transforms", "sinks"];
    let components = || parts.iter().filter_map(|part| Some((*part, config[part].as_object()?)));
    let all =
        || components().flat_map(|(part, members)| members.iter().map(move |(name, member)| (part, name, member)));
    let inputs: Vec<_> = all().flat_map(|(_, _, member)| member["inputs"].as_array().into_iter().flatten()).collect();
    let mut complaints = Vec::new();
    for input in &inputs {
        if !all().any(|(part, name, _)| part != "sinks" && *input == name) {
            complaints.push(format!("there is no {input} to be an input"));
        }
    }
    for (part, name, member) in all() {
        if part != "sinks" && !inputs.iter().any(|input| *input == name) {
            complaints.push(format!("nothing reads {name}"));
        }
        if part != "sources" && member["inputs"].as_array().is_none_or(Vec::is_empty) {
            complaints.push(format!("{name} reads nothing"));
        }
    }
    if config["sources"]["oomtrace"]["extra_label_selector"] != PODS {
        complaints.push(format!("it does not read the logs of {PODS}"));
    }
    complaints
}

/// Brackets close, and whom a component forwards to is there.
fn in_alloy(config: &str) -> Vec<String> {
    let code: Vec<_> = config.lines().filter(|line| !line.starts_with("//")).collect();
    let code = code.join("\n");
    let mut complaints = Vec::new();
    for (opening, closing) in [('{', '}'), ('[', ']')] {
        if code.matches(opening).count() != code.matches(closing).count() {
            complaints.push(format!("not every {opening} has its {closing}"));
        }
    }
    for word in code.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_') {
        let component = word.strip_suffix(".receiver").and_then(|component| component.rsplit_once('.'));
        if let Some((kind, label)) = component
            && !code.contains(&format!("{kind} \"{label}\" {{"))
        {
            complaints.push(format!("there is no {word}"));
        }
    }
    if !code.contains(&format!("__path__ = \"{EVENTS}\"")) || !code.contains("stage.cri {}") {
        complaints.push(format!("it does not read {EVENTS}"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    /// What is said of a file when this in it is something else.
    fn changed(from: &str, to: &str) -> Result<Vec<String>> {
        let config = text("log-stacks/loki.alloy")?;
        ensure!(config.contains(from), "no {from} in it");
        Ok(in_alloy(&config.replace(from, to)))
    }

    #[test]
    fn a_receiver_that_is_not_there_is_found() -> Result<()> {
        assert_eq!(
            changed("[loki.write.default.receiver]", "[loki.write.other.receiver]")?,
            ["there is no loki.write.other.receiver"]
        );
        assert_eq!(
            changed("[loki.write.default.receiver]", "[loki.write.default.receiver")?,
            ["not every [ has its ]"]
        );
        Ok(())
    }

    #[test]
    fn a_part_without_its_input_is_found() {
        let config = serde_json::json!({
            "sources": {"oomtrace": {"extra_label_selector": PODS}},
            "transforms": {"events": {"inputs": ["oomtrac"]}},
            "sinks": {"console": {"inputs": ["events"]}},
        });
        assert_eq!(in_vector(&config), ["there is no \"oomtrac\" to be an input", "nothing reads oomtrace"]);
        let config = serde_json::json!({
            "parsers": [{"name": "json"}],
            "pipeline": {
                "inputs": [{"path": EVENTS, "multiline.parser": "cri", "tag": "oomtrace"}],
                "filters": [{"match": "oomtrace", "parser": "oomtrace"}],
                "outputs": [{"match": "other"}],
            },
        });
        let complaints = in_fluent_bit(&config);
        assert_eq!(complaints[0], "there is no parser oomtrace");
        assert!(complaints[1].starts_with("outputs match"), "{complaints:?}");
    }
}
