//! Receivers that others wrote: `rotel`, a collector, for lines and figures by both protocols, and `VictoriaMetrics`, which stores
//! figures and is asked for them.
//!
//! `OOMTRACE_ROTEL` and `OOMTRACE_VICTORIA_METRICS` name the programs. Without them this says so, and tests nothing.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::*;

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(variable: &str) -> Option<PathBuf> {
    let program = env::var_os(variable).map(PathBuf::from);
    if program.is_none() {
        eprintln!("SKIPPED: {variable} names no program");
    }
    program
}

fn start(command: &mut Command, output: &Path, address: SocketAddr) -> Running {
    let output = File::options().create(true).append(true).open(output).expect("a file");
    let errors = output.try_clone().expect("a file");
    let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().expect("it starts");
    let running = Running(child);
    assert!(wait_for(|| std::net::TcpStream::connect(address).is_ok()), "{command:?} does not listen");
    running
}

#[test]
fn a_collector_gets_every_line_and_figure_by_both_protocols_also_after_it_was_away() {
    let Some(rotel) = program("OOMTRACE_ROTEL") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (grpc, http) = (free_port(), free_port());
    let printed = folder.path().join("printed");
    let start = || {
        let mut command = Command::new(&rotel);
        command.current_dir(folder.path()).args(["start", "--pid-file", "pid", "--log-file", "log"]);
        command.args(["--otlp-grpc-endpoint", &grpc.0.to_string(), "--otlp-http-endpoint", &http.0.to_string()]);
        command.args(["--exporter", "blackhole", "--debug-log", "logs", "--debug-log", "metrics"]);
        start(command.args(["--debug-log-verbosity", "detailed"]), &printed, http.0)
    };
    for (url, protocol) in [(&grpc.1, Protocol::Grpc), (&http.1, Protocol::Http)] {
        let _ = fs::remove_file(&printed);
        let has = |words: &str| wait_for(|| fs::read_to_string(&printed).is_ok_and(|text| text.contains(words)));
        let running = start();
        let every = Some(Duration::from_millis(100));
        let mut world = World::new(&Otlp { figures_every: every, ..logs_to(url, protocol) });
        world.tell(kill("web-1"));
        for words in [
            "service.instance.id: Str(node-1)",
            "k8s.node.name: Str(node-1)",
            "EventName: oomtrace.oom_kill",
            "SeverityNumber: SEVERITY_NUMBER_ERROR(17)",
            "Timestamp: 1767323045000000006",
            "k8s.pod.name: Str(web-1)",
            "k8s.namespace.name: Str(shop)",
            "k8s.container.name: Str(app)",
            "Name: oomtrace_events",
            "Name: process_resident_memory",
        ] {
            assert!(has(words), "{protocol:?}: no {words:?} in {}", fs::read_to_string(&printed).unwrap_or_default());
        }
        drop(running);
        world.tell(kill("web-2"));
        assert!(world.says("late"), "{protocol:?}: {:?}", world.logs_missing.now());
        world.tell(kill("web-3"));
        let _running = start();
        assert!(has("k8s.pod.name: Str(web-2)") && has("k8s.pod.name: Str(web-3)"), "{protocol:?}");
        assert!(world.recovers() && world.outlets.news(true).is_empty(), "{protocol:?}");
        world.tell(incident());
        assert!(world.outlets.finish().is_ok());
        assert!(has("Body: Str(The kernel killed it.)"), "{protocol:?}: at the end");
    }
}

#[test]
fn a_store_of_figures_has_those_that_metrics_has_by_the_same_names() {
    let Some(program) = program("OOMTRACE_VICTORIA_METRICS") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (address, url) = free_port();
    let mut command = Command::new(&program);
    command.arg(format!("-httpListenAddr={address}")).arg("-opentelemetry.usePrometheusNaming");
    command.arg(format!("-storageDataPath={}", folder.path().join("data").display()));
    let _running = start(&mut command, &folder.path().join("printed"), address);
    let (every, kinds) = (Some(Duration::from_millis(100)), Kinds::default());
    let mut world =
        World::new(&Otlp { figures_every: every, kinds, ..logs_to(&format!("{url}/opentelemetry"), Protocol::Http) });
    for _ in 0..3 {
        world.tell(kill("web-1"));
    }
    let ask = |metric: &str| {
        let query = format!("{url}/api/v1/export?match[]={metric}");
        let answer = ureq::get(&query).call().and_then(|mut answer| answer.body_mut().read_to_string());
        answer.unwrap_or_else(|error| error.to_string())
    };
    for (metric, label, of_label, value) in [
        ("oomtrace_events_total", "kind", "oom_kill", Some(3)),
        ("oomtrace_lost_events_total", "from", "ring", Some(0)),
        ("oomtrace_build_info", "service_instance_id", "node-1", Some(1)),
        ("process_resident_memory_bytes", "k8s_node_name", "node-1", None),
        ("process_cpu_seconds_total", "service_name", "oomtrace", None),
    ] {
        let has = |series: &str| {
            let series: Value = serde_json::from_str(series).unwrap_or_default();
            let last = series["values"].as_array().and_then(|values| values.last());
            series["metric"][label] == of_label && value.is_none_or(|value| last == Some(&value.into()))
        };
        assert!(wait_for(|| ask(metric).lines().any(has)), "{metric}: {}", ask(metric));
    }
    assert!(world.figures_missing.now().is_none() && world.outlets.finish().is_ok());
}
