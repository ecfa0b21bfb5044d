//! The same by gRPC: a server of a test's own, by `hyper` and `tonic`.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    server::{Grpc, UnaryService},
};
use tonic_prost::ProstCodec;

use super::*;
use crate::sink::otlp::client::{Any, Delay, RetryInfo, RpcStatus};

type Answers = Arc<Mutex<Vec<Result<ExportLogsServiceResponse, Status>>>>;

struct Logs(Answers, mpsc::Sender<Vec<String>>);

impl UnaryService<ExportLogsServiceRequest> for Logs {
    type Response = ExportLogsServiceResponse;
    type Future = Ready<Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<ExportLogsServiceRequest>) -> Self::Future {
        let metadata = request.metadata().get("x-scope").and_then(|scope| scope.to_str().ok()).unwrap_or_default();
        let heard = [vec![metadata.to_owned()], events(&request.get_ref().encode_to_vec())].concat();
        let _ = self.1.send(heard);
        let answer = self.0.lock().expect("a lock").pop().unwrap_or_else(|| Ok(ExportLogsServiceResponse::default()));
        ready(answer.map(Response::new))
    }
}

/// Answers each request for logs with the last of `answers`, and then takes all; and what it was sent: a header, and events.
fn server(
    listener: TcpListener,
    answers: Vec<Result<ExportLogsServiceResponse, Status>>,
) -> mpsc::Receiver<Vec<String>> {
    let (tell, asked) = mpsc::channel();
    let answers = Arc::new(Mutex::new(answers));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            listener.set_nonblocking(true).expect("a socket");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, tell) = (answers.clone(), tell.clone());
                let service = service_fn(move |request| {
                    let logs = Logs(answers.clone(), tell.clone());
                    async move { Ok::<_, Infallible>(answer(logs, request).await) }
                });
                tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    asked
}

async fn answer(logs: Logs, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
    assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let codec = ProstCodec::<ExportLogsServiceResponse, ExportLogsServiceRequest>::default();
    Grpc::new(codec).unary(logs, request).await
}

fn retry_info(code: Code, seconds: i64) -> Status {
    let info = RetryInfo { delay: Some(Delay { seconds, nanos: 1 }) };
    let detail = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
    let status = RpcStatus { code: code as i32, message: String::new(), details: vec![detail] };
    Status::with_details(code, "wait", status.encode_to_vec().into())
}

#[test]
fn a_server_that_wants_to_be_left_alone_is_and_gets_every_line_then() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    // The last comes first.
    let answers = vec![Err(retry_info(Code::ResourceExhausted, 1)), Err(Status::unavailable("starting"))];
    let asked = server(listener, answers);
    let mut otlp = logs_to(&url, Protocol::Grpc);
    otlp.access.headers = vec!["X-Scope=a".parse().expect("a header")];
    let mut world = World::new(&otlp);
    world.tell(kill("web-1"));
    let next = || asked.recv_timeout(SOON).unwrap_or_default();
    assert_eq!(next(), ["a", "oomtrace.oom_kill"]);
    assert!(world.says("it answers Unavailable: starting; it is tried again"), "{:?}", world.logs_missing.now());
    assert_eq!(next(), ["a", "oomtrace.oom_kill"]);
    let waits = Instant::now();
    assert_eq!(next(), ["a", "oomtrace.oom_kill"]);
    assert!(waits.elapsed() >= Duration::from_millis(900), "{:?}", waits.elapsed());
    assert!(world.recovers());
    assert!(world.outlets.news(true).is_empty());
    assert!(world.outlets.finish().is_ok());
}

#[test]
fn a_server_that_refuses_loses_what_it_refuses_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "no room".to_owned() };
    let partial = ExportLogsServiceResponse { partial_success: Some(partial) };
    let asked = server(listener, vec![Ok(partial), Err(Status::unauthenticated("who is it"))]);
    let mut world = World::at(&url, Protocol::Grpc);
    world.tell(kill("web-1"));
    let news = world.news(r#""from":"otlp","count":1"#);
    assert!(news.contains("it answers Unauthenticated: who is it; --otlp-header has"), "{news}");
    world.tell(incident());
    assert!(world.news(r#""from":"otlp","count":1"#).contains(&url));
    assert!(world.recovers());
    world.tell(incident());
    assert!(world.outlets.finish().is_ok());
    assert_eq!(asked.try_iter().count(), 3);
}

#[test]
fn who_speaks_another_protocol_is_said_to_and_asked_again() {
    let (first, second) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (http, grpc) = (first.expect("a port"), second.expect("a port"));
    let at = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
    let (http_url, grpc_url) = (at(&http), at(&grpc));
    let _asked = (receiver(http, []), server(grpc, Vec::new()));
    for (url, protocol) in [(http_url, Protocol::Grpc), (grpc_url, Protocol::Http)] {
        let mut world = World::at(&url, protocol);
        world.tell(kill("web-1"));
        assert!(world.says("--otlp-protocol what it speaks; it is tried again"), "{:?}", world.logs_missing.now());
        // At the end it is given up.
        let started = Instant::now();
        assert!(world.outlets.finish().is_ok());
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}
