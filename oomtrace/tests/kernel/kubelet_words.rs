//! What a kubelet once said.

use jiff::{Timestamp, tz::TimeZone};

/// How kubelet 1.36 evicted `team-a/be-multi`, word for word.
const EVICTION: [&str; 6] = [
    r#"eviction_manager.go:381] "Eviction manager: attempting to reclaim" resourceName="memory""#,
    r#"eviction_manager.go:392] "Eviction manager: must evict pod(s) to reclaim" resourceName="memory""#,
    r#"eviction_manager.go:410] "Eviction manager: pods ranked for eviction" pods=["team-a/be-multi"]"#,
    r#"eviction_manager.go:635] "Eviction manager: pod is evicted successfully" pod="team-a/be-multi""#,
    r#"eviction_manager.go:213] "Eviction manager: pods evicted, waiting for pod to be cleaned up" pods=["team-a/be-multi"]"#,
    r#"eviction_manager.go:464] "Eviction manager: pods successfully cleaned up" pods=["team-a/be-multi"]"#,
];

/// That this pod is evicted now, a line each.
pub(crate) fn eviction(pod: &str) -> String {
    let now = TimeZone::UTC.to_datetime(Timestamp::now()).strftime("%m%d %H:%M:%S%.6f").to_string();
    EVICTION.map(|line| format!("I{now}     440 {}\n", line.replace("team-a/be-multi", pod))).concat()
}
