//! Kubernetes quantities: `757248Ki`, `1Gi`, `129M`, `1e3`, `128974848000m`, as bytes, exactly.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource` (`quantity.go`, `suffix.go`), the same in all versions:
//! a signed decimal number, then a binary suffix (`Ki` … `Ei`), a decimal one (`n` `u` `m` `k` `M` `G` `T` `P` `E`) or a
//! decimal exponent (`e3`, `E-3`).

use std::str::FromStr;

/// Bytes in the unit that people would choose, to a tenth, or as a whole number where they are one.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let unit = bytes.ilog2() / 10 - 1;
    let shift = 10 * (unit + 1);
    let (whole, tenths) = (bytes >> shift, (bytes >> (shift - 10)) % 1024 * 10 / 1024);
    let name = UNITS[unit as usize];
    if tenths == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenths} {name}") }
}

/// An amount, exact to the billionth, as Kubernetes keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    /// Billionths of one: what Kubernetes rounds to (`Nano`, `scale_int.go`).
    billionths: i128,
}

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Kubernetes quantity such as 100Mi, 1.5Gi, 129M or 1e9")]
pub struct InvalidQuantity(String);

/// One, in billionths.
const ONE: i128 = 1_000_000_000;
/// More digits than this do not fit, with any suffix.
const MAX_DIGITS: usize = 28;

impl Quantity {
    /// The whole amount, rounded away from zero as `Quantity.Value()` does; `None` below zero and above 2^64 - 1.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        let whole = self.billionths / ONE + (self.billionths % ONE).signum();
        u64::try_from(whole).ok()
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        parse(text).map(|billionths| Self { billionths }).ok_or_else(|| InvalidQuantity(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    // Trailing zeros of the fraction say nothing, and leading ones of the whole number neither.
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() + fraction.len() > MAX_DIGITS {
        return None;
    }
    let mut digits: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits = digits * 10 + i128::from(digit - b'0');
    }
    let (factor, exponent) = scale(suffix)?;
    // The value is digits * factor * 10^exponent / 10^fraction.len(), here in billionths.
    let exponent = exponent.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(factor)?;
    let billionths = if digits == 0 {
        0
    } else if exponent >= 0 {
        scaled.checked_mul(10_i128.checked_pow(exponent.unsigned_abs())?)?
    } else {
        // Finer than a billionth is rounded up, as Kubernetes does.
        10_i128.checked_pow(exponent.unsigned_abs()).map_or(1, |divisor| (scaled + divisor - 1) / divisor)
    };
    Some(if negative { -billionths } else { billionths })
}

/// What a suffix multiplies by: a factor, and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let bare = digits.strip_prefix(['+', '-']).unwrap_or(digits);
            if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            (1, digits.parse().ok()?)
        }
    })
}

/// A quantity in bytes, whole.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    text.parse::<Quantity>().ok()?.to_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_where_it_is_one() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (64 << 20, "64 MiB"),
            ((3 << 29) + 1, "1.5 GiB"),
            (1_000_943_616, "954.5 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_quantity_is_bytes_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("757248Ki", 757_248 * 1024),
            ("1Gi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("100Mi", 100 << 20),
            ("827608281", 827_608_281),
            ("129M", 129_000_000),
            ("1k", 1_000),
            ("128974848000m", 128_974_848),
            ("1e3", 1_000),
            ("12E3", 12_000),
            ("1E", 1_000_000_000_000_000_000),
            ("15Ei", 15 << 60),
            ("18446744073709551615", u64::MAX),
            ("+5", 5),
            (".5Ki", 512),
            ("5.", 5),
            ("0.000000000000000000000Ki", 0),
            ("100e-2", 1),
            ("1234567890u", 1235),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_less_than_one_byte_is_rounded_up_as_kubernetes_does() {
        assert_eq!(bytes("1m"), Some(1));
        assert_eq!(bytes("1n"), Some(1));
        assert_eq!(bytes("0.0000000001"), Some(1));
        assert_eq!(bytes("1e-30"), Some(1));
        assert_eq!(bytes("1500m"), Some(2));
    }

    #[test]
    fn what_is_no_quantity_or_too_large_is_refused() {
        for text in [
            "",
            "-",
            "Ki",
            "1K",
            "1ki",
            "1 Ki",
            "1KiB",
            "1.2.3",
            "e3",
            "1e",
            "1e+",
            "0x10",
            "1_000",
            "99999Ei",
            "1e40",
            "1e999999999999",
            "15%",
            "<nil>",
            "١",
            "-1Ki",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert!("-1Ki".parse::<Quantity>().is_ok(), "below zero is a quantity, if no size");
    }
}
