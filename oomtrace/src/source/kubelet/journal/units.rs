//! The systemd units whose log has the kubelet's lines in it.

use crate::event::programs::{KUBELETS, MEMORY_KILLERS, RUNTIMES};

/// journald says what it did not keep.
const JOURNALD: &str = "systemd-journald";

/// Container runtimes notice OOMs, user-space OOM killers name whom they kill.
fn others() -> impl Iterator<Item = &'static str> {
    RUNTIMES.services.iter().chain(MEMORY_KILLERS.services).copied().chain([JOURNALD])
}

/// All that are known.
pub(super) fn known() -> Vec<String> {
    KUBELETS.services.iter().copied().chain(others()).map(ToOwned::to_owned).collect()
}

/// The given ones, with those that speak of containers and of the journal itself.
pub(super) fn with_runtimes(units: &[String]) -> Vec<String> {
    units.iter().cloned().chain(others().map(ToOwned::to_owned)).collect()
}
