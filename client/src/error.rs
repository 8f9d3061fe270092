//! Errors of calls: messages for people, and methods that classify them for programs.

use std::{io, time::Duration};

use quartet::reason;
use quartet_channel::{CallError, SetupError};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The channel cannot be created.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The call ended with an error status from the server, or failed at this end.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server ended the stream with OK before it was complete.
    #[error("the server ended the stream before it was complete")]
    Truncated,
    /// Nothing arrived for this long on a stream whose server sends something every 15 s. Some
    /// proxies keep the end of a call to themselves.
    #[error("nothing arrived for {} s, and the server sends something every 15 s", .0.as_secs())]
    Silent(Duration),
    /// The server broke its contract. Continuing could deliver posts twice or not at all.
    #[error("the server broke its contract: {0}")]
    Protocol(String),
    /// The posts to send could not be read.
    #[error("cannot read the posts: {0}")]
    Source(#[source] io::Error),
}

impl Error {
    /// Whether the call can succeed later, if it is resumed from the last position or repeated with
    /// the same ids.
    pub fn is_resumable(&self) -> bool {
        match self {
            Error::Call(CallError::Connect(_) | CallError::Lost(_)) => true,
            Error::Truncated | Error::Silent(_) => true,
            Error::Call(CallError::Local(status) | CallError::Status(status)) => {
                match status.code() {
                    Code::Unavailable => true,
                    // A rate limit passes, and the server sends a delay. A full disk does not.
                    Code::ResourceExhausted => self.retry_delay().is_some(),
                    // The credentials may have a new token at the next attempt.
                    Code::Unauthenticated => self.is_token_expired(),
                    _ => false,
                }
            }
            Error::Setup(_) | Error::Protocol(_) | Error::Source(_) => false,
        }
    }

    /// The reason of the status's `ErrorInfo` (see [`quartet::reason`]), if the server sent one.
    pub fn reason(&self) -> Option<String> {
        self.sent_status()?.get_details_error_info().map(|info| info.reason)
    }

    /// Whether the server ended the call because its token has expired.
    pub fn is_token_expired(&self) -> bool {
        self.has_code(Code::Unauthenticated)
            && self.reason().as_deref() == Some(reason::TOKEN_EXPIRED)
    }

    /// Whether a deadline passed, at the client or at the server.
    pub fn is_deadline_exceeded(&self) -> bool {
        self.has_code(Code::DeadlineExceeded)
    }

    /// The delay before the next attempt that the server asks for.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.sent_status()?.get_details_retry_info()?.retry_delay
    }

    fn has_code(&self, code: Code) -> bool {
        match self {
            Error::Call(CallError::Local(status) | CallError::Status(status)) => {
                status.code() == code
            }
            _ => false,
        }
    }

    fn sent_status(&self) -> Option<&Status> {
        match self {
            Error::Call(CallError::Status(status)) => Some(status),
            _ => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::Call(status.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_broken_connection_is_resumable_with_any_code_of_the_transport() {
        for code in [Code::Unknown, Code::Cancelled, Code::Internal, Code::ResourceExhausted] {
            let mut status = Status::new(code, "h2 protocol error");
            status.set_source(Arc::new(io::Error::from(io::ErrorKind::BrokenPipe)));
            let error = Error::from(status);
            assert!(error.is_resumable(), "{error:?}");
            assert_eq!(error.to_string(), "the connection was lost: broken pipe");
        }
    }

    #[test]
    fn only_unavailable_is_resumable_among_the_codes_of_a_server() {
        for code in (0..17).map(Code::from_i32) {
            let error = Error::from(Status::new(code, ""));
            assert_eq!(error.is_resumable(), code == Code::Unavailable, "{code:?}");
        }
    }

    #[test]
    fn reason_and_delay_come_from_the_details() {
        let mut details = ErrorDetails::with_error_info(reason::SHUTDOWN, reason::DOMAIN, []);
        details.set_retry_info(Some(Duration::from_secs(1)));
        let status = Status::with_error_details(Code::Unavailable, "draining", details);
        let error = Error::from(status);
        assert_eq!(error.reason().as_deref(), Some(reason::SHUTDOWN));
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(1)));
        assert_eq!(error.to_string(), "UNAVAILABLE (SHUTDOWN): draining");
    }
}
