//! Charges and allocations that failed.

use std::fmt::Write as _;

use super::words::{describe_limit, number, place, size, who};
use crate::event::{AllocationRefused, ChargeFailures, ChargeState, RefusedBy};

pub(super) fn write_failures(out: &mut String, ts: &str, failures: &ChargeFailures) -> std::fmt::Result {
    let state = match failures.state {
        ChargeState::Began => "begins to hit its limit",
        ChargeState::GoesOn => "still hits its limit",
        ChargeState::Ceased => "hits its limit no more",
    };
    let place = place(failures.pod.as_ref(), failures.container.as_ref());
    let attempts = failures.attempts.map_or_else(String::new, |count| format!(", {count} attempts went into reclaim"));
    let failed = failures.failed.map_or_else(String::new, |count| format!(", {count} charges failed"));
    let ooms =
        failures.ooms.filter(|count| *count > 0).map_or_else(String::new, |count| format!(", {count} came to an OOM"));
    let limit = failures.limit.as_ref().map_or_else(String::new, |limit| format!("; {}", describe_limit(limit)));
    writeln!(out, "{ts}  charges: {place} {state}{attempts}{failed}{ooms}{limit}")
}

pub(super) fn write_refused(out: &mut String, ts: &str, refused: &AllocationRefused) -> std::fmt::Result {
    let by = match refused.by {
        RefusedBy::Overcommit => "overcommit accounting",
        RefusedBy::RlimitAs => "RLIMIT_AS",
        RefusedBy::RlimitData => "RLIMIT_DATA",
        RefusedBy::Rlimit => "RLIMIT_AS or RLIMIT_DATA",
    };
    writeln!(
        out,
        "{ts}  refused: {} in {} by {by}: {} allocations, the last of {}, limit {}",
        who(&refused.task),
        place(refused.pod.as_ref(), refused.container.as_ref()),
        number(Some(refused.count)),
        size(refused.requested_bytes),
        size(refused.limit_bytes),
    )
}
