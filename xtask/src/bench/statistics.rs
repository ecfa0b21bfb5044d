//! Of many measurements, the few figures that say what they have in common.

/// The value below which this share of the sorted values lies: the nearest one that was really measured.
pub(super) fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position among some thousand values"
    )]
    let position = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(position.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The middle of what was measured, and its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) lowest: f64,
    pub(super) median: f64,
    pub(super) highest: f64,
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share| quantile(&sorted, share).unwrap_or(f64::NAN);
        Self { lowest: at(0.0), median: at(0.5), highest: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let hundred: Vec<i32> = (1..=100).collect();
        assert_eq!([0.5, 0.9, 0.99, 1.0].map(|share| quantile(&hundred, share)), [50, 90, 99, 100].map(Some));
        assert_eq!(quantile(&[7], 0.0), Some(7));
        assert_eq!(quantile::<i32>(&[], 0.5), None);
    }

    #[test]
    fn a_spread_is_the_median_between_the_ends() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { lowest: 1.0, median: 2.0, highest: 3.0 });
    }
}
