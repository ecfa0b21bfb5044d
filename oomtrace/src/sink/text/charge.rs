//! Charges and allocations that failed.

use super::{
    page::Page,
    words::{describe_limit, number, place, size, who},
};
use crate::event::{AllocationRefused, ChargeFailures, ChargeState, Mark, RefusedBy};

pub(super) fn write_failures(page: &mut Page, ts: &str, failures: &ChargeFailures) {
    let state = match failures.state {
        ChargeState::Began => "hits its limit",
        ChargeState::GoesOn => "still hits its limit",
        ChargeState::Ceased => "no longer hits its limit",
    };
    let place = place(failures.pod.as_ref(), failures.container.as_ref());
    let attempts = failures.attempts.map_or_else(String::new, |count| format!(", {count} attempts reclaimed memory"));
    let failed = failures.failed.map_or_else(String::new, |count| format!(", {count} charges failed"));
    let ooms =
        failures.ooms.filter(|count| *count > 0).map_or_else(String::new, |count| format!(", {count} ended in an OOM"));
    let limit = failures.limit.as_ref().map_or_else(String::new, |limit| format!("; {}", describe_limit(limit)));
    page.event(ts, Mark::Failure, &format!("charges: {place} {state}{attempts}{failed}{ooms}{limit}"));
}

pub(super) fn write_refused(page: &mut Page, ts: &str, refused: &AllocationRefused) {
    let by = match refused.by {
        RefusedBy::Overcommit => "overcommit accounting",
        RefusedBy::RlimitAs => "RLIMIT_AS",
        RefusedBy::RlimitData => "RLIMIT_DATA",
        RefusedBy::Rlimit => "RLIMIT_AS or RLIMIT_DATA",
    };
    let text = format!(
        "refused: {} in {} by {by}: {} allocations, the last of {}, limit {}",
        who(&refused.task),
        place(refused.pod.as_ref(), refused.container.as_ref()),
        number(Some(refused.count)),
        size(refused.requested_bytes),
        size(refused.limit_bytes),
    );
    page.event(ts, Mark::Failure, &text);
}
