//! What memory was over a time.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Memory at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryPoint {
    /// When, RFC 3339.
    pub ts: String,
    /// What was used of the limit.
    pub usage_bytes: u64,
    /// The limit.
    pub limit_bytes: Option<u64>,
}

/// Leaves out points of a curve so that its shape stays. Gives how many went.
///
/// The first and the last point stay. The others are cut into runs of as many points each, and of a run that point stays which
/// makes the largest triangle with the one that stays before it and the mean of the run behind it (Steinarsson,
/// "Downsampling Time Series for Visual Representation", 2013: largest triangle three buckets).
pub fn thin_curve(points: &mut Vec<MemoryPoint>, most: usize) -> u64 {
    let all = points.len();
    if all <= most {
        return 0;
    }
    if most < 3 {
        points.drain(most.min(1)..all - most.saturating_sub(1));
        return (all - points.len()) as u64;
    }
    let seconds = |point: &MemoryPoint| point.ts.parse::<Timestamp>().map_or(0.0, |ts| ts.as_duration().as_secs_f64());
    let start = seconds(&points[0]);
    #[expect(clippy::cast_precision_loss, reason = "a curve is drawn less finely than that")]
    let at: Vec<(f64, f64)> = points.iter().map(|point| (seconds(point) - start, point.usage_bytes as f64)).collect();
    let runs = most - 2;
    let begin = |run: usize| 1 + run * (all - 2) / runs;
    let mut kept = vec![0];
    for run in 0..runs {
        let before = at[kept[run]];
        let behind = if run + 1 == runs { at[all - 1] } else { mean(&at[begin(run + 1)..begin(run + 2)]) };
        let area = |here: (f64, f64)| {
            ((before.0 - behind.0) * (here.1 - before.1) - (before.0 - here.0) * (behind.1 - before.1)).abs()
        };
        let largest = (begin(run)..begin(run + 1)).max_by(|a, b| area(at[*a]).total_cmp(&area(at[*b])));
        kept.extend(largest);
    }
    kept.push(all - 1);
    let mut kept = kept.into_iter().peekable();
    let mut index = 0;
    points.retain(|_| {
        index += 1;
        kept.next_if_eq(&(index - 1)).is_some()
    });
    (all - points.len()) as u64
}

#[expect(clippy::cast_precision_loss, reason = "some points")]
fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (x / points.len() as f64, y / points.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(usages: impl IntoIterator<Item = u64>) -> Vec<MemoryPoint> {
        let points = usages.into_iter().zip(0..).map(|(usage_bytes, second)| MemoryPoint {
            ts: format!("2026-11-28T10:{:02}:{:02}Z", second / 60, second % 60),
            usage_bytes,
            limit_bytes: None,
        });
        points.collect()
    }

    #[test]
    fn what_a_curve_does_stays_and_what_lies_on_a_line_goes() {
        let mut points = curve([0; 40].into_iter().chain([10, 40, 90, 100, 2, 0, 0, 0]));
        assert_eq!(thin_curve(&mut points, 8), 40);
        let kept: Vec<u64> = points.iter().map(|point| point.usage_bytes).collect();
        assert_eq!(kept, [0, 0, 0, 0, 0, 0, 100, 0]);
    }

    #[test]
    fn as_many_stay_as_there_is_room_for() {
        for most in 0..60 {
            let mut points = curve((0..50).map(|n| n * n % 17));
            let omitted = thin_curve(&mut points, most);
            assert_eq!((points.len(), omitted), (most.min(50), 50 - most.min(50) as u64));
            assert!(points.is_sorted_by(|a, b| a.ts < b.ts));
        }
    }
}
