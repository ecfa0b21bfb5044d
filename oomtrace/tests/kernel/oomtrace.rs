//! The program under test, as a person would run it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

/// A running `oomtrace run --format json`.
pub(crate) struct Oomtrace {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) status: Value,
}

impl Oomtrace {
    /// Starts it and waits until it has attached.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_as(arguments, |_| {})
    }

    /// The same, with something done to the command before it runs.
    pub(crate) fn start_as(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let mut command = Command::new("oomtrace");
        command.args(["run", "--format", "json", "--all", "--log-level", "warn"]).args(arguments);
        prepare(&mut command);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("oomtrace does not start")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut first = String::new();
        stdout.read_line(&mut first)?;
        let status = validated(&first)?;
        ensure!(status["kind"] == "status" && status["phase"] == "started", "the first line is {first}");
        Ok(Self { child, stdout, status })
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        // SAFETY: the child has not been waited for, so the id is its.
        let sent = unsafe { libc::kill(i32::try_from(self.pid())?, signal) };
        ensure!(sent == 0, "oomtrace is gone");
        Ok(())
    }

    /// Ends it with SIGTERM, and gives every line that it printed after its first.
    pub(crate) fn stop(mut self) -> Result<Vec<Value>> {
        // Whatever the kernel did is in the ring by now.
        thread::sleep(Duration::from_millis(300));
        self.signal(libc::SIGTERM)?;
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "oomtrace ended with {status}");
        ensure!(rest.ends_with('\n'), "the last line is cut short: {rest}");
        let lines: Vec<Value> = rest.lines().map(validated).collect::<Result<_>>()?;
        let last = lines.last().context("nothing was printed at the end")?;
        ensure!(last["kind"] == "status" && last["phase"] == "stopped", "the last line is {last}");
        Ok(lines)
    }
}

impl Drop for Oomtrace {
    /// A test that failed lets nothing run that the next one would meet.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line that follows the schema that oomtrace itself prints.
pub(crate) fn validated(line: &str) -> Result<Value> {
    static SCHEMA: OnceLock<Result<jsonschema::Validator, String>> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let output = Command::new("oomtrace").arg("schema").output().map_err(|error| error.to_string())?;
        let schema = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        jsonschema::validator_for(&schema).map_err(|error| error.to_string())
    });
    let schema = schema.as_ref().map_err(|error| anyhow!("the schema: {error}"))?;
    let value: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
    if let Err(error) = schema.validate(&value) {
        bail!("a line breaks the schema ({error}): {line}");
    }
    Ok(value)
}

/// The lines of one kind.
pub(crate) fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// The lines of loss, but for programs that the kernel skipped: where it can preempt them, it does so now and then.
pub(crate) fn losses(lines: &[Value]) -> Vec<&Value> {
    of_kind(lines, "lost").into_iter().filter(|line| line["from"] != "program").collect()
}

/// The only kill.
pub(crate) fn only_kill(lines: &[Value]) -> Result<&Value> {
    let kills = of_kind(lines, "oom_kill");
    ensure!(kills.len() == 1, "{} kills: {lines:#?}", kills.len());
    Ok(kills[0])
}

/// Waits until `done`, for at most two minutes: a guest is emulated, on processors that have more to do.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !done()? {
        ensure!(started.elapsed() < Duration::from_mins(2), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
