//! A real Prometheus scrapes oomtrace, evaluates the shipped alerts, and answers what the shipped dashboard asks.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    Outcome,
    cgroup::{Cgroup, container_id, container_path, uid},
    check_eq,
    oomtrace::Oomtrace,
    scenarios::{Scenario, run_to_death},
    workload,
};

pub(crate) const ALL: &[Scenario] = &[
    ("the_shipped_alerts_pass_promtool", rules),
    ("prometheus_fires_the_shipped_alerts_and_answers_the_dashboard", scraped),
];

const RULES: &str = "/deploy/prometheus/oomtrace.rules.yaml";
const DASHBOARD: &str = "/deploy/grafana/oomtrace.json";
const OOMTRACE: &str = "http://127.0.0.1:9477";
const PROMETHEUS: &str = "http://127.0.0.1:9090";
const KUBELET_LOG: &str = "/tmp/kubelet-of-prometheus.log";
/// An evicting kubelet, recorded.
const RECORDED: &[u8] = include_bytes!("../data/evict-1.36-systemd/kubelet.log.zst");
/// Emulated, Prometheus takes half a minute to start; an incident closes 75 s after its last event.
const PATIENCE: Duration = Duration::from_mins(5);
const CONFIG: &str = "\
global: {scrape_interval: 2s, evaluation_interval: 2s, scrape_timeout: 2s}
rule_files: [/deploy/prometheus/oomtrace.rules.yaml]
scrape_configs:
  - job_name: oomtrace
    static_configs: [{targets: ['127.0.0.1:9477']}]
";

fn promtool(arguments: &[&str]) -> Outcome {
    let output = Command::new("promtool").args(arguments).current_dir("/deploy/prometheus").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    Ok(())
}

fn rules() -> Outcome {
    promtool(&["check", "rules", RULES])?;
    promtool(&["check", "config", "scrape.yaml"])?;
    promtool(&["test", "rules", "oomtrace.rules.test.yaml"])
}

fn get(url: &str) -> Result<String> {
    Ok(ureq::get(url).call().with_context(|| url.to_owned())?.body_mut().read_to_string()?)
}

/// What Prometheus answers.
fn ask(path: &str, query: Option<&str>) -> Result<Value> {
    let request = ureq::get(format!("{PROMETHEUS}/api/v1/{path}"));
    let request = query.into_iter().fold(request, |request, query| request.query("query", query));
    // What is wrong with a query is in the body.
    let answer = request.config().http_status_as_error(false).build().call()?.body_mut().read_to_string()?;
    let answer: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
    ensure!(answer["status"] == "success", "{path} {query:?}: {answer}");
    Ok(answer["data"].clone())
}

/// What a query gives.
fn query(query: &str) -> Result<Vec<Value>> {
    Ok(ask("query", Some(query))?["result"].as_array().cloned().unwrap_or_default())
}

fn wait_for(what: &str, mut done: impl FnMut() -> Result<bool>) -> Outcome {
    let started = Instant::now();
    loop {
        let result = done();
        if matches!(result, Ok(true)) {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "waited in vain for {what}: {result:?}");
        thread::sleep(Duration::from_secs(1));
    }
}

/// Runs until it is dropped.
struct Prometheus(Child);

impl Prometheus {
    fn start() -> Result<Self> {
        fs::write("/tmp/prometheus.yaml", CONFIG)?;
        let child = Command::new("prometheus")
            .args(["--config.file=/tmp/prometheus.yaml", "--storage.tsdb.path=/tmp/prometheus", "--log.level=warn"])
            .args(["--web.listen-address=127.0.0.1:9090"])
            .stdout(Stdio::null())
            .spawn()
            .context("Prometheus does not start")?;
        let prometheus = Self(child);
        wait_for("a first scrape", || Ok(query("up{job='oomtrace'} == 1")?.len() == 1))?;
        Ok(prometheus)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scraped() -> Outcome {
    fs::write(KUBELET_LOG, "")?;
    let oomtrace = Oomtrace::start(&["--metrics-listen", "127.0.0.1:9477", "--kubelet-log", KUBELET_LOG])?;
    check_eq!(get(&format!("{OOMTRACE}/readyz"))?, "tracing\n", "/readyz");
    check_eq!(get(&format!("{OOMTRACE}/healthz"))?, "alive\n", "/healthz");
    let _prometheus = Prometheus::start()?;

    let container = Cgroup::make(&container_path(60, 60))?;
    container.limit(20)?;
    run_to_death("eat", &container)?;
    let survivor = Cgroup::make(&container_path(61, 61))?;
    survivor.limit(20)?;
    let mut survives = workload::start("init-that-survives", &survivor.procs())?;
    run_to_death("map-beyond-rlimit-as", &container)?;
    evict()?;

    let kill = format!(
        "oomtrace_oom_kills_total{{pod='{}',container='{}',scenario='container_limit',limit_level='container'}} == 1",
        uid(60),
        container_id(60)
    );
    wait_for("the kill", || Ok(query(&kill)?.len() == 1))?;
    wait_for("the evictions", || Ok(query("sum(oomtrace_evictions_total{signal!='unknown'}) == 2")?.len() == 1))?;
    let invisible = format!("oomtrace_invisible_kills_total{{pod='{}'}} == 1", uid(61));
    wait_for("the invisible kill", || Ok(query(&invisible)?.len() == 1))?;
    // The container is gone; what was counted of it stays.
    drop(container);
    survives.kill()?;
    survives.wait()?;
    for alert in ["OomtraceOomKill", "OomtraceInvisibleOomKill", "OomtraceEviction"] {
        let firing = format!("ALERTS{{alertname='{alert}',alertstate='firing'}}");
        wait_for(alert, || Ok(!query(&firing)?.is_empty()))?;
    }
    ensure!(
        query("ALERTS{alertname=~'Oomtrace(NotTracing|Down|LosesEvents)'}")?.is_empty(),
        "an alert without a reason"
    );
    every_rule_is_sound()?;
    dashboard()?;
    check_eq!(query(&kill)?.len(), 1, "series of the kill when its container is gone");
    lint()?;
    oomtrace.stop()?;
    Ok(())
}

/// Two pods are evicted, in the words of a real kubelet.
fn evict() -> Outcome {
    let mut log = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(RECORDED)?.read_to_end(&mut log)?;
    OpenOptions::new().append(true).open(KUBELET_LOG)?.write_all(&log)?;
    Ok(())
}

fn every_rule_is_sound() -> Outcome {
    let groups = ask("rules", None)?["groups"].as_array().cloned().unwrap_or_default();
    let rules: Vec<_> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
    ensure!(rules.len() >= 10, "{} rules", rules.len());
    for rule in rules {
        check_eq!(rule["health"], "ok", "the health of {rule}");
    }
    Ok(())
}

/// Every query is valid, and gives data wherever something has happened: nothing fails for good here, as it is not watched.
fn dashboard() -> Outcome {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD)?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut asked = 0;
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("no query")?;
            let filled =
                expression.replace("$instance", ".*").replace("$namespace", ".*").replace("$__rate_interval", "1m");
            ensure!(!filled.contains('$'), "an unknown variable: {expression}");
            let result = query(&filled)?;
            ensure!(!result.is_empty() || filled.contains("charge_enomem"), "no data: {} {filled}", panel["title"]);
            asked += 1;
        }
    }
    ensure!(asked > 20, "only {asked} queries");
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        if let Some((metric, _label)) = variable["definition"].as_str().and_then(|text| text.split_once(", ")) {
            let metric = metric.trim_start_matches("label_values(");
            ensure!(!query(metric)?.is_empty(), "nothing to choose from: {metric}");
        }
    }
    Ok(())
}

/// promtool's own opinion of the names and types.
fn lint() -> Outcome {
    let mut request = ureq::get(format!("{OOMTRACE}/metrics"));
    request = request.header("Accept", "text/plain;version=0.0.4");
    let text = request.call()?.body_mut().read_to_string()?;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    promtool.stdin.take().context("no standard input")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.trim().is_empty(), "promtool check metrics: {said}");
    Ok(())
}
