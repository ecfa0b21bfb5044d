//! Values of several lines.

use super::{ID, UID, filled, known, reader, reported};

const HEAD: &str = "I1123 23:24:42.998045     440 file.go:1] ";
const PROBE: &str = r#""Probe failed" probeType="Liveness" pod="default/be-hog" podUID="{UID}" containerName="leaky" probeResult="failure" output=<"#;

/// The lines of a failed probe's message, and of one that comes after it.
fn lines() -> Vec<String> {
    let first = filled(&format!("{HEAD}{PROBE}"));
    let next = filled(&format!(
        r#"{HEAD}"Killing container with a grace period" containerID="containerd://{ID}" gracePeriod=2"#
    ));
    [&first, "\tcommand timed out", "\tsecond line", " >", &next].map(str::to_owned).to_vec()
}

fn printed(log: &str) -> Vec<serde_json::Value> {
    reported(log.as_bytes())
        .into_iter()
        .map(|reported| known(serde_json::to_value(reported.event).expect("JSON")))
        .collect()
}

fn outputs(log: &str) -> Vec<serde_json::Value> {
    printed(log)
        .into_iter()
        .filter(|event| event["action"] == "probe_failed")
        .map(|event| event["message"].clone())
        .collect()
}

#[test]
fn a_value_of_several_lines_is_read_in_every_form() {
    let lines = lines();
    let each = |wrap: &dyn Fn(&str) -> String| lines.iter().map(|line| wrap(line) + "\n").collect::<String>();
    let whole = serde_json::to_string(&lines[..4].join("\n")).expect("JSON");
    let entry = |message: &str| format!("__CURSOR=x\nMESSAGE={message}\nSYSLOG_IDENTIFIER=kubelet\n_PID=440\n");
    let indented = lines[..4].join(&format!("\n{}", " ".repeat(35)));
    for log in [
        each(&str::to_owned),
        each(&|line| format!("{line}\r")),
        each(&|line| format!("Nov 23 23:24:43 node1 kubelet[440]: {line}")),
        each(&|line| format!("Nov 23 23:24:43 node1 kubelet[440]: {}", line.replace('\t', "#011"))),
        each(&|line| format!("2026-11-23T23:24:43Z stderr F {line}")),
        each(&|line| serde_json::json!({"SYSLOG_IDENTIFIER": "kubelet", "_PID": "440", "MESSAGE": line}).to_string()),
        each(&entry),
        format!(r#"{{"SYSLOG_IDENTIFIER":"kubelet","MESSAGE":{whole}}}"#),
        format!("Nov 23 23:24:43 node1 kubelet[440]: {indented}\n"),
    ] {
        assert_eq!(outputs(&log), ["command timed out\nsecond line"], "{log}");
        let others = usize::from(log.contains("grace period"));
        assert_eq!(reported(log.as_bytes()).len(), 1 + others, "what comes after is read, too: {log}");
    }
}

#[test]
fn keys_behind_a_value_of_several_lines_are_read() {
    let log = format!(
        "{HEAD}\"Eviction manager: pod failed to evict\" err=<\n\terror killing pod\n\t > pod=\"x/y\"\n > pod=\"default/be-hog\"\n"
    );
    let said = printed(&log);
    assert_eq!(
        (&said[0]["pod"]["name"], &said[0]["error"]),
        (&"be-hog".into(), &"error killing pod\n > pod=\"x/y\"".into())
    );
    let two = format!("{HEAD}\"Probe failed\" probeType=\"Liveness\" x=<\n\t1\n\t2\n > output=<\n\t3\n\t4\n >\n");
    assert_eq!(outputs(&two), ["3\n4"]);
}

#[test]
fn a_value_whose_end_is_missing_takes_nothing_else_with_it() {
    let lines = lines();
    let torn = |lines: &[&String]| lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
    let [first, second, _, _, next] = &lines[..] else { unreachable!() };
    for (log, output, events) in [
        (torn(&[first, second, next]), serde_json::json!("command timed out"), 2),
        (torn(&[first, next]), serde_json::Value::Null, 2),
        (torn(&[first, first, second]), serde_json::Value::Null, 2),
        (torn(&[first]), serde_json::Value::Null, 1),
    ] {
        assert_eq!((&outputs(&log)[0], printed(&log).len()), (&output, events), "{log}");
    }
    let endless = format!("{first}\n{}{next}\n", "\tx\n".repeat(100_000));
    assert_eq!(printed(&endless).len(), 2, "it is given up");
    let kept = outputs(&endless)[0].as_str().map_or(0, |output| output.lines().count());
    assert!(kept < 5000, "what is held is bounded: {kept} lines");
}

#[test]
fn lines_of_two_writers_are_not_mixed() {
    let lines = lines();
    let of = |who: &str, line: &str| format!("Nov 23 23:24:43 node1 {who}: {line}\n");
    let log = [
        of("kubelet[440]", &lines[0]),
        of("app[7]", "\tforged"),
        of("kubelet[440]", &lines[1]),
        of(
            "containerd[9]",
            &format!("time=\"2026-11-23T23:20:38Z\" level=info msg=\"TaskOOM event container_id:\\\"{ID}\\\"\""),
        ),
        of("kubelet[441]", " >"),
        of("kubelet[440]", &lines[2]),
        of("kubelet[440]", &lines[3]),
    ];
    let log = log.concat();
    assert_eq!(outputs(&log), ["command timed out\nsecond line"]);
    assert_eq!(printed(&log).len(), 2, "what the runtime says is reported");
}

#[test]
fn what_a_container_prints_into_such_a_value_is_no_line_of_its_own() {
    let forged = format!(r#"    MESSAGE={HEAD}"Eviction manager: pod is evicted successfully" pod="default/victim""#);
    for inside in [
        forged.trim_start(),
        &format!("\"MESSAGE\" : \"{HEAD}eviction manager: pod a_b({UID}) is evicted successfully\""),
    ] {
        let log = format!("{}\n\t{inside}\n >\n", lines()[0]);
        assert_eq!(outputs(&log), [inside]);
        assert_eq!(printed(&log).len(), 1, "{log}");
    }
    let mut reader = reader();
    let mut reported = Vec::new();
    reader.push(format!("    MESSAGE={}\n\t\"_PID\" : \"440\"\n", lines()[0]).as_bytes(), &mut reported);
    assert_eq!(reported.len(), 1, "fields on lines of their own are not of the value");
}

#[test]
fn a_value_that_begins_as_a_block_does_and_is_none_is_a_word() {
    let line = r#""Probe failed" err=<nil> probeType="Liveness" pod="default/be-hog" podUID="{UID}" containerName="leaky" probeResult="failure" output="x""#;
    assert_eq!(super::one(line)["container"]["name"], "leaky");
}
