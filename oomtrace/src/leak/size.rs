//! Sizes and shares, as people write them on a command line.

use std::{fmt, num::ParseIntError, str::FromStr};

use crate::quantity;

/// A number of bytes: `10MiB`, `10Mi` (as in a pod's manifest), `10MB`, `10M`, `1.5Gi`, `1e6`, `1048576`.
///
/// Kubernetes' own forms (`resource.Quantity`, `apimachinery/pkg/api/resource`) mean here what they mean there: `Ki`, `Mi`, …
/// are powers of 1024, `k`, `M`, … are powers of 1000, and a fraction of a byte counts as a whole one. A `B` behind the
/// unit changes nothing. `m`, a thousandth, is refused: `M` was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Why text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// What stands before the unit is not a number.
    #[error("it has to begin with a number: 10MiB, 10Mi, 10MB, 10M, or 10485760 for bytes")]
    NotANumber,
    /// There is no such unit.
    #[error(
        "there is no unit `{0}`: use Ki, Mi, Gi, Ti (powers of 1024) or k, M, G, T (of 1000), each with or without B"
    )]
    Unit(String),
    /// More bytes than 64 bits can count.
    #[error("more bytes than a machine can address")]
    TooLarge,
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() {
            return Err(SizeError::NotANumber);
        }
        // What is too long for 128 bits is too large in any unit.
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|error: ParseIntError| match error.kind() {
            std::num::IntErrorKind::PosOverflow => SizeError::TooLarge,
            _ => SizeError::NotANumber,
        })?;
        let divisor = power(10, fraction.len()).ok_or(SizeError::TooLarge)?;
        let bytes = digits.checked_mul(factor(unit)?).ok_or(SizeError::TooLarge)?.div_ceil(divisor);
        u64::try_from(bytes).map(Self).map_err(|_| SizeError::TooLarge)
    }
}

/// How many bytes a unit is.
fn factor(unit: &str) -> Result<u128, SizeError> {
    let unknown = || SizeError::Unit(unit.to_owned());
    // `E` alone is a unit, with digits behind it an exponent.
    if let Some(exponent) = unit.strip_prefix(['e', 'E']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        let exponent: usize = exponent.parse().map_err(|_| unknown())?;
        return power(10, exponent).ok_or(SizeError::TooLarge);
    }
    let (base, thousands) = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => (1, 0),
        "Ki" => (1024, 1),
        "Mi" => (1024, 2),
        "Gi" => (1024, 3),
        "Ti" => (1024, 4),
        "Pi" => (1024, 5),
        "Ei" => (1024, 6),
        "k" | "K" => (1000, 1),
        "M" => (1000, 2),
        "G" => (1000, 3),
        "T" => (1000, 4),
        "P" => (1000, 5),
        "E" => (1000, 6),
        _ => return Err(unknown()),
    };
    power(base, thousands).ok_or(SizeError::TooLarge)
}

fn power(base: u128, exponent: usize) -> Option<u128> {
    base.checked_pow(u32::try_from(exponent).ok()?)
}

/// In the unit that people would choose, to a tenth.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&quantity::size(self.0))
    }
}

/// A part of a whole, in percent: `100%`, `12.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    ten_thousandths: u16,
}

impl Share {
    /// This share of `whole`, rounded up: of anything, any share but none is something.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        let part = (u128::from(whole) * u128::from(self.ten_thousandths)).div_ceil(10_000);
        u64::try_from(part).unwrap_or(whole)
    }
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "it has to be a percentage from 0% to 100%, with two decimal places at most";
        let number = text.strip_suffix('%').ok_or(FORM)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
        let (Some(percent), Some(hundredths), 1..=2) =
            (digits(whole), digits(&format!("{fraction:0<2}")), fraction.len())
        else {
            return Err(FORM);
        };
        let ten_thousandths = percent.checked_mul(100).and_then(|whole| whole.checked_add(hundredths));
        ten_thousandths.filter(|share| *share <= 10_000).map(|ten_thousandths| Self { ten_thousandths }).ok_or(FORM)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, hundredths) = (self.ten_thousandths / 100, self.ten_thousandths % 100);
        if hundredths == 0 { write!(f, "{percent}%") } else { write!(f, "{percent}.{hundredths:02}%") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Result<u64, SizeError> {
        text.parse().map(|Size(bytes)| bytes)
    }

    #[test]
    fn a_size_means_what_it_means_in_a_manifest() {
        for (text, expected) in [
            ("0", 0),
            ("10485760", 10_485_760),
            ("10MiB", 10 << 20),
            ("10Mi", 10 << 20),
            ("10M", 10_000_000),
            ("10MB", 10_000_000),
            ("1k", 1000),
            ("1kB", 1000),
            ("100B", 100),
            ("1.5Gi", 3 << 29),
            ("1e6", 1_000_000),
            ("1.5E3", 1500),
            ("1E", 1_000_000_000_000_000_000),
            ("0.1Ki", 103),
            ("1.", 1),
            ("15Ei", 15 << 60),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_reason() {
        for text in ["", "Mi", "-1", ".5Mi", " 1", "1.2.3", "ten"] {
            assert_eq!(bytes(text), Err(SizeError::NotANumber), "{text}");
        }
        for (text, unit) in
            [("1m", "m"), ("10mb", "mb"), ("1 Mi", " Mi"), ("1MiBB", "MiBB"), ("1e", "e"), ("1e3Mi", "e3Mi")]
        {
            assert_eq!(bytes(text), Err(SizeError::Unit(unit.to_owned())), "{text}");
        }
        for text in [
            "16Ei",
            "1e20",
            "1e99999999999",
            "99999999999999999999999999999999999999999",
            "340282366920938463463374607431768211455Ki",
        ] {
            assert!(matches!(bytes(text), Err(SizeError::TooLarge | SizeError::Unit(_))), "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_in_the_unit_that_people_would_choose() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (10 << 20, "10 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), shown);
        }
    }

    #[test]
    fn a_share_is_a_percentage_of_a_whole() -> Result<(), &'static str> {
        for (text, of_1000) in [("100%", 1000), ("0%", 0), ("50%", 500), ("12.5%", 125), ("0.01%", 1), ("33.33%", 334)]
        {
            assert_eq!(text.parse::<Share>()?.of(1000), of_1000, "{text}");
        }
        assert_eq!("100%".parse::<Share>()?.of(u64::MAX), u64::MAX);
        assert_eq!("12.5%".parse::<Share>()?.to_string(), "12.50%");
        for text in ["100", "101%", "100.01%", "-1%", "1.234%", "%", "1.%", "+1%", "99999999%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        Ok(())
    }
}
