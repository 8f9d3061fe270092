//! What can go wrong with a call: in words for people, in questions for programs.
//!
//! tonic reports a broken connection as a status, with a code that depends on how it broke (UNKNOWN, CANCELLED,
//! INTERNAL …). [`Error::from`] tells such a status from one that the server sent, so that callers ask one question,
//! [`Error::is_resumable`].

use std::{error::Error as _, io, time::Duration};

use quartet::reason;
use quartet_wire::code;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

use crate::transport::ConnectError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is not one that this client can connect to.
    #[error("{url:?} is not an endpoint: {problem}")]
    Endpoint {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file or a name for TLS cannot be used.
    #[error("{0}")]
    Tls(String),
    /// Credentials would go where everybody on the way can read them.
    #[error("a token is not sent over plaintext: use https://, or --insecure-token")]
    Plaintext,
    /// No connection could be made.
    #[error("cannot connect: {}", root_cause(.0))]
    Connect(#[source] Status),
    /// The connection or the stream was cut, and the server did not say why.
    #[error("the connection was lost: {}", root_cause(.0))]
    Lost(#[source] Status),
    /// The server ended the stream as if all was well, before it was complete.
    #[error("the server ended the stream before it was complete")]
    Truncated,
    /// The server answered with this status.
    #[error("{}", describe(.0))]
    Status(Status),
    /// The server broke its contract. Going on would deliver posts twice or not at all.
    #[error("the server broke its contract: {0}")]
    Protocol(String),
    /// The posts to send could not be read.
    #[error("cannot read the posts: {0}")]
    Source(#[source] io::Error),
}

impl Error {
    /// Whether the same call, continued from the last position or repeated with the same ids, can succeed later.
    pub fn is_resumable(&self) -> bool {
        match self {
            Error::Connect(_) | Error::Lost(_) | Error::Truncated => true,
            Error::Status(status) => match status.code() {
                Code::Unavailable => true,
                // A user's limit passes, and the server says when. A full disk does not.
                Code::ResourceExhausted => self.retry_delay().is_some(),
                // Credentials that can have a new token have it for the next attempt.
                Code::Unauthenticated => self.is_token_expired(),
                _ => false,
            },
            Error::Endpoint { .. }
            | Error::Tls(_)
            | Error::Plaintext
            | Error::Protocol(_)
            | Error::Source(_) => false,
        }
    }

    /// The reason of the status's `ErrorInfo` (see [`quartet::reason`]), if the server sent one.
    pub fn reason(&self) -> Option<String> {
        let Error::Status(status) = self else { return None };
        status.get_details_error_info().map(|info| info.reason)
    }

    /// Whether the server ended the call because its token has expired.
    pub fn is_token_expired(&self) -> bool {
        matches!(self, Error::Status(status) if status.code() == Code::Unauthenticated)
            && self.reason().as_deref() == Some(reason::TOKEN_EXPIRED)
    }

    /// Whether a deadline passed, here or at the server.
    pub fn is_deadline_exceeded(&self) -> bool {
        matches!(self, Error::Status(status) if status.code() == Code::DeadlineExceeded)
    }

    /// How long the server asks to wait before the next attempt.
    pub fn retry_delay(&self) -> Option<Duration> {
        let Error::Status(status) = self else { return None };
        status.get_details_retry_info()?.retry_delay
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // tonic calls it CANCELLED; gRPC's word, and that of our server, is another.
        if causes(&status).any(|cause| cause.is::<TimeoutExpired>()) {
            return Error::Status(Status::deadline_exceeded("the deadline passed"));
        }
        // A status that came over the wire has no source; one that tonic made of a transport error has.
        if status.source().is_none() {
            return Error::Status(status);
        }
        let failed_to_connect = |cause: &(dyn std::error::Error + 'static)| {
            cause.is::<ConnectError>() || cause.is::<tonic::ConnectError>()
        };
        if causes(&status).any(failed_to_connect) || wants_tls(&status) {
            return Error::Connect(status);
        }
        match status.code() {
            // What tonic makes of a closed connection, a reset stream and a GOAWAY. RESOURCE_EXHAUSTED is among them
            // only here: from the server it means a full disk, from the transport a stream that was not read.
            Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
            | Code::ResourceExhausted => Error::Lost(status),
            _ => Error::Status(status),
        }
    }
}

fn describe(status: &Status) -> String {
    let (code, message) = (code::name(status.code()), status.message());
    match status.get_details_error_info() {
        Some(info) => format!("{code} ({}): {message}", info.reason),
        None => format!("{code}: {message}"),
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(status.source(), |&cause| cause.source())
}

/// The innermost cause: "Connection refused" rather than "h2 protocol error".
fn root_cause(status: &Status) -> String {
    if wants_tls(status) {
        return "the server speaks TLS on this port: use https://".to_owned();
    }
    causes(status).last().map_or_else(|| status.message().into(), ToString::to_string)
}

/// Whether a server has ended a connection because it is not encrypted.
fn wants_tls(status: &Status) -> bool {
    let mut reasons =
        causes(status).filter_map(|cause| cause.downcast_ref::<h2::Error>()?.reason());
    reasons.any(|reason| reason == h2::Reason::INADEQUATE_SECURITY)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic_types::ErrorDetails;

    use super::*;

    fn made_by_the_transport(code: Code) -> Error {
        let mut status = Status::new(code, "h2 protocol error");
        status.set_source(Arc::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        status.into()
    }

    #[test]
    fn a_cut_connection_is_resumable_whatever_code_the_transport_gave_it() {
        for code in [Code::Unknown, Code::Cancelled, Code::Internal, Code::ResourceExhausted] {
            let error = made_by_the_transport(code);
            assert!(error.is_resumable(), "{error:?}");
            assert_eq!(error.to_string(), "the connection was lost: broken pipe");
        }
    }

    #[test]
    fn of_what_a_server_says_only_unavailable_is_resumable() {
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
