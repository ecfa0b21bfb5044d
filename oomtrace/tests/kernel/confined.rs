//! What oomtrace can still do once it has confined itself, and what nobody in it can do any more.

mod attempts;

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

pub(crate) use self::attempts::attempt_all;
use self::attempts::{ATTEMPTS, OUTSIDE};
use crate::{
    Outcome,
    cgroup::{Cgroup, container_id, container_path},
    check_eq, kubelet_words,
    oomtrace::{Oomtrace, of_kind, wait_until},
    scenarios::{Scenario, run_to_death},
};

pub(crate) const ALL: &[Scenario] = &[
    ("a_confined_oomtrace_does_all_that_it_should", does_all),
    ("every_thread_has_given_up_what_is_not_needed_any_more", rights),
    ("each_measure_can_be_switched_off", switched_off),
    ("what_is_forbidden_fails_in_a_process_that_is_confined_so", forbidden),
];

const FOLDER: &str = "/tmp/confined";
const ADDRESS: &str = "127.0.0.1:9478";
/// Bits of `/proc/PID/status`, `include/uapi/linux/capability.h`.
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const BPF: u64 = 1 << 39;

/// Whether this kernel has Landlock.
fn has_landlock() -> bool {
    // SAFETY: with this flag, which asks for the version, no attributes are read.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1) };
    version > 0
}

/// Whether the kernel asks for `CAP_BPF` whenever a map is read: before 5.19, with this setting.
fn needs_bpf() -> bool {
    let is_disabled = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").is_ok_and(|is| is.trim() != "0");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    is_disabled && release.starts_with("5.")
}

/// What a status says that confines: all, where the kernel has it.
fn all_measures() -> Value {
    if has_landlock() {
        json!(["capabilities", "no_new_privs", "seccomp", "landlock"])
    } else {
        json!(["capabilities", "no_new_privs", "seccomp"])
    }
}

/// The rights of each thread of a process, by its name: the lines of `/proc/PID/task/TID/status` that are about them.
fn rights_of(pid: u32) -> Result<Vec<(String, BTreeMap<String, u64>)>> {
    let mut threads = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("status"))?;
        let fields: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once(":\t")).collect();
        let name = (*fields.get("Name").context("a thread without a name")?).to_owned();
        let number = |(field, value): (&&str, &&str)| {
            let radix = if field.starts_with("Cap") { 16 } else { 10 };
            let is_right = field.starts_with("Cap") || ["NoNewPrivs", "Seccomp"].contains(field);
            is_right.then(|| Some(((*field).to_owned(), u64::from_str_radix(value, radix).ok()?)))?
        };
        threads.push((name, fields.iter().filter_map(number).collect()));
    }
    Ok(threads)
}

fn show(what: &str, rights: &BTreeMap<String, u64>) {
    let rights: Vec<_> = rights.iter().map(|(field, value)| format!("{field} {value:x}")).collect();
    println!("{what}: {}", rights.join(", "));
}

/// A folder of this test's, empty.
fn folder() -> Result<&'static Path> {
    let folder = Path::new(FOLDER);
    // It is not there the first time.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder.join("state"))?;
    fs::write(folder.join("kubelet.log"), "")?;
    Ok(folder)
}

const ARGUMENTS: [&str; 12] = [
    "--state-dir",
    "/tmp/confined/state",
    "--alive-file",
    "/tmp/confined/alive",
    "--kubelet-log",
    "/tmp/confined/kubelet.log",
    "--metrics-listen",
    ADDRESS,
    "--record",
    "/tmp/confined/record.jsonl",
    "--output",
    "jsonl:/tmp/confined/events.jsonl",
];

fn figures() -> Result<String> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: oomtrace\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn does_all() -> Outcome {
    let folder = folder()?;
    let container = Cgroup::make(&container_path(90, 90))?;
    container.limit(20)?;
    let oomtrace = Oomtrace::start(&[&ARGUMENTS[..], &["--output-rotate-size", "4Ki"]].concat())?;
    check_eq!(oomtrace.status["confined"], all_measures(), "what confines it");
    let lacks_landlock = oomtrace.status["degraded"].to_string().contains("landlock does not confine");
    check_eq!(lacks_landlock, !has_landlock(), "whether Landlock is said to be missing: {}", oomtrace.status);

    let log = folder.join("kubelet.log");
    let evict = |pod: &str| -> Outcome {
        let mut log = fs::File::options().append(true).create(true).open(&log)?;
        Ok(log.write_all(kubelet_words::eviction(pod).as_bytes())?)
    };
    let record = || fs::read_to_string(folder.join("record.jsonl")).unwrap_or_default();
    run_to_death("eat", &container)?;
    evict("shop/first")?;
    wait_until("the first eviction is recorded", || Ok(record().contains("shop") && record().contains("first")))?;
    fs::rename(&log, folder.join("kubelet.log.1"))?;
    evict("shop/second")?;
    wait_until("an eviction is read from the new log", || Ok(record().contains("\"second\"")))?;
    // Files that somebody moved away are opened again.
    fs::rename(folder.join("record.jsonl"), folder.join("record.old"))?;
    oomtrace.signal(libc::SIGHUP)?;
    wait_until("the recording is there again", || Ok(folder.join("record.jsonl").exists()))?;
    let other = Cgroup::make(&container_path(91, 91))?;
    other.limit(20)?;
    run_to_death("eat", &other)?;
    wait_until("the second kill is counted", || {
        let figures = figures()?;
        let kills = figures.lines().filter(|line| line.starts_with("oomtrace_oom_kills_total{"));
        Ok(kills.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>() == 2)
    })?;
    ensure!(folder.join("events.jsonl.1").exists(), "the output was not rotated");
    let healthy = Command::new("oomtrace").args(["healthy", "--alive-file", "/tmp/confined/alive"]).output()?;
    ensure!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stderr));
    let traced = fs::read_to_string(folder.join("state/traced.json"))?;
    let lines = oomtrace.stop()?;

    ensure!(traced.contains("boot_id"), "{traced}");
    ensure!(!folder.join("alive").exists(), "the file of a process that has ended says that it is alive");
    let kills = of_kind(&lines, "oom_kill");
    check_eq!(kills.len(), 2, "kills");
    for (kill, number) in kills.iter().zip([90, 91]) {
        check_eq!(kill["container"]["id"], json!(container_id(number)), "whose kill it is");
        for size in [&kill["victim"]["rss_anon_bytes"], &kill["limit"]["limit_bytes"], &kill["limit"]["usage_bytes"]] {
            ensure!(size.is_u64(), "no sizes: {kill:#}");
        }
        ensure!(kill["candidates"].as_array().is_some_and(|candidates| !candidates.is_empty()), "{kill:#}");
    }
    ensure!(!of_kind(&lines, "charge_failures").is_empty(), "no counts of charges, which are read from a map");
    ensure!(of_kind(&lines, "error").is_empty(), "{:#?}", of_kind(&lines, "error"));
    Ok(())
}

fn rights() -> Outcome {
    folder()?;
    let before = rights_of(std::process::id())?;
    let oomtrace = Oomtrace::start(&ARGUMENTS)?;
    // The last of its threads are started when it has announced itself.
    wait_until("its threads run", || Ok(rights_of(oomtrace.pid())?.len() >= 5))?;
    let after = rights_of(oomtrace.pid())?;
    oomtrace.stop()?;

    show("before", &before[0].1);
    for (name, rights) in &after {
        show(&format!("after, {name}"), rights);
        check_eq!(rights["NoNewPrivs"], 1, "NoNewPrivs of {name}");
        check_eq!(rights["Seccomp"], 2, "Seccomp of {name}");
        let needs_no_maps = ["metrics", "stdout", "output"].contains(&name.as_str());
        let for_maps = if needs_no_maps || !needs_bpf() { 0 } else { BPF };
        let for_environments = if needs_no_maps || has_landlock() { 0 } else { SYS_PTRACE };
        let expected = DAC_READ_SEARCH | for_maps | for_environments;
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            check_eq!(rights[set], expected, "{set} of {name}");
        }
        check_eq!((rights["CapInh"], rights["CapAmb"]), (0, 0), "what programs would inherit of {name}");
    }
    Ok(())
}

fn switched_off() -> Outcome {
    let rights = |arguments: &[&str]| -> Result<_> {
        let oomtrace = Oomtrace::start(arguments)?;
        let status = oomtrace.status.clone();
        let threads = rights_of(oomtrace.pid())?;
        oomtrace.stop()?;
        let (_, main) = threads.into_iter().find(|(name, _)| name == "oomtrace").context("no main thread")?;
        Ok((status, main))
    };
    let before = &rights_of(std::process::id())?[0].1;
    let (status, none) = rights(&["--confine", "none"])?;
    check_eq!(none, *before, "rights with nothing given up");
    check_eq!(status["confined"], Value::Null, "what is said then");
    let (status, one) = rights(&["--confine", "capabilities"])?;
    check_eq!(status["confined"], json!(["capabilities"]), "what is said of one");
    check_eq!((one["NoNewPrivs"], one["Seccomp"]), (0, 0), "others than the one");
    ensure!(one["CapEff"] & !(DAC_READ_SEARCH | SYS_PTRACE | BPF) == 0, "{one:?}");
    let (status, one) = rights(&["--confine", "seccomp"])?;
    check_eq!(status["confined"], json!(["no_new_privs", "seccomp"]), "what is said of seccomp");
    check_eq!((one["NoNewPrivs"], one["Seccomp"], one["CapEff"]), (1, 2, before["CapEff"]), "rights with seccomp");
    // A folder that is another user's is written to all the same.
    let theirs = Path::new("/tmp/confined-theirs");
    fs::create_dir_all(theirs)?;
    fs::set_permissions(theirs, fs::Permissions::from_mode(0o700))?;
    std::os::unix::fs::chown(theirs, Some(1000), Some(1000))?;
    let (_, one) = rights(&["--state-dir", "/tmp/confined-theirs"])?;
    check_eq!(one["CapEff"] & DAC_OVERRIDE, DAC_OVERRIDE, "the right to write to another user's folder");
    ensure!(theirs.join("traced.json").exists(), "nothing is written there");
    Ok(())
}

/// How each attempt ends in a process of its own, confined or not: an error's number, 0 where it succeeds.
fn attempted(confined: &str) -> Result<BTreeMap<String, i32>> {
    let output = Command::new(env::current_exe()?).args(["--workload", confined, ""]).output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn forbidden() -> Outcome {
    let folder = folder()?;
    fs::write(folder.join("outside"), "as it was")?;
    let (before, after) = (attempted("attempt-unconfined")?, attempted("attempt-confined")?);
    let errno = |number| match number {
        0 => "done".to_owned(),
        number => std::io::Error::from_raw_os_error(number).to_string(),
    };
    for (name, _) in ATTEMPTS {
        println!("{name}: before: {}, after: {}", errno(before[*name]), errno(after[*name]));
    }
    for (name, _) in ATTEMPTS {
        let expected = if *name == "clone3" { libc::ENOSYS } else { libc::EPERM };
        check_eq!(after[*name], expected, "{name} after");
        ensure!(before[*name] != expected, "{name} is refused anyhow");
    }
    for (name, _) in OUTSIDE {
        println!("{name}: before: {}, after: {}", errno(before[*name]), errno(after[*name]));
        check_eq!(before[*name], 0, "{name} before");
        if has_landlock() {
            ensure!([libc::EACCES, libc::EPERM].contains(&after[*name]), "{name} after: {}", after[*name]);
        }
    }
    for name in ["write inside", "replace inside", "read outside", "start a thread", "connect"] {
        check_eq!((before[name], after[name]), (0, 0), "{name}");
    }
    Ok(())
}
