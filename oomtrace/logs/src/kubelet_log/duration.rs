//! Durations as Go prints them: `1h2m3.5s`, `317ms`, `1µs` (`time.Duration.String`).

/// A duration in whole milliseconds.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut nanos) = (text, 0_u128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "µs" | "μs" | "us" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let (digits, fraction) = (u32::try_from(fraction.len()).ok()?, fraction.parse::<u128>().ok()?);
        let fraction = fraction.checked_mul(unit)? / 10_u128.checked_pow(digits)?;
        nanos = nanos.checked_add(whole.parse::<u128>().ok()?.checked_mul(unit)?)?.checked_add(fraction)?;
        rest = after;
    }
    (!text.is_empty()).then(|| u64::try_from(nanos / 1_000_000).ok())?
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn gos_durations_are_milliseconds() {
        for (text, expected) in [
            ("20s", Some(20_000)),
            ("1m30s", Some(90_000)),
            ("1h0m0.5s", Some(3_600_500)),
            ("317ms", Some(317)),
            ("1.046s", Some(1_046)),
            ("500µs", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("20", None),
            ("s", None),
            ("1.2.3s", None),
            ("20 s", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }
}
