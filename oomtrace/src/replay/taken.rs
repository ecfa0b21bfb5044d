//! Files without an option: what each of them is, by what is in it.

use std::path::Path;

use anyhow::Result;
use tracing::{info, warn};

use super::{Inputs, archive, given::Given, input, pods, unwrap, what::What};
use crate::{
    node::snapshot::{self, Snapshot},
    source::{
        envelope::{
            json,
            learnt::{LineKind, Wanted, is_document},
        },
        kernel_log::{self, KernelLines},
        kubelet_log::KubeletLines,
    },
};

/// So many bytes show what a file is.
const SAMPLE_BYTES: u64 = 4 << 20;
/// A kubelet's lines are looked for in so many.
const KUBELET_BYTES: usize = 1 << 20;
/// An app's lines may look like the kernel's: of a kernel log so many of a hundred do.
const LEAST_OF_KERNEL: usize = 5;

/// What a file was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    KernelLog,
    KubeletLog,
    /// The journal of a node, with the kernel's lines and the kubelet's.
    BothLogs,
    /// Lines of a kernel's log, and parts of what kubectl printed, pasted into one text.
    KernelLogAndPods,
    /// The same of a kubelet's.
    KubeletLogAndPods,
    /// The same of both.
    BothLogsAndPods,
    Recording,
    Pods,
    KubeletMetrics,
}

impl Role {
    fn in_words(self) -> &'static str {
        match self {
            Self::KernelLog => "a kernel log (--kernel-log)",
            Self::KubeletLog => "a kubelet's log (--kubelet-log)",
            Self::BothLogs => "a log with the kernel's and the kubelet's lines (--kernel-log and --kubelet-log)",
            Self::KernelLogAndPods => "a kernel log, with what is known of pods beside it (--kernel-log and --pods)",
            Self::KubeletLogAndPods => {
                "a kubelet's log, with what is known of pods beside it (--kubelet-log and --pods)"
            }
            Self::BothLogsAndPods => {
                "a log with the kernel's and the kubelet's lines, with what is known of pods beside them (--kernel-log, \
                 --kubelet-log and --pods)"
            }
            Self::Recording => "a recording (--events)",
            Self::Pods => "what is known of pods (--pods)",
            Self::KubeletMetrics => "the kubelet's metrics (--kubelet-metrics)",
        }
    }
}

/// Gives each file without an option the option that it is for, and says so. `false` where none of them is of use.
pub(super) fn take(inputs: &mut Inputs, snapshot: &mut Snapshot) -> Result<bool> {
    let mut any = false;
    for file in std::mem::take(&mut inputs.files) {
        any |= take_one(file, inputs, snapshot)?;
    }
    Ok(any)
}

fn take_one(file: Given, inputs: &mut Inputs, snapshot: &mut Snapshot) -> Result<bool> {
    if file.is_dir() {
        info!("{file}: taken for a folder of {}", Role::Pods.in_words());
        inputs.pods.push(file);
        return Ok(true);
    }
    let file = input::repeatable(file)?;
    let mut input = input::open(&file)?;
    let start = input.peek(&file, SAMPLE_BYTES)?;
    if archive::is_archive(&start) {
        info!("{file}: taken for an archive");
        return take_all(archive::entries(&file, input)?, inputs, snapshot);
    }
    drop(input);
    let Some(role) = role(&file, &start)? else {
        warn!("{file}: {}", What::of(&start).instead_of_anything(&start));
        return Ok(false);
    };
    info!("{file}: taken for {}", role.in_words());
    give(role, file, inputs);
    Ok(true)
}

/// The same of files that were kept together: of an archive, or of this node. `false` where none is of use.
pub(super) fn take_all(kept: Vec<archive::Kept>, inputs: &mut Inputs, snapshot: &mut Snapshot) -> Result<bool> {
    let mut any = false;
    for archive::Kept { path, file } in kept {
        if path == archive::NODE {
            archive::take_node(&file, inputs)?;
        } else if let Some(bytes) = file.bytes().filter(|_| pods::is_log(&path)) {
            pods::enter_log(&path, bytes, snapshot);
            any = true;
        } else if !archive::is_for_people(&path) {
            let mut input = input::open(&file)?;
            let start = input.peek(&file, SAMPLE_BYTES)?;
            drop(input);
            let known = if start.trim_ascii().is_empty() { None } else { archive::role(&path) };
            let role = match known {
                Some(role) => Some(role),
                None => role(&file, &start)?,
            };
            let Some(role) = role else {
                info!("{file}: passed over: {}", What::of(&start).instead_of_anything(&start));
                continue;
            };
            info!("{file}: taken for {}", role.in_words());
            give(role, file, inputs);
            any = true;
        }
    }
    Ok(any)
}

fn give(role: Role, file: Given, inputs: &mut Inputs) {
    match role {
        Role::KernelLog => inputs.kernel_log.push(file),
        Role::KubeletLog => inputs.kubelet_log.push(file),
        Role::BothLogs => {
            inputs.kernel_log.push(file.clone());
            inputs.kubelet_log.push(file);
        }
        Role::KernelLogAndPods => {
            inputs.pasted = true;
            inputs.pods.push(file.clone());
            inputs.kernel_log.push(file);
        }
        Role::KubeletLogAndPods => {
            inputs.pasted = true;
            inputs.pods.push(file.clone());
            inputs.kubelet_log.push(file);
        }
        Role::BothLogsAndPods => {
            inputs.pasted = true;
            inputs.pods.push(file.clone());
            inputs.kernel_log.push(file.clone());
            inputs.kubelet_log.push(file);
        }
        Role::Recording => inputs.events.push(file),
        Role::Pods => inputs.pods.push(file),
        Role::KubeletMetrics => inputs.kubelet_metrics.push(file),
    }
}

/// What a file is, by how it begins; `None` where it is nothing that is read.
fn role(file: &Given, start: &[u8]) -> Result<Option<Role>> {
    if matches!(What::of(start), What::Empty | What::Binary) && !kernel_log::is_export(start) {
        return Ok(None);
    }
    if unwrap::has_line(start) {
        return Ok(Some(Role::Recording));
    }
    let pods = may_be_pods(start) && has_pods(file, start)?;
    if pods {
        // A document has nothing beside it; a text that was pasted may have.
        let pasted = whole(start) && snapshot::is_printed(start.trim_ascii_start());
        return Ok(Some(match (pasted && has_kernel(start), pasted && has_heads_of_kubelet(start)) {
            (true, true) => Role::BothLogsAndPods,
            (true, false) => Role::KernelLogAndPods,
            (false, true) => Role::KubeletLogAndPods,
            (false, false) => Role::Pods,
        }));
    }
    // A document of JSON may have its lines anywhere.
    let document =
        is_document(start).then(|| json::objects(start)).flatten().map(|lines| lines.join("\n").into_bytes());
    let logged = document.as_deref().unwrap_or(start);
    let marked = whole(start) && snapshot::has_marked(start);
    // The kernel's words may stand in the message of an event.
    let without_members = marked.then(|| without_members(logged));
    let logged = without_members.as_deref().unwrap_or(logged);
    let (kernel, kubelet) = (kernel_log::is_export(start) || has_kernel(logged), has_kubelet(logged));
    let part = marked || whole(start) && (kernel || kubelet) && snapshot::has_part(start);
    Ok(match (kernel, kubelet) {
        (true, true) if part => Some(Role::BothLogsAndPods),
        (true, true) => Some(Role::BothLogs),
        (true, false) if part => Some(Role::KernelLogAndPods),
        (true, false) => Some(Role::KernelLog),
        (false, true) if part => Some(Role::KubeletLogAndPods),
        (false, true) => Some(Role::KubeletLog),
        (false, false) if marked => Some(Role::Pods),
        (false, false) if has_metrics(start) => Some(Role::KubeletMetrics),
        (false, false) if whole(start) && has_status(file, start)? => Some(Role::Pods),
        (false, false) => None,
    })
}

fn lines(start: &[u8]) -> impl Iterator<Item = &[u8]> {
    start.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty())
}

/// A text without the members of JSON objects that are printed over several lines: `"message": "…",`.
fn without_members(text: &[u8]) -> Vec<u8> {
    let is_member =
        |line: &&[u8]| line.trim_ascii_start().starts_with(b"\"") && memchr::memmem::find(line, b"\": ").is_some();
    text.split(|byte| *byte == b'\n').filter(|line| !is_member(line)).collect::<Vec<_>>().join(&b'\n')
}

/// Whether there are lines of the kernel's, be it that none is of a kill.
fn has_kernel(start: &[u8]) -> bool {
    let Ok(wanted) = KernelLines::new() else { return false };
    let (mut of_kernel, mut others) = (0_usize, 0_usize);
    for line in lines(start) {
        match wanted.known(line) {
            // klog's JSON has a time and a message, too.
            LineKind::Wanted(_) if line.starts_with(b"{\"ts\":") && wanted.text_at(line).is_none() => others += 1,
            LineKind::Wanted(_) => of_kernel += 1,
            // A line of an OOM report behind anything but a kubelet's head.
            LineKind::Bare | LineKind::No if wanted.text_at(line).is_some() && KubeletLines.text_at(line).is_none() => {
                if !snapshot::is_event(line) {
                    return true;
                }
            }
            LineKind::Foreign => {}
            LineKind::Bare | LineKind::No => others += 1,
        }
    }
    of_kernel * 100 > others * LEAST_OF_KERNEL
}

fn has_kubelet(start: &[u8]) -> bool {
    let start = &start[..start.len().min(KUBELET_BYTES)];
    lines(start).any(|line| match KubeletLines.known(line) {
        LineKind::Wanted(_) => true,
        LineKind::Foreign => false,
        LineKind::Bare | LineKind::No => KubeletLines.text_at(line).is_some(),
    })
}

/// The same, where what kubectl prints has the kubelet's words, too: only a head tells that a line is the kubelet's.
fn has_heads_of_kubelet(start: &[u8]) -> bool {
    lines(start).any(|line| matches!(KubeletLines.known(line), LineKind::Wanted(_)))
}

fn has_metrics(start: &[u8]) -> bool {
    lines(start).any(|line| line.starts_with(b"# TYPE kubelet_") || line.starts_with(b"kubelet_evictions"))
}

/// JSON, YAML of Kubernetes, or kubectl's tables and descriptions.
fn may_be_pods(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    let yaml = || {
        let mut first = lines(text).take(64).map(|line| line.trim_ascii_start().trim_ascii_start());
        first.any(|line| {
            let line = line.strip_prefix(b"- ").unwrap_or(line);
            line.starts_with(b"apiVersion:") || line.starts_with(b"kind:")
        })
    };
    matches!(text.first(), Some(b'{' | b'[')) || snapshot::is_printed(text) || yaml()
}

/// Whether all of a file was looked at: a text that somebody pasted is not large.
fn whole(start: &[u8]) -> bool {
    (start.len() as u64) < SAMPLE_BYTES
}

/// Whether there are parts of what kubectl prints, or a status without its pod.
fn has_status(file: &Given, start: &[u8]) -> Result<bool> {
    let words: [&[u8]; 3] = [b"exitCode", b"OOMKilled", b"Evicted"];
    let any = words.iter().any(|word| memchr::memmem::find(start, word).is_some());
    Ok(snapshot::has_part(start) || any && has_pods(file, start)?)
}

fn has_pods(file: &Given, start: &[u8]) -> Result<bool> {
    // Of JSON lines the first ones tell.
    let first = start.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let of_lines = first.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok();
    let mut found = Snapshot::default();
    let read = if whole(start) || of_lines {
        snapshot::read(start, &mut found)
    } else {
        snapshot::read(&input::read_whole(file)?.0, &mut found)
    };
    Ok(read.is_ok_and(|found| !found.is_empty()))
}

/// The name of a file without folders.
pub(super) fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn of(text: &str) -> Option<Role> {
        let file = Given::held("file".to_owned(), text.as_bytes().to_vec(), Timestamp::UNIX_EPOCH);
        role(&file, text.as_bytes()).expect("readable")
    }

    #[test]
    fn a_file_is_taken_for_what_is_in_it() {
        let kernel = "[    0.000000] Linux version 6.12.0\n[    1.500000] random: crng init done\n";
        let journal = "2026-11-23T23:20:37.158837+00:00 node1 kernel: Linux version 6.12.0\n";
        let kubelet = "I0601 10:00:31.000000    1200 kubelet.go:369] \"Starting kubelet main sync loop\"\n";
        let in_journal = format!("2026-11-23T23:20:37.158837+00:00 node1 kubelet[1200]: {kubelet}");
        let event = r#"{"ts":"2026-06-01T10:00:00.000000000Z","seq":7,"node":"n1","source":"kubelet","boot_ns":null,"kind":"system_oom","pid":7,"comm":"java"}"#;
        let pods = r#"{"kind":"List","items":[{"metadata":{"uid":"0ca9ec6b-5d5f-4dbd-8a36-3e5a6b7c8d9e","name":"a"},"spec":{"containers":[]}}]}"#;
        let yaml =
            "apiVersion: v1\nkind: Event\ninvolvedObject:\n  kind: Pod\n  name: a\nreason: Evicted\nmessage: b\n";
        for (text, role) in [
            (kernel, Some(Role::KernelLog)),
            (journal, Some(Role::KernelLog)),
            (kubelet, Some(Role::KubeletLog)),
            (&in_journal, Some(Role::KubeletLog)),
            (
                r#"{"ts":1795476961825.0369,"caller":"eviction/eviction_manager.go:381","msg":"Eviction manager: attempting to reclaim","v":0,"resourceName":"inodes"}"#,
                Some(Role::KubeletLog),
            ),
            ("Last State: Terminated\nReason: OOMKilled\nExit Code: 137\n", Some(Role::Pods)),
            (
                "Warning  OOMKilling  65s  kernel-monitor  Memory cgroup out of memory: Killed process 7 (a) total-vm:8kB\n",
                Some(Role::Pods),
            ),
            ("[   77.740597] systemd-timesyncd[659]: started\n", Some(Role::KernelLog)),
            (&format!("{kubelet}The node was low on resource: memory.\n"), Some(Role::KubeletLogAndPods)),
            (&format!("{journal}{in_journal}"), Some(Role::BothLogs)),
            (event, Some(Role::Recording)),
            (&format!("2026-06-01T10:00:00.1Z stdout F {event}"), Some(Role::Recording)),
            (pods, Some(Role::Pods)),
            (yaml, Some(Role::Pods)),
            (
                "# TYPE kubelet_evictions counter\nkubelet_evictions{eviction_signal=\"memory.available\"} 1\n",
                Some(Role::KubeletMetrics),
            ),
            ("", None),
            (
                "As seen:\n```\n{\n \"involvedObject\": {\"kind\": \"Node\", \"name\": \"n\"},\n \"reason\": \"OOMKilling\",\n \
                 \"message\": \"Memory cgroup out of memory: Killed process 7 (a) total-vm:8kB\"\n}\n```\n",
                Some(Role::Pods),
            ),
            ("Dear all,\n", None),
            ("{\"a\":1}\n", None),
        ] {
            assert_eq!(of(text), role, "{text}");
        }
    }
}
