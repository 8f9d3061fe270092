//! The header `grpc-timeout`: the time that a call has left.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The name of the header.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const EIGHT_DIGITS: u128 = 99_999_999;

/// Formats the time that is left: at most eight digits and a unit, in milliseconds if they fit.
///
/// Rounded up, as by grpc-go (`internal/transport/http_util.go`): the receiver's clock then never
/// runs out before the sender's own.
pub fn format(left: Duration) -> HeaderValue {
    let value = match left.as_nanos().div_ceil(1_000_000) {
        millis @ 0..=EIGHT_DIGITS => format!("{millis}m"),
        millis => format!("{}S", millis.div_ceil(1000).min(EIGHT_DIGITS)),
    };
    HeaderValue::try_from(value).expect("invariant: it is ASCII")
}

/// Parses one to eight digits and a unit; `None` for anything else.
pub fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let valid = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| valid)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 60 * 60),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_written_with_at_most_eight_digits() {
        for (left, value) in [
            (Duration::ZERO, "0m"),
            (Duration::from_micros(1), "1m"),
            (Duration::from_micros(199_001), "200m"),
            (Duration::from_millis(1500), "1500m"),
            (Duration::from_secs(99_999), "99999000m"),
            (Duration::from_secs(200_000), "200000S"),
            (Duration::from_secs(u64::from(u32::MAX)), "99999999S"),
        ] {
            assert_eq!(format(left), value);
        }
    }

    #[test]
    fn a_timeout_is_read_from_one_to_eight_digits_and_a_unit() {
        for (value, timeout) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0m", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("123456789S", None),
            ("+1S", None),
            ("-1S", None),
            ("1 S", None),
            ("1s", None),
            ("1é", None),
        ] {
            assert_eq!(parse(value), timeout, "{value:?}");
        }
    }
}
