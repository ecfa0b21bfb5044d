//! Whose lines count: a journal is mixed, and another process may print what looks like a kubelet's line.

use oomtrace_model::programs::{KUBELETS, MEMORY_KILLERS, RUNTIMES};

/// CRI-O's monitors of containers, in C and in Rust.
const CONMONS: [&str; 2] = ["conmon", "conmonrs"];

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A kubelet, or nobody says otherwise.
    Kubelet,
    /// A container runtime.
    Runtime,
    /// A user-space OOM killer.
    Oomd,
    /// CRI-O's monitor of a container, which notices OOMs in it.
    Conmon,
    /// systemd, which notices OOM kills in its units.
    Systemd,
    /// journald, which says what it did not keep.
    Journald,
    /// Anybody else.
    Other,
}

/// How many messages of a kubelet's journald did not keep, as it came to more than `RateLimitBurst=` of them in
/// `RateLimitIntervalSec=`: `Suppressed 1234 messages from kubelet.service` (`journald-server.c`,
/// `server_dispatch_message`), before systemd 235 `… from /system.slice/kubelet.service`.
pub(super) fn suppressed(text: &str, more: &[String]) -> Option<u64> {
    let (count, unit) = text.strip_prefix("Suppressed ")?.split_once(" messages from ")?;
    (of(Some(unit), more) == Writer::Kubelet).then(|| count.parse().ok())?
}

/// The name of a service, of its identifier or its unit.
pub(super) fn service(identifier: &str) -> &str {
    let name = identifier.rsplit_once('/').map_or(identifier, |(_, name)| name);
    name.strip_suffix(".service").unwrap_or(name)
}

/// Who an identifier, or a service of systemd's, stands for; `more` are further ones of kubelets.
pub(super) fn of(identifier: Option<&str>, more: &[String]) -> Writer {
    let Some(identifier) = identifier else { return Writer::Kubelet };
    let name = identifier.rsplit_once('/').map_or(identifier, |(_, name)| name);
    let is_more = |name: &str| more.iter().any(|more| more == name);
    let name = if is_more(name) { name } else { service(name) };
    if KUBELETS.has_service(name) || is_more(name) {
        Writer::Kubelet
    } else if RUNTIMES.has_service(name) {
        Writer::Runtime
    } else if CONMONS.contains(&name) {
        Writer::Conmon
    } else if MEMORY_KILLERS.has_service(name) {
        Writer::Oomd
    } else if name == "systemd" {
        Writer::Systemd
    } else if name == "systemd-journald" {
        Writer::Journald
    } else {
        Writer::Other
    }
}
