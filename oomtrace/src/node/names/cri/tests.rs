use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{CriError, list_once, socket};
use crate::node::names::Host;

/// A runtime that answers each connection with these bytes, and then holds it open or hangs up.
fn runtime(path: &Path, answer: &'static [u8], hang_up: bool) {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(answer);
            if !hang_up {
                thread::sleep(Duration::from_mins(1));
            }
        }
    });
}

fn ask(path: &Path) -> (Result<usize, CriError>, Duration) {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let result = runtime.block_on(list_once(&Host::at(Path::new("/")), Some(path)));
    (result.map(|facts| facts.len()), started.elapsed())
}

#[test]
fn a_runtime_that_answers_with_garbage_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, answer) in [
        ("http1", b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice()),
        ("noise", &[0xff; 4096]),
        // HTTP/2 settings, then a frame that says that it is longer than any may be.
        ("huge-frame", b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\0\0\0\0\0\x01"),
        ("nothing", b""),
    ] {
        let path = folder.path().join(name);
        runtime(&path, answer, true);
        let (result, _) = ask(&path);
        assert!(result.is_err(), "{name}: {result:?}");
    }
}

#[test]
fn a_runtime_that_never_answers_is_given_up_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("slow");
    runtime(&path, b"\0\0\0\x04\0\0\0\0\0", false);
    let (result, took) = ask(&path);
    assert!(matches!(result, Err(CriError::Slow)), "{result:?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let (result, _) = ask(Path::new("/nowhere/containerd.sock"));
    let error = result.expect_err("nobody is there").to_string();
    assert!(error.contains("No such file"), "{error}");
}

#[test]
fn the_first_of_the_usual_sockets_that_is_there_is_used_unless_one_is_asked_for() {
    let root = tempfile::tempdir().expect("a folder");
    let host = Host::at(root.path());
    assert_eq!(socket(&host, None), None);
    let k3s = root.path().join("run/k3s/containerd");
    std::fs::create_dir_all(&k3s).expect("a folder");
    std::fs::write(k3s.join("containerd.sock"), "").expect("a file");
    assert_eq!(socket(&host, None), Some(k3s.join("containerd.sock")));
    let asked = Path::new("unix:///run/crio/crio.sock");
    assert_eq!(socket(&host, Some(asked)).as_deref(), Some(Path::new("/run/crio/crio.sock")));
}
