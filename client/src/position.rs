//! A position in the log as text: `N`, `LOG_ID:N` if the identity of the log is to be checked too,
//! or `LOG_ID:N:CHAIN` if also its posts are: the form that programs print.

use quartet::post::v1::LogPosition;

/// Text that is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a position is N, LOG_ID:N or LOG_ID:N:CHAIN, with N from 0 to {} and CHAIN 16 hex digits",
    i64::MAX
)]
pub struct InvalidPosition;

/// Reads `N`, `LOG_ID:N` or `LOG_ID:N:CHAIN`.
///
/// # Errors
/// [`InvalidPosition`] if `text` is none of them.
pub fn parse(text: &str) -> Result<LogPosition, InvalidPosition> {
    let mut parts = text.splitn(3, ':');
    let (log_id, sequence, chain) = match (parts.next(), parts.next(), parts.next()) {
        (Some(sequence), None, _) => ("", sequence, 0),
        (Some(log_id), Some(sequence), None) => (log_id, sequence, 0),
        (Some(log_id), Some(sequence), Some(chain)) => (log_id, sequence, parse_chain(chain)?),
        (None, ..) => return Err(InvalidPosition),
    };
    match sequence.parse() {
        Ok(sequence @ 0..) => Ok(LogPosition { log_id: log_id.into(), sequence, chain }),
        _ => Err(InvalidPosition),
    }
}

fn parse_chain(text: &str) -> Result<u64, InvalidPosition> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or(InvalidPosition)
}

/// Formats a chain value: 16 hex digits.
pub fn print_chain(chain: u64) -> String {
    format!("{chain:016x}")
}

/// Formats a position as [`parse`] reads it.
pub fn print(position: &LogPosition) -> String {
    let LogPosition { log_id, sequence, chain } = position;
    match (log_id.as_str(), chain) {
        ("", 0) => sequence.to_string(),
        (log_id, 0) => format!("{log_id}:{sequence}"),
        (log_id, chain) => format!("{log_id}:{sequence}:{}", print_chain(*chain)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_position_can_be_parsed() {
        for text in ["0", "42", "9223372036854775807", "3f2a:7", "3f2a:7:00000000000000ff"] {
            assert_eq!(print(&parse(text).unwrap()), text);
        }
    }

    #[test]
    fn text_that_is_not_a_position_is_refused() {
        for text in
            ["", ":", "log:", "-1", "log:-1", "1.5", "9223372036854775808", "a:b:7", "a:7:ff"]
        {
            assert_eq!(parse(text), Err(InvalidPosition), "{text:?}");
        }
    }
}
