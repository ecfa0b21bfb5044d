//! `oomtrace leak` as a person runs it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
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
        for expected in
            ["1: 1.0 MiB allocated, 512.0 KiB", "2: 2.0 MiB allocated, 1.0 MiB", "3: 2.5 MiB allocated, 1.2 MiB"]
        {
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
    assert!(leak.line()?.contains("holds 1.0 MiB"));
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
fn wrong_amounts_are_wrong_usage_and_name_the_remedy() -> Outcome {
    for (arguments, expected) in [
        (["--block", "0"], "a block has to have a byte at least"),
        (["--block", "10m"], "there is no unit `m`: use Ki, Mi"),
        (["--max", "much"], "it has to begin with a number"),
        (["--touch", "101%"], "a percentage from 0% to 100%"),
        (["--every", "1s ago"], "negative"),
        (["--shm", "--file"], "cannot be used with"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_oomtrace")).arg("leak").args(arguments).output()?;
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
    Ok(())
}
