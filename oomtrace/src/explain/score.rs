//! An `oom_score_adj`, decoded: which `QoS` class has it, and of a Burstable container which request it follows from.
//!
//! `GetContainerOOMScoreAdjust` (Kubernetes, `pkg/kubelet/qos/policy.go`): of a Burstable container 1000 - 1000 * request /
//! capacity, in whole numbers, at least 3 and at most 999.

use super::Explanation;
use crate::sink::size;

/// The score that is asked about: `oom_score_adj 984`, `oom_score_adj=984`.
pub(super) fn asked(what: &str) -> Option<i32> {
    let rest = what.trim().strip_prefix("oom_score_adj")?;
    let number = rest.trim_start_matches([' ', '=', ':', ',']).trim();
    number.parse().ok().filter(|score| (-1000..=1000).contains(score))
}

/// What a score says.
pub(super) fn explain(score: i32, capacity_bytes: Option<u64>) -> Explanation {
    let whole = f64::from(score.abs()) / 10.0;
    let direction = if score < 0 { "less" } else { "more" };
    let weight = format!(
        "To the kernel it counts as {whole} % of the memory that ran out (of the limit that was hit, or of the node's RAM and swap) {direction} than the process uses."
    );
    let (who, formula) = match score {
        -1000 => ("never chosen: a process that must not be killed, as sshd or a container of its own choice.".to_owned(), String::new()),
        -999 => ("the kubelet itself, containerd, or another daemon of the node.".to_owned(), String::new()),
        -998 => ("a pod's sandbox (pause).".to_owned(), String::new()),
        -997 => (
            "a container of a Guaranteed pod (requests equal limits), or of one with priority class system-node-critical.".to_owned(),
            String::new(),
        ),
        1000 => ("a container of a BestEffort pod: no requests and no limits.".to_owned(), String::new()),
        3..=999 => ("a container of a Burstable pod.".to_owned(), request(score, capacity_bytes)),
        0 => ("a process that nothing was set for: no container of the kubelet's.".to_owned(), String::new()),
        _ => ("no score that the kubelet sets: systemd (OOMScoreAdjust=), or the program itself.".to_owned(), String::new()),
    };
    Explanation {
        about: format!("oom_score_adj {score}"),
        kind: "score of a process".to_owned(),
        means: format!("By the kubelet's rules: {who}{formula} {weight}"),
        means_not: Some(
            "It is no likelihood, and it decides nothing alone: points are the process's memory plus this share. In a container that hit its own limit all processes have the same score, and the largest is chosen. With a pod's own resources (from 1.32) and of sidecars (from 1.33) other requests go into it.".to_owned(),
        ),
        look_at: vec![
            "the container's memory request".to_owned(),
            "`oomtrace pods`: the scores of this node's containers".to_owned(),
        ],
        ..Explanation::default()
    }
}

/// The requests that a Burstable container's score follows from.
fn request(score: i32, capacity_bytes: Option<u64>) -> String {
    let score = u64::from(score.unsigned_abs());
    // 1000 * request / capacity in whole numbers is 1000 - score; the ends are cut off at 3 and 999.
    let from = if score >= 999 { 0 } else { 1000 - score };
    let to = if score <= 3 { None } else { Some(1001 - score) };
    let share = |thousandths: u64| format!("{}.{} %", thousandths / 10, thousandths % 10);
    let shares = match to {
        Some(to) => format!("from {} to less than {}", share(from), share(to)),
        None => format!("of {} or more", share(from)),
    };
    let bytes = |capacity: u64, thousandths: u64| {
        u64::try_from((u128::from(capacity) * u128::from(thousandths)).div_ceil(1000)).unwrap_or(u64::MAX)
    };
    let amount = capacity_bytes.map_or_else(String::new, |capacity| {
        let range = match to {
            Some(to) => format!("{} to {}", size(Some(bytes(capacity, from))), size(Some(bytes(capacity, to)))),
            None => format!("{} or more", size(Some(bytes(capacity, from)))),
        };
        format!(" With a capacity of {}: {range}.", size(Some(capacity)))
    });
    format!(
        " The score is 1000 - 1000 * request / capacity, in whole numbers, at least 3 and at most 999: its memory request is {shares} of the node's capacity.{amount}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_of_a_score_gives_that_score() {
        let capacity = 16_384_u64 << 20;
        for score in 3..=999_i32 {
            let text = request(score, Some(capacity));
            assert!(text.contains('%'), "{text}");
            let from = if score >= 999 { 0 } else { 1000 - u64::from(score.unsigned_abs()) };
            let request = (capacity * from).div_ceil(1000);
            let kubelet = (1000 - i64::try_from(1000 * request / capacity).expect("small")).clamp(3, 999);
            assert_eq!(kubelet, i64::from(score), "{request}");
        }
    }

    #[test]
    fn a_score_is_of_a_class() {
        for (score, words) in [
            (-997, "Guaranteed"),
            (1000, "BestEffort"),
            (-998, "sandbox"),
            (984, "from 1.6 % to less than 1.7 %"),
            (3, "of 99.7 % or more"),
            (999, "from 0.0 % to less than 0.2 %"),
            (500, "Burstable"),
            (1, "no score that the kubelet sets"),
        ] {
            let means = explain(score, None).means;
            assert!(means.contains(words), "{score}: {means}");
        }
        assert!(
            explain(984, Some(16 << 30)).means.contains("262.1 MiB to 278.5 MiB"),
            "{}",
            explain(984, Some(16 << 30)).means
        );
        assert_eq!(
            (asked("oom_score_adj -1"), asked("oom_score_adj: 5"), asked("oom_score_adj 1001")),
            (Some(-1), Some(5), None)
        );
    }
}
