//! `grpc-timeout`: how much time a call has left, as gRPC over HTTP/2 writes it.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

/// The time that is left: at most eight digits and a unit.
pub(crate) fn timeout_until(deadline: Instant) -> HeaderValue {
    const EIGHT_DIGITS: u128 = 99_999_999;
    let left = deadline.saturating_duration_since(Instant::now());
    let value = match left.as_millis() {
        millis @ 0..=EIGHT_DIGITS => format!("{millis}m"),
        millis => format!("{}S", (millis / 1000).min(EIGHT_DIGITS)),
    };
    HeaderValue::try_from(value).expect("invariant: it is ASCII")
}

/// The time that a request gives itself. Text that is no time is left to the server to refuse.
pub(crate) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok().filter(|_| (1..=8).contains(&digits.len()))?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timeout_has_at_most_eight_digits_and_is_never_negative() {
        for (left, value) in [
            (Duration::ZERO, "0m"),
            (Duration::from_millis(1500), "1500m"),
            (Duration::from_secs(99_999), "99999000m"),
            (Duration::from_secs(200_000), "200000S"),
            (Duration::from_secs(u64::from(u32::MAX)), "99999999S"),
        ] {
            assert_eq!(timeout_until(Instant::now() + left), value);
        }
        let past = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(timeout_until(past), "0m");
    }

    #[test]
    fn every_unit_is_understood_and_nothing_else() {
        let read = |text: &'static str| {
            timeout_of(&HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                HeaderValue::from_static(text),
            )]))
        };
        for (text, nanos) in [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("4m", 4_000_000),
            ("5u", 5000),
            ("6n", 6),
        ] {
            assert_eq!(read(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "1", "S", "-1S", "123456789S", "1s", "1 S"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
