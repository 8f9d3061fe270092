//! A position in the log as text: `N`, or `LOG_ID:N` if the identity of the log is to be checked
//! too.

use quartet::post::v1::LogPosition;

/// Text that is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a position is N or LOG_ID:N, with N from 0 to {}", i64::MAX)]
pub struct InvalidPosition;

/// Reads `N` or `LOG_ID:N`.
///
/// # Errors
/// [`InvalidPosition`] if `text` is neither.
pub fn parse(text: &str) -> Result<LogPosition, InvalidPosition> {
    let (log_id, sequence) = text.rsplit_once(':').unwrap_or(("", text));
    match sequence.parse() {
        Ok(sequence @ 0..) => Ok(LogPosition { log_id: log_id.into(), sequence }),
        _ => Err(InvalidPosition),
    }
}

/// Formats a position as [`parse`] reads it.
pub fn print(position: &LogPosition) -> String {
    match position.log_id.as_str() {
        "" => position.sequence.to_string(),
        log_id => format!("{log_id}:{}", position.sequence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_position_can_be_parsed() {
        for text in ["0", "42", "9223372036854775807", "3f2a:7", "a:b:7"] {
            assert_eq!(print(&parse(text).unwrap()), text);
        }
    }

    #[test]
    fn text_that_is_not_a_position_is_refused() {
        for text in ["", ":", "log:", "-1", "log:-1", "1.5", "9223372036854775808"] {
            assert_eq!(parse(text), Err(InvalidPosition), "{text:?}");
        }
    }
}
