//! A kubelet's server as far as `/pods` goes: real TLS, a real token.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{Access, KubeletError, Trust};

const PODS: &str = r#"{"items":[{"metadata":{"name":"web-0","namespace":"shop",
    "uid":"00000001-23d2-4099-bf62-d501a2753c91"},"spec":{"containers":[]},"status":{}}]}"#;

const METRICS: &str = "kubelet_evictions{eviction_signal=\"memory.available\"} 3\n";

/// A kubelet with a certificate that it made itself for these names: where it is, and the certificate.
fn kubelet(names: &[&str]) -> (String, String) {
    kubelet_at("127.0.0.1:0", names)
}

/// The same at this address.
pub(crate) fn kubelet_at(address: &str, names: &[&str]) -> (String, String) {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let own = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("the certificate's key");
    let config = Arc::new(config);
    let listener = TcpListener::bind(address).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            let mut request = String::new();
            // A client that does not accept the certificate hangs up.
            while !request.ends_with("\r\n\r\n") && stream.read_line(&mut request).is_ok_and(|read| read > 0) {}
            let status = match request.lines().find_map(|line| line.split_once("uthorization: Bearer ")) {
                Some((_, "let-me-in")) if answer(&request).is_some() => "200 OK",
                Some((_, "known")) => "403 Forbidden",
                _ => "401 Unauthorized",
            };
            let body = answer(&request).filter(|_| status == "200 OK").unwrap_or("no");
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    (format!("https://localhost:{port}"), own.cert.pem())
}

/// What such a kubelet answers to those whom it knows.
fn answer(request: &str) -> Option<&'static str> {
    let answers = [("GET /pods ", PODS), ("GET /metrics ", METRICS)];
    answers.iter().find(|(asked, _)| request.starts_with(asked)).map(|(_, answer)| *answer)
}

fn written(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file");
    path
}

/// Asks a kubelet with this certificate, as one who believes that one.
fn asked(token: &str, names: &[&str], believed: impl Fn(String) -> String) -> Result<usize, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, certificate) = kubelet(names);
    let token = written(folder.path(), "token", token);
    let trust = Trust::Authorities(written(folder.path(), "ca.crt", &believed(certificate)));
    let reported = Access { url, token, trust, named: true }.ask();
    reported.map(|facts| facts.len()).map_err(|error| error.to_string())
}

#[test]
fn a_kubelet_whose_certificate_is_known_is_shown_the_token_and_tells_its_pods() {
    assert_eq!(asked("let-me-in\n", &["localhost"], |own| own), Ok(1));
}

#[test]
fn a_kubelet_whose_certificate_another_signed_is_not_shown_the_token() {
    let error = asked("let-me-in", &["localhost"], |_| kubelet(&["localhost"]).1).expect_err("refused");
    assert!(error.contains("invalid peer certificate") && error.contains("--kubelet-ca"), "{error}");
}

#[test]
fn a_kubelet_whose_certificate_is_for_another_name_is_not_shown_the_token() {
    let error = asked("let-me-in", &["node-7"], |own| own).expect_err("refused");
    assert!(error.contains("node-7") && error.contains("address"), "{error}");
}

#[test]
fn a_token_that_is_not_taken_is_reported_with_what_to_do() {
    let error = asked("another", &["localhost"], |own| own).expect_err("401");
    assert!(error.contains("401") && error.contains("--kubelet-token"), "{error}");
    let error = asked("known", &["localhost"], |own| own).expect_err("403");
    assert!(error.contains("403") && error.contains("nodes/proxy"), "{error}");
}

#[test]
fn files_that_are_missing_or_say_something_else_are_named_with_their_options() {
    let error = asked("let-me-in", &["localhost"], |_| "no certificate".to_owned()).expect_err("no authority");
    assert!(error.contains("ca.crt") && error.contains("--kubelet-ca"), "{error}");
    let access = Access {
        url: "https://localhost:10250".to_owned(),
        token: "/nowhere/token".into(),
        trust: Trust::Anybody,
        named: true,
    };
    let error = access.ask().expect_err("no token").to_string();
    assert!(error.contains("/nowhere/token") && error.contains("--kubelet-token"), "{error}");
}

#[test]
fn whoever_wants_it_so_believes_anybody() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, _) = kubelet(&["node-7"]);
    let access =
        Access { url, token: written(folder.path(), "token", "let-me-in"), trust: Trust::Anybody, named: true };
    assert_eq!(access.ask().map(|facts| facts.len()).map_err(|error| error.to_string()), Ok(1));
}

#[test]
fn in_the_clear_no_token_is_needed_and_none_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let served = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().expect("a connection").0);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") && stream.read_line(&mut request).is_ok_and(|read| read > 0) {}
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{PODS}", PODS.len());
        stream.get_mut().write_all(answer.as_bytes()).expect("an answer");
        request
    });
    let folder = tempfile::tempdir().expect("a folder");
    let token = written(folder.path(), "token", "let-me-in");
    let reported = Access { url, token, trust: Trust::Anybody, named: true }.ask();
    assert!(matches!(reported.map_err(|error: KubeletError| error.to_string()), Ok(facts) if facts.len() == 1));
    let request = served.join().expect("a request");
    assert!(!request.contains("let-me-in"), "{request}");
}
