//! Incidents on their way to an API server that is a few lines of a test: in the clear, with what it is to answer.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Access, KubernetesEvents,
    book::{Book, KEPT_FOR, Request},
    event::{News, Object, What, name},
};
use crate::{
    degradation::Degradation,
    event::{Confidence, Container, ContainerRole, Incident, IncidentState, Pod, Scenario, Severity, Verdict},
    node::names::kubelet::tests::kubelet_at,
};

const MINUTE: Duration = Duration::from_mins(1);

/// A child of `app` of pod `shop/cart-0` was killed.
fn incident() -> Incident {
    Incident {
        id: "node1-1".to_owned(),
        state: IncidentState::Open,
        revision: 1,
        started: "2026-11-28T08:59:46.977980030Z".to_owned(),
        pod: Some(Pod {
            namespace: Some("shop".to_owned()),
            name: Some("cart-0".to_owned()),
            uid: "00000001-23d2-4099-bf62-d501a2753c91".parse().ok(),
            ..Pod::default()
        }),
        container: Some(Container { name: Some("app".to_owned()), ..Container::default() }),
        kills: 1,
        kills_new: 1,
        verdict: Verdict {
            scenario: Scenario::ContainerLimit,
            invisible: Some(true),
            summary: "A child of container app exceeded its limit of 64 MiB.".to_owned(),
            advice: "Raise the limit.".to_owned(),
            ..Verdict::default()
        },
        ..Incident::default()
    }
}

/// The same incident, later.
fn later(revision: u64, kills_new: u64) -> Incident {
    Incident { revision, kills: revision, kills_new, ..incident() }
}

fn scenario(scenario: Scenario, of: Incident) -> Incident {
    Incident { verdict: Verdict { scenario, ..of.verdict }, ..of }
}

/// A book, and the time by its clock.
struct World {
    book: Book,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { book: Book::new("node1".to_owned()), now: Instant::now() }
    }

    fn take(&mut self, incident: &Incident) {
        if let Some(news) = News::of(incident, "node1") {
            self.book.take(news, self.now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Everything that may be sent now, as a server would get it.
    fn send(&mut self) -> Vec<Value> {
        let mut sent = Vec::new();
        while let Some(request) = self.book.next(self.now) {
            sent.push(match &request {
                Request::Create { event, .. } => event.clone(),
                Request::Count { name, series, .. } => json!({"of": name, "series": series}),
            });
            self.book.done(&request, self.now);
        }
        sent
    }

    fn lost(&mut self) -> u64 {
        self.book.take_lost().0
    }
}

fn field<'a>(events: &'a [Value], pointer: &str) -> Vec<&'a str> {
    events.iter().map(|event| event.pointer(pointer).and_then(Value::as_str).unwrap_or("none")).collect()
}

#[test]
fn an_incident_is_an_event_of_its_pod_and_container_as_the_api_wants_it() {
    let mut world = World::new();
    world.take(&incident());
    let sent = world.send();
    let name = sent[0]["metadata"]["name"].as_str().unwrap_or_default();
    assert!(name.starts_with("cart-0.") && name.len() == "cart-0.".len() + 16, "{name}");
    assert_eq!(
        sent,
        [json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "shop"},
            "eventTime": "2026-11-28T08:59:46.977980Z",
            "reportingController": "oomtrace.dev/oomtrace",
            "reportingInstance": "node1",
            "action": "InvisibleOOMKill",
            "reason": "ContainerLimit",
            "regarding": {
                "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "cart-0",
                "uid": "00000001-23d2-4099-bf62-d501a2753c91", "fieldPath": "spec.containers{app}",
            },
            "related": {"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "node1"},
            "note": "A child of container app exceeded its limit of 64 MiB. Raise the limit.",
            "type": "Warning",
        })]
    );
    assert_eq!((world.send(), world.lost()), (Vec::new(), 0));
}

#[test]
fn what_happens_again_is_counted_in_the_same_event() {
    let mut world = World::new();
    world.take(&incident());
    let name = world.send()[0]["metadata"]["name"].clone();
    // The closing line has nothing new; another incident of the same has.
    world.take(&later(2, 3));
    world.take(&Incident { id: "node1-2".to_owned(), ..incident() });
    world.take(&Incident { state: IncidentState::Closed, ..later(3, 0) });
    let again = world.send();
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!((&again[0]["of"], &again[0]["series"]["count"]), (&name, &json!(5)));
    assert_eq!(again[0]["series"]["lastObservedTime"], "2026-11-28T08:59:46.977980Z");
    // After six minutes of silence it is another one.
    world.pass(6 * MINUTE);
    world.take(&Incident { id: "node1-3".to_owned(), ..incident() });
    let new = world.send();
    assert!(new[0]["metadata"]["name"].is_string() && new[0]["metadata"]["name"] != name, "{new:?}");
}

#[test]
fn what_is_another_container_or_scenario_is_another_event() {
    let mut world = World::new();
    world.take(&incident());
    let container =
        Some(Container { name: Some("init".to_owned()), role: Some(ContainerRole::Init), ..Container::default() });
    world.take(&Incident { id: "node1-2".to_owned(), container, ..incident() });
    world.take(&Incident { id: "node1-3".to_owned(), ..scenario(Scenario::PodLimit, incident()) });
    let sent = world.send();
    assert_eq!(field(&sent, "/reason"), ["ContainerLimit", "ContainerLimit", "PodLimit"]);
    let paths = ["spec.containers{app}", "spec.initContainers{init}", "spec.containers{app}"];
    assert_eq!(field(&sent, "/regarding/fieldPath"), paths);
}

#[test]
fn what_is_the_nodes_matter_is_on_the_node_as_well_and_once_for_all_pods() {
    let mut world = World::new();
    let evicted = |pod: &str, id: &str| {
        let mut incident = scenario(Scenario::NodePressureEvicted, Incident { id: id.to_owned(), ..incident() });
        (incident.kills, incident.kills_new, incident.evicted, incident.container) = (0, 0, true, None);
        incident.pod.get_or_insert_default().name = Some(pod.to_owned());
        incident
    };
    world.take(&evicted("cart-0", "node1-1"));
    world.take(&evicted("cart-1", "node1-2"));
    world.take(&Incident {
        pod: None,
        ..scenario(Scenario::OtherLimit, Incident { id: "node1-3".to_owned(), ..incident() })
    });
    let sent = world.send();
    assert_eq!(field(&sent, "/regarding/kind"), ["Pod", "Node", "Pod", "Node"]);
    assert_eq!(field(&sent, "/metadata/namespace"), ["shop", "default", "shop", "default"]);
    assert_eq!(field(&sent, "/reason")[1..], ["NodePressureEvicted", "NodePressureEvicted", "OtherLimit"]);
    assert_eq!((&sent[1]["series"]["count"], &sent[1]["action"]), (&json!(2), &json!("Evict")));
    assert_eq!(sent[1]["regarding"], json!({"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "node1"}));
    assert!(sent[1]["related"].is_null() && sent[0]["regarding"]["fieldPath"].is_null());
}

#[test]
fn only_memory_is_reported() {
    let mut world = World::new();
    world.take(&Incident { severity: Severity::Other, ..scenario(Scenario::Crashed, incident()) });
    assert_eq!(world.send(), Vec::<Value>::new());
}

#[test]
fn how_sure_it_is_is_said_and_a_long_note_is_cut_where_a_character_ends() {
    let mut world = World::new();
    let mut guess = incident();
    guess.verdict.confidence = Confidence::Low;
    guess.verdict.missing = vec!["the kernel's log".to_owned()];
    guess.verdict.advice = "é".repeat(1000);
    world.take(&guess);
    let sent = world.send();
    let note = sent[0]["note"].as_str().unwrap_or_default();
    let begin = "A child of container app exceeded its limit of 64 MiB. Confidence: low, this is a guess (missing: the kernel's \
                 log). éé";
    assert!(note.starts_with(begin) && note.ends_with("é…"), "{note}");
    assert!((1022..=1024).contains(&note.len()), "{}", note.len());
}

#[test]
fn another_verdict_is_an_event_of_its_own_that_says_so() {
    let mut world = World::new();
    world.take(&incident());
    world.send();
    world.take(&scenario(Scenario::PodLimit, later(2, 0)));
    let sent = world.send();
    assert_eq!(field(&sent, "/reason"), ["PodLimit"]);
    assert!(field(&sent, "/note")[0].starts_with("In place of ContainerLimit as first reported: A child"), "{sent:?}");
    // Not where nobody has seen the first one.
    let mut world = World::new();
    world.take(&incident());
    world.take(&scenario(Scenario::PodLimit, later(2, 0)));
    let sent = world.send();
    assert_eq!(field(&sent, "/reason"), ["PodLimit"]);
    assert!(field(&sent, "/note")[0].starts_with("A child"), "{sent:?}");
}

#[test]
fn what_turns_out_to_be_none_is_taken_back_if_it_was_sent_and_else_never_is() {
    let withdrawn = Incident { withdrawn: true, kills: 0, ..later(2, 0) };
    let mut world = World::new();
    world.take(&incident());
    world.take(&withdrawn);
    assert_eq!((world.send(), world.lost()), (Vec::new(), 0));

    world.take(&incident());
    world.send();
    world.take(&withdrawn);
    let sent = world.send();
    assert_eq!((field(&sent, "/reason"), field(&sent, "/type")), (vec!["IncidentWithdrawn"], vec!["Normal"]));
    assert_eq!(
        field(&sent, "/note"),
        ["ContainerLimit as reported before is withdrawn: it turned out to be no incident"]
    );

    // Another incident says the same of the same.
    world.take(&incident());
    world.take(&Incident { id: "node1-2".to_owned(), kills_new: 0, ..incident() });
    world.send();
    world.take(&Incident { replaced_by: Some("node1-2".to_owned()), ..withdrawn.clone() });
    assert_eq!(world.send(), Vec::<Value>::new());
    world.take(&withdrawn);
    assert_eq!(world.send(), Vec::<Value>::new(), "it is known no more");

    world.pass(7 * MINUTE);
    world.take(&incident());
    world.send();
    world.take(&Incident { severity: Severity::Other, ..later(2, 0) });
    assert!(field(&world.send(), "/note")[0].contains("turned out not to be about memory"));
}

#[test]
fn names_that_can_be_none_are_counted_and_never_part_of_a_path() {
    let mut world = World::new();
    for (namespace, name) in [
        (None, Some("cart-0")),
        (Some("shop"), None),
        (Some("../../nodes"), Some("cart-0")),
        (Some("shop"), Some("a/b?c")),
    ] {
        let pod = Pod { namespace: namespace.map(str::to_owned), name: name.map(str::to_owned), ..Pod::default() };
        let open = Incident { id: format!("{namespace:?}{name:?}"), pod: Some(pod), ..incident() };
        world.take(&open);
        world.take(&Incident { state: IncidentState::Closed, revision: 2, kills_new: 0, ..open });
    }
    assert_eq!(world.send(), Vec::<Value>::new());
    assert_eq!(world.book.take_lost(), (4, 4));
    // A container that can be none is left out, control characters are shown as such.
    let mut hostile = incident();
    hostile.container.get_or_insert_default().name = Some("app}\u{1b}[2J".to_owned());
    hostile.verdict.summary = "comm \u{1b}[2J\r\nX-Evil: 1".to_owned();
    world.take(&hostile);
    let sent = world.send();
    assert!(sent[0]["regarding"]["fieldPath"].is_null());
    assert_eq!(sent[0]["note"], "comm \\u{1b}[2J\\r\\nX-Evil: 1 Raise the limit.");
}

#[test]
fn a_pod_that_gets_its_name_later_has_its_event_then() {
    let mut world = World::new();
    let mut nameless = incident();
    nameless.pod.get_or_insert_default().name = None;
    world.take(&nameless);
    assert_eq!((world.send(), world.lost()), (Vec::new(), 0));
    world.take(&Incident { state: IncidentState::Closed, ..later(2, 1) });
    let sent = world.send();
    assert_eq!((field(&sent, "/regarding/name"), &sent[0]["series"]["count"]), (vec!["cart-0"], &json!(2)));
    assert_eq!(world.lost(), 0);
}

#[test]
fn an_events_name_is_a_dns_name_and_the_same_for_the_same() {
    let object = |name: &str| Object::node(name).expect("a node's name");
    let what = What { reason: "SystemOOM", action: "OOMKill" };
    let long = format!("{}.{}", "a".repeat(63), "b".repeat(63));
    let longer = format!("{long}.{}-{}", "c".repeat(63), "d".repeat(50));
    for node in ["node1", long.as_str()] {
        assert!(Object::node(&name(&object(node), what, "1", 0)).is_some(), "{node}");
    }
    assert!(Object::node(&longer).is_none(), "a label of 114");
    assert_eq!(name(&object("node1"), what, "1", 0), name(&object("node1"), what, "1", 0));
    let others = [("1", 1), ("2", 0)].map(|(id, generation)| name(&object("node1"), what, id, generation));
    assert!(!others.contains(&name(&object("node1"), what, "1", 0)), "{others:?}");
}

#[test]
fn an_object_that_is_killed_all_the_time_has_25_events_and_what_is_counted_waits() {
    let mut world = World::new();
    for number in 0..30 {
        let path = Some(Container { name: Some(format!("c{number}")), ..Container::default() });
        world.take(&Incident { id: format!("node1-{number}"), container: path, ..incident() });
    }
    assert_eq!((world.send().len(), world.lost()), (30, 0), "each container is an object");
    for revision in 2..40 {
        world.take(&Incident { id: "node1-0".to_owned(), container: None, ..later(revision, 1) });
        world.send();
    }
    world.take(&Incident { id: "node1-0".to_owned(), container: None, ..later(40, 1) });
    assert_eq!((world.send(), world.lost()), (Vec::new(), 0));
    assert!(world.book.due(world.now).is_some_and(|due| due - world.now <= 5 * MINUTE));
    world.pass(5 * MINUTE);
    assert_eq!(world.send()[0]["series"]["count"], 39);
}

#[test]
fn an_event_that_the_server_has_forgotten_is_made_anew_with_its_count() {
    let mut world = World::new();
    world.take(&incident());
    let name = world.send()[0]["metadata"]["name"].clone();
    world.take(&later(2, 1));
    let request = world.book.next(world.now).expect("a count");
    world.book.gone(request.key());
    let sent = world.send();
    assert_eq!((field(&sent, "/reason"), &sent[0]["series"]["count"]), (vec!["ContainerLimit"], &json!(2)));
    assert_ne!(sent[0]["metadata"]["name"], name);
}

#[test]
fn what_is_refused_now_keeps_nothing_else_from_being_sent() {
    let mut world = World::new();
    world.take(&incident());
    world.send();
    world.take(&later(2, 1));
    world.take(&Incident { id: "node1-2".to_owned(), ..scenario(Scenario::PodLimit, incident()) });
    let request = world.book.next(world.now).expect("a count");
    assert!(matches!(request, Request::Count { .. }), "as it has waited for longest");
    world.book.postpone(request.key());
    assert!(matches!(world.book.next(world.now), Some(Request::Create { .. })));
    assert_eq!(world.send().len(), 2);
}

#[test]
fn what_cannot_be_sent_is_bounded_and_counted() {
    let mut world = World::new();
    for number in 0..600 {
        let mut one = Incident { id: format!("node1-{number}"), ..incident() };
        one.pod.get_or_insert_default().name = Some(format!("cart-{number}"));
        world.take(&one);
    }
    assert_eq!(world.lost(), 600 - 512);
    world.pass(KEPT_FOR);
    world.book.expire(world.now);
    assert_eq!((world.lost(), world.send()), (512, Vec::new()));
}

/// An API server that answers each request with the next of `answers`, and then with 201; and what it was asked.
fn server<const N: usize>(listener: TcpListener, answers: [(u16, &'static str); N]) -> mpsc::Receiver<String> {
    let (tell, asked) = mpsc::channel();
    let mut answers = answers.into_iter();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") && stream.read_line(&mut request).is_ok_and(|read| read > 0) {}
            let length = request
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or_default()];
            let _ = stream.read_exact(&mut body);
            let _ = tell.send(request + &String::from_utf8_lossy(&body));
            let (status, body) = answers.next().unwrap_or((201, "{}"));
            let answer =
                format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    asked
}

fn events(url: &str) -> (KubernetesEvents, Degradation) {
    let degradation = Degradation::default();
    let access = Access { url: Some(url.to_owned()), token: "/nowhere".into(), ca: "/nowhere".into() };
    let events = KubernetesEvents::start(access, "node1".to_owned(), degradation.clone()).expect("a thread");
    (events, degradation)
}

fn wait_for(what: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while !what() && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
    what()
}

#[test]
fn a_server_that_is_away_at_first_gets_the_event_once_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let (events, degradation) = events(&format!("http://{address}"));
    events.take(&incident());
    assert!(wait_for(|| degradation.now().is_some()));
    let missing = degradation.now().unwrap_or_default();
    assert!(missing.contains("--k8s-url") && missing.contains("tried again"), "{missing}");
    let asked = server(TcpListener::bind(address).expect("the same port"), [(500, "{}"), (201, "{}")]);
    let requests: Vec<_> = (0..2).map_while(|_| asked.recv_timeout(Duration::from_secs(20)).ok()).collect();
    assert_eq!(requests.len(), 2, "it is tried again after a 500");
    assert!(wait_for(|| degradation.now().is_none()));
    let begin = "POST /apis/events.k8s.io/v1/namespaces/shop/events HTTP/1.1\r\n";
    assert!(requests.iter().all(|request| request.starts_with(begin) && request.contains("application/json")));
    assert!(!requests[0].contains("uthorization"), "no token in the clear");
    assert_eq!(requests[0], requests[1], "by the same name, so that it is not made twice");
    events.take(&later(2, 1));
    let patch = asked.recv_timeout(Duration::from_secs(20)).unwrap_or_default();
    let begin = "PATCH /apis/events.k8s.io/v1/namespaces/shop/events/cart-0.";
    assert!(patch.starts_with(begin) && patch.contains("application/merge-patch+json"), "{patch}");
    assert!(patch.ends_with(r#"{"series":{"count":2,"lastObservedTime":"2026-11-28T08:59:46.977980Z"}}"#), "{patch}");
    assert!(events.finish().is_empty());
}

#[test]
fn before_the_first_kill_it_is_known_whether_the_server_would_take_an_event() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let forbidden = r#"{"kind":"Status","message":"events.events.k8s.io is forbidden"}"#;
    let asked = server(listener, [(403, forbidden)]);
    let (events, degradation) = events(&url);
    let request = asked.recv_timeout(Duration::from_secs(20)).unwrap_or_default();
    assert!(request.starts_with("POST /apis/events.k8s.io/v1/namespaces/default/events?dryRun=All "), "{request}");
    assert!(wait_for(|| degradation.now().is_some_and(|what| what.contains("create and patch"))));
    assert!(asked.recv_timeout(Duration::from_secs(20)).is_ok(), "the role may come later");
    assert!(wait_for(|| degradation.now().is_none()));
    drop(events);
}

#[test]
fn an_api_server_is_believed_by_its_certificate_and_the_token_is_read_as_it_is_renewed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let (url, certificate) = kubelet_at("127.0.0.1:0", &["localhost"]);
    let (_, other) = kubelet_at("127.0.0.1:0", &["localhost"]);
    let (token, ca) = (file("token", "old"), file("ca.crt", &other));
    let degradation = Degradation::default();
    let access = Access { url: Some(url), token, ca };
    let events = KubernetesEvents::start(access, "node1".to_owned(), degradation.clone()).expect("a thread");
    let says = |words: &str| wait_for(|| degradation.now().is_some_and(|what| what.contains(words)));
    assert!(says("invalid peer certificate") && says("--k8s-ca"), "{:?}", degradation.now());
    file("ca.crt", &certificate);
    assert!(says("401 Unauthorized; --k8s-token"), "{:?}", degradation.now());
    // That server knows this one, but lets it do nothing.
    file("token", "known\n");
    assert!(says("403 Forbidden; let its service account create and patch"), "{:?}", degradation.now());
    drop(events);
}

#[test]
fn what_is_missing_to_ask_is_named_with_its_option() {
    for (ca, says) in [("/nowhere/ca.crt", "/nowhere/ca.crt: No such file"), ("/dev/null", "no certificate in PEM")] {
        let degradation = Degradation::default();
        let access = Access { url: Some("https://localhost:1".to_owned()), token: "/nowhere".into(), ca: ca.into() };
        let _events = KubernetesEvents::start(access, "node1".to_owned(), degradation.clone()).expect("a thread");
        assert!(wait_for(|| degradation.now().is_some_and(|what| what.contains(says) && what.contains("--k8s-ca"))));
    }
}

#[test]
fn an_older_kubernetes_has_events_of_nodes_in_another_namespace() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let refused = r#"{"message":"involvedObject.namespace: Invalid value: \"\": does not match event.namespace"}"#;
    let asked = server(listener, [(422, refused)]);
    let (events, _) = events(&url);
    let next = || asked.recv_timeout(Duration::from_secs(20)).unwrap_or_default();
    assert!(next().contains("/namespaces/default/events?dryRun=All "));
    assert!(next().contains("/namespaces/kube-system/events?dryRun=All "));
    events.take(&Incident { pod: None, ..scenario(Scenario::SystemOom, incident()) });
    let request = next();
    assert!(request.contains("/namespaces/kube-system/events HTTP"), "{request}");
    assert!(request.contains(r#""namespace":"kube-system""#) && request.contains("SystemOOM"), "{request}");
    assert!(events.finish().is_empty());
}

#[test]
fn what_the_server_never_takes_is_lost_and_said_and_holds_nothing_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = server(listener, [(201, "{}"), (422, r#"{"message":"note: too long"}"#)]);
    let (events, _) = events(&url);
    assert!(asked.recv_timeout(Duration::from_secs(20)).is_ok_and(|request| request.contains("dryRun")));
    events.take(&incident());
    assert!(asked.recv_timeout(Duration::from_secs(20)).is_ok());
    events.take(&Incident { id: "node1-2".to_owned(), ..scenario(Scenario::PodLimit, incident()) });
    assert!(asked.recv_timeout(Duration::from_secs(20)).is_ok_and(|request| request.contains("PodLimit")));
    let said = serde_json::to_string(&events.finish()).expect("JSON");
    assert!(said.contains("note: too long") && said.contains(r#""from":"kubernetes_events","count":1"#), "{said}");
}

#[test]
fn a_server_that_never_answers_holds_up_neither_the_tracer_nor_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (events, _) = events(&format!("http://{}", listener.local_addr().expect("an address")));
    let started = Instant::now();
    for number in 0..2000 {
        events.take(&Incident { id: format!("node1-{number}"), ..incident() });
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let said = serde_json::to_string(&events.finish()).expect("JSON");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert!(said.contains("kubernetes_events"), "{said}");
}
