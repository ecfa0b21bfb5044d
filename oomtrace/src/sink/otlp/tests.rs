//! Lines on their way to receivers that are a few lines of a test, and to real ones.

mod grpc;
mod real;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
        metrics::v1::ExportMetricsServiceRequest,
    },
    metrics::v1::metric::Data,
};
use prost::Message as _;

use super::{Access, Beside, Kinds, Otlp, Protocol};
use crate::{
    confinement::Confinement,
    degradation::Degradation,
    event::{Container, Event, Incident, Line, Lost, LostFrom, OomKill, Pod, Source, Verdict},
    metrics::Metrics,
    node::names::kubelet::tests::kubelet_at,
    sink::Outlets,
};

const SOON: Duration = Duration::from_secs(20);

/// Outlets of which one is a receiver, and what is said to be missing.
struct World {
    outlets: Outlets,
    figures: std::sync::Arc<Metrics>,
    logs_missing: Degradation,
    figures_missing: Degradation,
    seq: u64,
}

impl World {
    fn new(otlp: &Otlp) -> Self {
        let (logs_missing, figures_missing) = (Degradation::default(), Degradation::default());
        let figures = Metrics::new(100);
        let beside = Beside {
            node: "node-1".to_owned(),
            figures: Some(figures.clone()),
            logs_missing: logs_missing.clone(),
            figures_missing: figures_missing.clone(),
        };
        let mut outlets = Outlets::default();
        outlets.send(otlp, beside, &Confinement::default()).expect("a thread");
        Self { outlets, figures, logs_missing, figures_missing, seq: 0 }
    }

    /// With nothing but lines, to this address.
    fn at(url: &str, protocol: Protocol) -> Self {
        Self::new(&logs_to(url, protocol))
    }

    fn tell(&mut self, event: Event) {
        self.seq += 1;
        let (ts, node) = ("2026-01-02T03:04:05.000000006Z".to_owned(), "node-1".to_owned());
        let line = Line { ts, seq: self.seq, node, source: Source::Kernel, boot_ns: None, event };
        self.figures.observe(&line);
        self.outlets.print(&line);
    }

    fn says(&self, words: &str) -> bool {
        wait_for(|| self.logs_missing.now().is_some_and(|what| what.contains(words)))
    }

    fn recovers(&self) -> bool {
        wait_for(|| self.logs_missing.now().is_none())
    }

    /// What was lost, and what went wrong, as soon as there is something with these words.
    fn news(&self, words: &str) -> String {
        let mut news = String::new();
        let has = wait_for_mut(|| {
            news += &serde_json::to_string(&self.outlets.news(true)).expect("JSON");
            news.contains(words)
        });
        assert!(has, "{words}: {news}");
        news
    }
}

fn logs_to(url: &str, protocol: Protocol) -> Otlp {
    let access = Access {
        endpoint: url.parse().expect("an address"),
        protocol,
        headers: Vec::new(),
        ca: None,
        timeout: Duration::from_secs(10),
    };
    Otlp { access, kinds: Kinds::all(), figures_every: None }
}

fn wait_for(what: impl Fn() -> bool) -> bool {
    wait_for_mut(what)
}

fn wait_for_mut(mut what: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + SOON;
    while Instant::now() < until {
        if what() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    what()
}

fn kill(pod: &str) -> Event {
    let pod = Pod { namespace: Some("shop".to_owned()), name: Some(pod.to_owned()), ..Pod::default() };
    let container = Container { name: Some("app".to_owned()), ..Container::default() };
    Event::OomKill(Box::new(OomKill { pod: Some(pod), container: Some(container), ..OomKill::default() }))
}

fn incident() -> Event {
    let verdict = Verdict { summary: "The kernel killed it.".to_owned(), ..Verdict::default() };
    Event::Incident(Box::new(Incident { verdict, ..Incident::default() }))
}

fn free_port() -> (SocketAddr, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (address, format!("http://{address}"))
}

/// A status, headers, and a body in protobuf.
type Prepared = (u16, &'static str, Vec<u8>);

/// A receiver by HTTP that answers each request with the next of `answers`, and then takes all; and what it was sent.
fn receiver<const N: usize>(listener: TcpListener, answers: [Prepared; N]) -> mpsc::Receiver<(String, Vec<u8>)> {
    let (tell, asked) = mpsc::channel();
    let mut answers = answers.into_iter();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or_default()];
            let _ = stream.read_exact(&mut body);
            let _ = tell.send((head, body));
            let (status, headers, body) = answers.next().unwrap_or((200, "", Vec::new()));
            let answer = format!(
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Type: application/x-protobuf\r\n{headers}Content-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.get_mut().write_all(&[answer.into_bytes(), body].concat());
        }
    });
    asked
}

fn events(body: &[u8]) -> Vec<String> {
    let request = ExportLogsServiceRequest::decode(body).expect("a request");
    let scopes = request.resource_logs.iter().flat_map(|logs| &logs.scope_logs);
    scopes.flat_map(|scope| &scope.log_records).map(|record| record.event_name.clone()).collect()
}

#[test]
fn a_receiver_that_is_away_at_first_gets_every_line_once_it_is_there() {
    let (address, url) = free_port();
    let mut otlp = logs_to(&url, Protocol::Http);
    otlp.access.headers = vec!["x-scope=a".parse().expect("a header")];
    let mut world = World::new(&otlp);
    world.tell(kill("web-1"));
    assert!(world.says("--otlp says where") && world.says("late") && world.says("tried again"));
    world.tell(incident());
    let busy = |status| (status, "Retry-After: 1\r\n", Vec::new());
    let asked = receiver(TcpListener::bind(address).expect("the same port"), [busy(503), busy(429)]);
    let requests: Vec<_> = (0..4).map_while(|_| asked.recv_timeout(SOON).ok()).collect();
    assert!(world.recovers());
    let heads: Vec<_> = requests.iter().map(|(head, _)| head.as_str()).collect();
    assert!(heads.iter().all(|head| head.starts_with("POST /v1/logs HTTP/1.1\r\n")), "{heads:?}");
    assert!(heads.iter().all(|head| head.contains("x-scope: a") && head.contains("application/x-protobuf")));
    let bodies: Vec<_> = requests.iter().map(|(_, body)| events(body)).collect();
    assert_eq!(bodies[..3], vec![vec!["oomtrace.oom_kill".to_owned()]; 3], "the same again");
    assert_eq!(bodies[3], ["oomtrace.incident"]);
    assert!(world.outlets.news(true).is_empty());
    assert!(world.outlets.finish().is_ok());
}

#[test]
fn what_the_receiver_never_takes_is_lost_and_said_and_holds_nothing_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let status = super::client::RpcStatus { code: 3, message: "too \u{1b}[2J old".to_owned(), details: Vec::new() };
    let asked = receiver(listener, [(400, "", status.encode_to_vec())]);
    let mut world = World::at(&url, Protocol::Http);
    world.tell(kill("web-1"));
    let news = world.news(r#""from":"otlp","count":1"#);
    assert!(news.contains("it answers 400: too \\\\u{1b}[2J old") && news.contains(&url), "{news}");
    assert!(world.says("are lost"));
    world.tell(incident());
    assert!(world.recovers());
    assert_eq!(asked.try_iter().map(|(_, body)| events(&body).concat()).last().as_deref(), Some("oomtrace.incident"));
}

#[test]
fn what_is_taken_but_for_a_part_is_lost_by_that_part_and_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "no room".to_owned() };
    let partial = ExportLogsServiceResponse { partial_success: Some(partial) };
    let asked = receiver(listener, [(200, "", partial.encode_to_vec())]);
    let mut world = World::at(&url, Protocol::Http);
    world.tell(kill("web-1"));
    let news = world.news(r#""from":"otlp","count":1"#);
    assert!(news.contains("it takes all log records but 1: no room"), "{news}");
    assert!(world.logs_missing.now().is_none());
    assert!(world.outlets.finish().is_ok());
    assert_eq!(asked.try_iter().count(), 1);
}

#[test]
fn a_receiver_that_never_answers_holds_up_neither_the_tracer_nor_its_end_and_what_there_is_no_room_for_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut world = World::at(&format!("http://{}", listener.local_addr().expect("an address")), Protocol::Http);
    let started = Instant::now();
    for number in 0..6000 {
        world.tell(Event::Lost(Lost::new(LostFrom::Ring, number)));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let news = world.news(r#""from":"otlp","#);
    // 4096 wait, and no more than 512 are being sent.
    let lost = news.split(r#""from":"otlp","count":"#).nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
    assert!(lost.is_some_and(|lost: u64| (6000 - 4096 - 512..=6000 - 4096).contains(&lost)), "{news}");
    let ending = Instant::now();
    assert!(world.outlets.finish().is_ok(), "only standard output's end is an error");
    assert!(ending.elapsed() < Duration::from_secs(8), "{:?}", ending.elapsed());
}

#[test]
fn figures_are_sent_with_their_own_names_at_their_interval_and_a_last_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = receiver(listener, [(503, "", Vec::new())]);
    let only_figures = Otlp {
        kinds: Kinds::default(),
        figures_every: Some(Duration::from_millis(50)),
        ..logs_to(&url, Protocol::Http)
    };
    let mut world = World::new(&only_figures);
    world.tell(kill("web-1"));
    assert!(asked.recv_timeout(SOON).is_ok_and(|(head, _)| head.starts_with("POST /v1/metrics ")));
    assert!(wait_for(|| world.figures_missing.now().is_some_and(|what| what.contains("metrics are late"))));
    let (_, body) = asked.recv_timeout(SOON).expect("again");
    assert!(wait_for(|| world.figures_missing.now().is_none()));
    let request = ExportMetricsServiceRequest::decode(body.as_slice()).expect("a request");
    let resource = format!("{:?}", request.resource_metrics[0].resource);
    assert!(resource.contains("service.instance.id") && resource.contains("node-1"), "{resource}");
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let named = |name: &str| metrics.iter().find(|metric| metric.name == name).and_then(|metric| metric.data.as_ref());
    let Some(Data::Sum(events)) = named("oomtrace_events") else { unreachable!("{metrics:?}") };
    assert!(events.is_monotonic && events.aggregation_temporality == 2);
    let point = &events.data_points[0];
    assert!(format!("{point:?}").contains("oom_kill") && point.start_time_unix_nano > 0, "{point:?}");
    assert!(matches!(named("oomtrace_degradations"), Some(Data::Gauge(_))));
    assert!(matches!(named("oomtrace_build_info"), Some(Data::Gauge(_))));
    assert_eq!(
        metrics.iter().find(|metric| metric.name == "process_resident_memory").map(|of| of.unit.as_str()),
        Some("By")
    );
    assert!(world.outlets.finish().is_ok());
}

#[test]
fn a_receiver_is_believed_by_its_certificate() {
    for protocol in [Protocol::Http, Protocol::Grpc] {
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.crt");
        let (url, certificate) = kubelet_at("127.0.0.1:0", &["localhost"]);
        let (_, other) = kubelet_at("127.0.0.1:0", &["localhost"]);
        let mut otlp = logs_to(&url, protocol);
        otlp.access.ca = Some(ca.clone());
        let mut world = World::new(&otlp);
        world.tell(kill("web-1"));
        assert!(world.says("ca.crt: No such file") && world.says("--otlp-ca"), "{:?}", world.logs_missing.now());
        std::fs::write(&ca, other).expect("written");
        assert!(world.says("invalid peer certificate") && world.says("--otlp-ca"), "{:?}", world.logs_missing.now());
        std::fs::write(&ca, certificate).expect("written");
        // That server knows nobody, and speaks no gRPC.
        let says = if protocol == Protocol::Http { "it answers 401" } else { "--otlp-protocol" };
        assert!(world.says(says), "{:?}", world.logs_missing.now());
    }
}
