//! The queries in `deploy/queries`, each run by its engine on the example lines beside them, whose answers are known; and the same
//! lines as OpenTelemetry's log records, read by OpenTelemetry's own messages. Loki cannot be had here: its queries are only read.

use std::{collections::BTreeSet, fs, io::Write as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::render::{deploy, text, yaml};
use crate::{setup, tool};

const SCRIPT: &str = include_str!("queries.py");

/// The questions, as each file asks them, and what the example answers: rows, whose columns are the fields of an object in jq.
fn questions() -> [(&'static str, &'static str, Value); 7] {
    [
        (
            "Who was killed most?",
            "killed_most",
            json!([["team-a", "web", 4], ["team-b", "worker", 2], ["team-c", "etl", 1]]),
        ),
        ("Which kills does Kubernetes not show?", "invisible_kills", json!([["team-b", "worker-5c", "worker", 2]])),
        ("How many evictions were there, by signal?", "evictions_by_signal", json!([["memory.available", 1]])),
        (
            "How many kills were there, by workload and hour?",
            "kills_by_hour",
            json!([
                ["2026-11-28T09", "team-a", "web", 3],
                ["2026-11-28T10", "team-a", "web", 1],
                ["2026-11-28T10", "team-b", "worker", 2],
                ["2026-11-28T11", "team-c", "etl", 1]
            ]),
        ),
        (
            "Who hits its own limit again and again, and what would be enough?",
            "limits_hit",
            json!([
                ["team-a", "web", "app", 4, 67_108_864, 100_663_296],
                ["team-b", "worker", "worker", 2, 67_108_864, null]
            ]),
        ),
        ("On which nodes did all pods together hit their limit?", "allocatable_kills", json!([["node2", 1]])),
        (
            "What was lost, and where?",
            "losses",
            json!([["node1", "ring", null, 10], ["node1", "stdout", "stdout", 5], ["node2", "ring", null, 4]]),
        ),
    ]
}

/// What is checked, and what is wrong with it.
pub(super) fn complaints() -> Result<[(&'static str, Vec<String>); 8]> {
    Ok([
        ("queries for jq, run by it", in_jq()?),
        ("queries for DuckDB, run by it", in_duckdb()?),
        ("queries for ClickHouse, run by it", in_clickhouse()?),
        ("queries for Prometheus, run by promtool", in_prometheus()?),
        ("queries for Loki, which is not run here", in_loki(&text("queries/oomtrace.logql")?)),
        ("the dashboard for Loki, which is not run here", in_loki_dashboard(&text("grafana/oomtrace-logs.json")?)?),
        ("OpenTelemetry's log records, read as OTLP", in_otlp()?),
        ("what Vector makes of a line, by its own language", in_vector()?),
    ])
}

fn file(name: &str) -> PathBuf {
    deploy().join("queries").join(name)
}

fn compare(question: &str, found: &Value, expected: &Value) -> Option<String> {
    (found != expected).then(|| format!("{question} {found} instead of {expected}"))
}

fn in_jq() -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    let module = text("queries/oomtrace.jq")?;
    for (question, function, expected) in questions() {
        if !module.contains(&format!("# {question}\ndef {function}:")) {
            complaints.push(format!("{function} is not below its question"));
        }
        let program = format!("include \"oomtrace\"; [inputs | fromjson?] | {function} | map([.[]])");
        let mut jq = setup::jq()?;
        jq.args(["-cnR", "-L"]).arg(deploy().join("queries")).arg(program).arg(file("example.jsonl"));
        let found = serde_json::from_str(&tool::output(&mut jq)?)?;
        complaints.extend(compare(question, &found, &expected));
    }
    Ok(complaints)
}

fn in_duckdb() -> Result<Vec<String>> {
    let rows = ask(&["duckdb", &path_of("oomtrace.sql"), &path_of("example.jsonl")], b"")?;
    answers(&rows, &text("queries/oomtrace.sql")?)
}

/// The questions, and that the lines come back from it as they were, and once.
fn in_clickhouse() -> Result<Vec<String>> {
    let mut rows = ask(&["clickhouse", &path_of("oomtrace.clickhouse.sql"), &path_of("example.jsonl")], b"")?;
    let back = rows.pop().context("no lines come back")?;
    let mut complaints = answers(&rows, &text("queries/oomtrace.clickhouse.sql")?)?;
    let lines: Vec<_> = text("queries/example.jsonl")?.lines().map(str::to_owned).collect();
    complaints.extend(compare("What comes back?", &back, &json!(lines)));
    Ok(complaints)
}

fn path_of(name: &str) -> String {
    file(name).to_string_lossy().into_owned()
}

/// What is wrong with a file's answers, and with its questions.
fn answers(rows: &[Value], sql: &str) -> Result<Vec<String>> {
    ensure!(rows.len() == questions().len(), "{} answers to {} questions", rows.len(), questions().len());
    let unasked =
        |question: &str| (!sql.contains(&format!("-- {question}\n"))).then(|| format!("nobody asks {question}"));
    let answers = questions().into_iter().zip(rows);
    Ok(answers
        .flat_map(|((question, _, expected), rows)| [compare(question, rows, &expected), unasked(question)])
        .flatten()
        .collect())
}

/// The queries of a file that has a comment with a question above each.
fn below_questions(text: &str) -> Vec<(&str, &str)> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut queries = Vec::new();
    let mut question = "";
    for line in &mut lines {
        match line.strip_prefix("# ") {
            Some(comment) => question = comment,
            None => queries.push((question, line)),
        }
    }
    queries
}

/// Series of a day, and what each query has to make of them.
fn in_prometheus() -> Result<Vec<String>> {
    let pod = r#"namespace="team-a",pod="web-7d4b9f6c5d-x2x4z",container="app",unit="""#;
    let series =
        |name: &str, labels: &str, values: &str| json!({"series": format!("{name}{{{labels}}}"), "values": values});
    let input = json!([
        series(
            "oomtrace_oom_kills_total",
            &format!(r#"{pod},scenario="container_limit",limit_level="container""#),
            "0x1410 4x30"
        ),
        series(
            "oomtrace_oom_kills_total",
            r#"instance="node2",namespace="team-c",pod="etl-0",container="etl",unit="",scenario="allocatable_oom",limit_level="kubepods""#,
            "0x1410 1x30"
        ),
        series("oomtrace_invisible_kills_total", pod, "0x1410 2x30"),
        series(
            "oomtrace_evictions_total",
            r#"namespace="team-b",pod="batch",signal="memory.available""#,
            "0x1410 1x30"
        ),
        series("oomtrace_lost_events_total", r#"instance="node1",from="ring",output="""#, "0x1410 10x30"),
    ]);
    let container = r#"{namespace="team-a", pod="web-7d4b9f6c5d-x2x4z", container="app"}"#;
    let of_all_pods = r#"{namespace="team-c", pod="etl-0", container="etl"}"#;
    let expected: [&[(&str, u32)]; 7] = [
        &[(container, 4), (of_all_pods, 1)],
        &[(container, 2)],
        &[(r#"{signal="memory.available"}"#, 1)],
        &[(r#"{namespace="team-a", workload="web"}"#, 4), (r#"{namespace="team-c"}"#, 1)],
        &[(container, 4)],
        &[(r#"{instance="node2"}"#, 1)],
        &[(r#"{instance="node1", from="ring"}"#, 10)],
    ];
    let queries = text("queries/oomtrace.promql")?;
    let queries = below_questions(&queries);
    let mut complaints = asked(&queries);
    let tests: Vec<_> = queries
        .iter()
        .zip(expected)
        .map(|((_, query), samples)| {
            let samples: Vec<_> =
                samples.iter().map(|(labels, value)| json!({"labels": labels, "value": value})).collect();
            json!({"expr": query, "eval_time": "1d", "exp_samples": samples})
        })
        .collect();
    // JSON is YAML.
    let tests = json!({"evaluation_interval": "1m", "tests": [{"interval": "1m", "input_series": input, "promql_expr_test": tests}]});
    let mut rules = tempfile::NamedTempFile::with_suffix(".yaml").context("no place for promtool's tests")?;
    rules.write_all(tests.to_string().as_bytes())?;
    let root = setup::prometheus()?;
    let library = ["lib", "usr/lib"].map(|folder| root.join(folder).join("x86_64-linux-gnu"));
    let library =
        library.iter().find(|folder| folder.join("libc.so.6").exists()).context("no C library beside promtool")?;
    // With the C library that it was built for, not this machine's.
    let mut promtool = Command::new(library.join("ld-linux-x86-64.so.2"));
    promtool.arg("--library-path").arg(library).arg(root.join("usr/bin/promtool"));
    let output = promtool.args(["test", "rules"]).arg(rules.path()).output().context("promtool does not start")?;
    if !output.status.success() {
        complaints
            .push([output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat());
    }
    Ok(complaints)
}

/// Whether each question is asked, in order.
fn asked(queries: &[(&str, &str)]) -> Vec<String> {
    let found: Vec<_> = queries.iter().map(|(question, _)| *question).collect();
    let expected: Vec<_> = questions().map(|(question, ..)| question).to_vec();
    if found == expected { Vec::new() } else { vec![format!("it asks {found:?} instead of {expected:?}")] }
}

/// Each question has its query, whose brackets close and which reads what Alloy sends.
fn in_loki(text: &str) -> Vec<String> {
    let queries = below_questions(text);
    let mut complaints = asked(&queries);
    if !text.starts_with("# UNTESTED") {
        complaints.push("its head does not say UNTESTED".to_owned());
    }
    complaints.extend(queries.iter().filter_map(|(_, query)| no_query_of_lines(query)));
    complaints
}

/// What is wrong with a query for Loki: brackets do not close, or it reads something else than what Alloy sends.
fn no_query_of_lines(query: &str) -> Option<String> {
    let closes = |(opening, closing)| query.matches(opening).count() == query.matches(closing).count();
    let reads = query.contains(r#"{job="oomtrace", kind="#);
    let is_one = reads && [('(', ')'), ('{', '}'), ('[', ']')].into_iter().all(closes);
    (!is_one).then(|| format!("{query} is no query of oomtrace's lines"))
}

/// Each panel's queries read what Alloy sends, and name fields that lines have.
fn in_loki_dashboard(dashboard: &str) -> Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(dashboard)?;
    let mut known = BTreeSet::from(["job".to_owned()]);
    for line in text("queries/example.jsonl")?.lines() {
        add_fields(&serde_json::from_str(line)?, "", &mut known);
    }
    let targets = dashboard["panels"].as_array().into_iter().flatten().filter_map(|panel| panel["targets"].as_array());
    let queries: Vec<_> = targets.flatten().filter_map(|target| target["expr"].as_str()).collect();
    ensure!(!queries.is_empty(), "the dashboard asks nothing");
    let mut complaints: Vec<_> = queries.iter().filter_map(|query| no_query_of_lines(query)).collect();
    if !dashboard["description"].as_str().is_some_and(|description| description.contains("UNTESTED")) {
        complaints.push("its description does not say UNTESTED".to_owned());
    }
    for query in queries {
        let unknown = fields(query).into_iter().filter(|field| !known.contains(*field));
        complaints.extend(unknown.map(|field| format!("no line has {field}, which {query} names")));
    }
    Ok(complaints)
}

/// The names that Loki's JSON parser gives to the fields of a line.
fn add_fields(value: &Value, name: &str, to: &mut BTreeSet<String>) {
    to.insert(name.to_owned());
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = if name.is_empty() { key.clone() } else { format!("{name}_{key}") };
        add_fields(value, &name, to);
    }
}

/// The fields that a query of Loki's names: in filters, in `unwrap`, in `by (…)`, and in a format.
fn fields(query: &str) -> Vec<&str> {
    let stages = query.split('|').skip(1).map(|stage| stage.trim_start_matches(['=', '~', ' ']));
    let filters = stages.filter(|stage| !stage.starts_with("json") && !stage.starts_with("line_format"));
    let filters = filters.map(|stage| first_name(stage.strip_prefix("unwrap ").unwrap_or(stage)));
    let groups = query.split("by (").skip(1).filter_map(|group| group.split(')').next());
    let groups = groups.flat_map(|group| group.split(',')).map(str::trim);
    let formats = query.split("{{.").skip(1).map(first_name);
    filters.chain(groups).chain(formats).collect()
}

fn first_name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Every record has its kind, its pod, and what happened.
fn in_otlp() -> Result<Vec<String>> {
    let records = ask(&["otlp"], &fs::read(file("example.otel.jsonl"))?)?;
    let lines = text("queries/example.jsonl")?;
    let lines: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(records.len() == lines.len(), "{} records of {} lines", records.len(), lines.len());
    let reported = |line: &Value| {
        json!([format!("oomtrace.{}", line["kind"].as_str().unwrap_or_default()), line["pod"]["name"], true])
    };
    Ok(lines
        .iter()
        .zip(&records)
        .filter_map(|(line, record)| compare("a record says", record, &reported(line)))
        .collect())
}

/// Vector's program gives the line's own fields, and drops what is no event.
fn in_vector() -> Result<Vec<String>> {
    let program = yaml("log-stacks/vector.yaml")?["transforms"]["oomtrace_events"]["source"].clone();
    let mut source = tempfile::NamedTempFile::new().context("no place for Vector's program")?;
    source.write_all(program.as_str().context("there is no program")?.as_bytes())?;
    let line = text("queries/example.jsonl")?.lines().nth(2).context("no incident in the example")?.to_owned();
    let inputs = [json!({"message": line}), json!({"message": "INFO oomtrace: figures are at …"})];
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| format!("{input}\n").into_bytes()).collect();
    let found = ask(&["vrl", &source.path().to_string_lossy()], &inputs)?;
    let line: Value = serde_json::from_str(&line)?;
    let picked =
        |event: &Value| json!([event["kind"], event["pod"]["name"], event["kills_new"], event["verdict"]["scenario"]]);
    let of_log = found.get(1).unwrap_or(&Value::Null);
    let complaints = [
        compare("an incident comes to", &picked(found.first().unwrap_or(&Value::Null)), &picked(&line)),
        compare("oomtrace's log comes to", of_log, &Value::Null),
    ];
    Ok(complaints.into_iter().flatten().collect())
}

fn ask(arguments: &[&str], input: &[u8]) -> Result<Vec<Value>> {
    let mut file = tempfile::tempfile().context("no place for what Python is to read")?;
    file.write_all(input).and_then(|()| std::io::Seek::rewind(&mut file)).context("cannot write for Python")?;
    let said = tool::output_of(setup::log_engines()?.arg("-c").arg(SCRIPT).args(arguments), file)?;
    said.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_reads_nothing_of_oomtrace_is_found() -> Result<()> {
        let queries = text("queries/oomtrace.logql")?;
        assert_eq!(in_loki(&queries), Vec::<String>::new());
        assert_eq!(in_loki(&queries.replace(r#"kind="lost""#, r#"level="lost""#)).len(), 1);
        assert_eq!(in_loki(&queries.replacen("[24h]", "[24h", 1)).len(), 1);
        assert_eq!(in_loki(&queries.replace("# What was lost, and where?", "# What else?")).len(), 1);
        Ok(())
    }

    #[test]
    fn a_field_that_no_line_has_is_found_in_a_dashboard() -> Result<()> {
        let dashboard = text("grafana/oomtrace-logs.json")?;
        assert_eq!(in_loki_dashboard(&dashboard)?, Vec::<String>::new());
        for (right, wrong) in [
            ("unwrap kills_new", "unwrap new_kills"),
            ("by (verdict_signal)", "by (signal)"),
            ("| evicted=", "| was_evicted="),
            ("{{.verdict_summary}}", "{{.summary}}"),
        ] {
            assert!(dashboard.contains(right), "{right} is not asked");
            let found = in_loki_dashboard(&dashboard.replace(right, wrong))?;
            assert!(!found.is_empty(), "{wrong} is not found");
        }
        Ok(())
    }
}
