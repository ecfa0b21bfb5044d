//! `oomtrace leak` as a person runs it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A running `oomtrace leak`.
struct Leak {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Leak {
    fn start(arguments: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oomtrace"))
            .arg("leak")
            .args(arguments.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, stdout })
    }

    fn line(&mut self) -> Result<String, Box<dyn std::error::Error>> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn pid(&self) -> Result<Pid, Box<dyn std::error::Error>> {
        Ok(i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or("no pid")?)
    }

    /// The exit status, and what it printed that was not read yet.
    fn end(mut self) -> Result<(Option<i32>, String), Box<dyn std::error::Error>> {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest)?;
        Ok((self.child.wait()?.code(), rest))
    }
}

#[test]
fn a_leak_tells_each_step_and_holds_what_it_has_until_it_is_interrupted() -> Outcome {
    for kind in ["", "--mmap", "--shm", "--file"] {
        let mut leak = Leak::start(&format!("--block 1MiB --every 5ms --max 2.5MiB --touch 50% {kind}"))?;
        let pid = leak.child.id();
        for expected in ["1: 1 MiB allocated, 512 KiB", "2: 2 MiB allocated, 1 MiB", "3: 2.5 MiB allocated, 1.2 MiB"] {
            let line = leak.line()?;
            assert!(line.starts_with(&format!("pid {pid}: step {expected} touched, ")), "{kind}: {line}");
        }
        assert_eq!(leak.line()?, format!("pid {pid}: holds 2.5 MiB, as much as it was to take; Ctrl-C ends it"));
        assert!(leak.child.try_wait()?.is_none(), "it ended by itself");
        kill_process(leak.pid()?, Signal::INT)?;
        assert_eq!(leak.end()?, (Some(0), String::new()));
    }
    Ok(())
}

/// Starts a leak with one child, and gives the child's pid once the child has all it was to take.
fn with_child(arguments: &str) -> Result<(Leak, Pid), Box<dyn std::error::Error>> {
    let mut leak = Leak::start(arguments)?;
    let first = leak.line()?;
    let child = first.strip_prefix("pid ").and_then(|line| line.split_once(": step 1")).ok_or(first.clone())?.0;
    let child = Pid::from_raw(child.parse()?).ok_or("no pid")?;
    assert_ne!(child, leak.pid()?);
    assert!(leak.line()?.contains("holds 1 MiB"));
    Ok((leak, child))
}

#[test]
fn without_hold_a_leak_ends_with_its_child() -> Outcome {
    let (leak, child) = with_child("--block 1MiB --max 1MiB --child")?;
    kill_process(child, Signal::KILL)?;
    let (status, said) = leak.end()?;
    assert!(said.contains(&format!("its child {} was killed (SIGKILL)", child.as_raw_nonzero())), "{said}");
    assert_eq!(status, Some(1));
    Ok(())
}

#[test]
fn with_hold_the_first_process_outlives_its_child() -> Outcome {
    let (mut leak, child) = with_child("--block 1MiB --max 1MiB --child --hold")?;
    kill_process(child, Signal::KILL)?;
    assert!(leak.line()?.contains("was killed (SIGKILL)"));
    assert!(leak.line()?.contains("lives on"));
    assert!(leak.child.try_wait()?.is_none(), "it ended by itself");
    kill_process(leak.pid()?, Signal::TERM)?;
    assert_eq!(leak.end()?.0, Some(0));
    Ok(())
}

#[test]
fn a_child_dies_with_the_first_process() -> Outcome {
    let (mut leak, child) = with_child("--block 1MiB --max 1MiB --children 1")?;
    kill_process(leak.pid()?, Signal::KILL)?;
    leak.child.wait()?;
    // Its output is closed when nobody has it open any more.
    let mut rest = String::new();
    leak.stdout.read_to_string(&mut rest)?;
    for _ in 0..100 {
        if test_kill_process(child).is_err() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Where nobody reaps orphans it stays a zombie: dead all the same.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.as_raw_nonzero()))?;
    assert!(status.contains("State:\tZ"), "it lives: {status}");
    Ok(())
}

#[test]
fn at_its_own_limit_it_says_so_and_exits_with_the_given_status() -> Outcome {
    let leak = Leak::start("--block 1MiB --every 1ms --max 300MiB --give-up 3MiB --exit-code 3")?;
    let (status, said) = leak.end()?;
    assert!(said.ends_with("out of memory: its own limit of 3 MiB is reached\n"), "{said}");
    assert_eq!((status, said.lines().count()), (Some(3), 4), "{said}");
    Ok(())
}

#[test]
fn beyond_its_address_space_it_is_refused_and_gives_up() -> Outcome {
    let (status, said) =
        Leak::start("--block 64MiB --every 1ms --max 8GiB --touch 0% --mmap --address-space 1GiB")?.end()?;
    assert!(said.contains("gives up: step"), "{said}");
    assert_eq!(status, Some(1));
    Ok(())
}

#[test]
fn sigterm_does_what_was_asked_for() -> Outcome {
    for (on_term, expected) in [("exit", 0), ("143", 143)] {
        let mut leak = Leak::start(&format!("--max 0 --on-term {on_term}"))?;
        assert!(leak.line()?.contains("holds 0 B"));
        kill_process(leak.pid()?, Signal::TERM)?;
        assert_eq!(leak.end()?, (Some(expected), String::new()), "{on_term}");
    }
    let mut leak = Leak::start("--max 0 --on-term ignore")?;
    assert!(leak.line()?.contains("holds 0 B"));
    kill_process(leak.pid()?, Signal::TERM)?;
    assert!(leak.line()?.ends_with("ignores SIGTERM"));
    assert!(leak.child.try_wait()?.is_none(), "it ended");
    kill_process(leak.pid()?, Signal::KILL)?;
    assert_eq!(leak.end()?.0, None);
    Ok(())
}

#[test]
fn it_ends_well_when_its_time_is_over() -> Outcome {
    let (status, said) = Leak::start("--max 1MiB --block 1MiB --for 300ms")?.end()?;
    assert!(said.contains("step 1: "), "{said}");
    assert_eq!(status, Some(0));
    // Before the first step, too.
    let (status, said) = Leak::start("--max 1MiB --delay 1h --for 10ms")?.end()?;
    assert_eq!((status, said.as_str()), (Some(0), ""));
    Ok(())
}

/// The status line of an HTTP answer.
fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: leak\r\n\r\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

#[test]
fn a_server_is_healthy_until_it_is_not() -> Outcome {
    // Free a moment ago; nothing else here takes ports.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut leak = Leak::start(&format!("--max 0 --listen 127.0.0.1:{port} --healthy-for 2s"))?;
    assert!(leak.line()?.contains("holds 0 B"));
    assert_eq!(ask(port)?, "HTTP/1.1 200 OK");
    for _ in 0..200 {
        if ask(port)? == "HTTP/1.1 503 Service Unavailable" {
            kill_process(leak.pid()?, Signal::TERM)?;
            assert_eq!(leak.end()?.0, Some(0));
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err("it stays healthy".into())
}

#[test]
fn a_child_leaks_as_its_parent_was_reported_to() -> Outcome {
    let folder = tempfile::tempdir()?;
    let arguments = format!(
        "--child --block 1MiB --every 1ms --max 9MiB --give-up 3MiB --exit-code 7 --files {}",
        folder.path().display()
    );
    let (status, said) = Leak::start(&arguments)?.end()?;
    assert!(said.contains("exited with 7"), "{said}");
    assert_eq!(status, Some(1));
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 3);
    Ok(())
}

#[test]
fn wrong_amounts_are_wrong_usage_and_name_the_remedy() -> Outcome {
    for (arguments, expected) in [
        (["--block", "0"], "a block has to have a byte at least"),
        (["--block", "10m"], "there is no unit `m`: use Ki, Mi"),
        (["--max", "much"], "it has to begin with a number"),
        (["--touch", "101%"], "a percentage from 0% to 100%"),
        (["--every", "1s ago"], "negative"),
        (["--give-up", "120%"], "a percentage from 0% to 100%"),
        (["--on-term", "die"], "exit, 143, ignore"),
        (["--healthy-for", "1s"], "--listen"),
        (["--shm", "--file"], "cannot be used with"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_oomtrace")).arg("leak").args(arguments).output()?;
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
    Ok(())
}
