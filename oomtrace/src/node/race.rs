//! Who acts first where memory grows: the kubelet at its next pass, or the kernel at the limit.

use serde::Serialize;

/// The kubelet looks every so many seconds (`monitoringInterval`, `pkg/kubelet/eviction/eviction_manager.go`).
pub const PASS_SECONDS: f64 = 10.0;
/// The shortest grace of a hard eviction in seconds: `minimumGracePeriodInSeconds`, which a process may use up.
pub const GRACE_SECONDS: f64 = 2.0;

/// Who acts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum First {
    /// The kubelet: a pod is evicted.
    Kubelet,
    /// The kernel: a process is killed.
    Kernel,
    /// It depends on where in its ten seconds the kubelet is.
    Either,
    /// Not known: the threshold is not.
    Unknown,
    /// Neither: no threshold is crossed, and memory does not grow.
    Nobody,
}

/// A threshold and the limit behind it, at a rate of growth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Race {
    /// Growth in bytes per second; below zero where memory is freed.
    pub bytes_per_second: f64,
    /// Seconds until the threshold is crossed; 0 where it is. `None` where there is none, or memory does not grow.
    pub threshold_seconds: Option<f64>,
    /// Seconds until the kernel's limit is reached.
    pub limit_seconds: Option<f64>,
    /// Who acts first.
    pub first: First,
}

impl Race {
    /// `to_threshold_bytes` is what may still be used before the threshold is crossed, `to_limit_bytes` before the kernel acts.
    #[must_use]
    pub fn at(bytes_per_second: f64, to_threshold_bytes: Option<i64>, to_limit_bytes: i64) -> Self {
        let threshold_seconds = to_threshold_bytes.and_then(|bytes| seconds(bytes, bytes_per_second));
        let limit_seconds = seconds(to_limit_bytes, bytes_per_second);
        let first = match (threshold_seconds, limit_seconds) {
            // Crossed: the kubelet evicts, whether or not memory grows.
            (Some(threshold), None) if threshold <= 0.0 => First::Kubelet,
            (_, None) => First::Nobody,
            (None, Some(_)) => First::Kernel,
            (Some(threshold), Some(limit)) if limit - threshold < GRACE_SECONDS => First::Kernel,
            (Some(threshold), Some(limit)) if limit - threshold > PASS_SECONDS + GRACE_SECONDS => First::Kubelet,
            _ => First::Either,
        };
        Self { bytes_per_second, threshold_seconds, limit_seconds, first }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds need no more digits")]
fn seconds(bytes: i64, bytes_per_second: f64) -> Option<f64> {
    if bytes <= 0 {
        return Some(0.0);
    }
    (bytes_per_second >= 1.0).then(|| bytes as f64 / bytes_per_second)
}

/// The growth in bytes per second above which the kernel may act before the kubelet has looked: the threshold in one pass.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
pub fn fastest_seen(threshold_bytes: u64) -> f64 {
    threshold_bytes as f64 / PASS_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    fn first(mib_per_second: i32, to_threshold: Option<i64>, to_limit: i64) -> First {
        Race::at(f64::from(mib_per_second) * 1_048_576.0, to_threshold.map(|mib| mib * MIB), to_limit * MIB).first
    }

    #[test]
    fn the_kubelet_is_first_where_the_threshold_leaves_it_a_pass_and_the_grace() {
        // 100 MiB, the default, is 10 seconds at 10 MiB/s, and 750 MiB of AKS at 75.
        assert_eq!(first(5, Some(400), 500), First::Kubelet);
        assert_eq!(first(10, Some(400), 500), First::Either);
        assert_eq!(first(100, Some(400), 500), First::Kernel);
        assert_eq!(first(50, Some(0), 750), First::Kubelet);
        assert_eq!(first(75, Some(0), 750), First::Either);
    }

    #[test]
    fn without_a_threshold_only_the_kernel_acts_and_without_growth_nobody() {
        assert_eq!(first(1, None, 10), First::Kernel);
        assert_eq!(first(0, Some(10), 20), First::Nobody);
        assert_eq!(first(-3, Some(10), 20), First::Nobody);
        // Crossed, and still.
        assert_eq!(first(0, Some(-1), 20), First::Kubelet);
        let crossed = Race::at(0.0, Some(-1), 20 * MIB);
        assert_eq!((crossed.threshold_seconds, crossed.limit_seconds), (Some(0.0), None));
    }

    #[test]
    fn the_fastest_growth_that_is_seen_in_time_is_the_threshold_in_one_pass() {
        assert!((fastest_seen(100 << 20) - 10_485_760.0).abs() < 1.0);
    }
}
