//! Errors of a channel: why it cannot be made, and what the status of a failed call means.

use std::{error::Error as StdError, iter, sync::Arc};

use quartet_wire::code;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

use crate::{
    cause::{Cause, root},
    target::InvalidTarget,
};

/// Why a channel cannot be made as described.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The target cannot be parsed.
    #[error(transparent)]
    Target(#[from] InvalidTarget),
    /// TLS cannot be used as described: a file, a name, or settings for a plaintext target.
    #[error("{0}")]
    Tls(String),
    /// The credentials would be sent over plaintext, where others can read them.
    #[error("a token is not sent over plaintext: use https://, or allow it explicitly")]
    Plaintext,
}

/// Why a call failed, by the place where it failed. Made from the [`Status`] of the call.
///
/// Everything but [`Status`](Self::Status) is made up at this end, whatever its code
/// (UNAVAILABLE, CANCELLED, INTERNAL …): it never came from a server.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be made.
    #[error("cannot connect: {}", root_cause(.0))]
    Connect(#[source] Status),
    /// The connection or the stream broke, or the response was cut off, and the server did not say
    /// why. The server may have executed the call.
    #[error("{}", describe_loss(.0))]
    Lost(#[source] Status),
    /// The channel ended the call: at its deadline, at a limit of its service config, for want of
    /// a token, or because something other than a gRPC server answered.
    #[error("{}", describe(.0))]
    Local(#[source] Status),
    /// The server sent this status.
    #[error("{}", describe(.0))]
    Status(#[source] Status),
}

impl CallError {
    /// The status that the call ended with.
    pub fn status(&self) -> &Status {
        match self {
            Self::Connect(status) | Self::Lost(status) => status,
            Self::Local(status) | Self::Status(status) => status,
        }
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        match Cause::of(&status) {
            Some(Cause::Connect(_) | Cause::Unreachable(_)) => Self::Connect(status),
            Some(Cause::Broken(_)) if wants_tls(&status) => Self::Connect(status),
            Some(
                Cause::Broken(_)
                | Cause::Silent(_)
                | Cause::NoStatus
                | Cause::WithinMessage
                | Cause::NotAMessage(_),
            ) => Self::Lost(status),
            Some(_) => Self::Local(status),
            None => of_another_channel(status),
        }
    }
}

/// The error of a status that came over a channel such as tonic's own, which says less about it.
fn of_another_channel(status: Status) -> CallError {
    // tonic's own timeouts say CANCELLED; gRPC, and so this channel, DEADLINE_EXCEEDED.
    if causes(&status).any(|cause| cause.is::<TimeoutExpired>()) {
        return CallError::Local(Cause::Deadline(String::new()).into());
    }
    // A status from the wire has no source; one made of a transport error has.
    if status.source().is_none() {
        return CallError::Status(status);
    }
    if causes(&status).any(|cause| cause.is::<tonic::ConnectError>()) || wants_tls(&status) {
        return CallError::Connect(status);
    }
    match status.code() {
        // The codes of a closed connection, a reset stream and a GOAWAY.
        Code::Unavailable
        | Code::Unknown
        | Code::Cancelled
        | Code::Internal
        | Code::ResourceExhausted => CallError::Lost(status),
        _ => CallError::Status(status),
    }
}

fn describe(status: &Status) -> String {
    let (code, message) = (code::name(status.code()), status.message());
    match status.get_details_error_info() {
        Some(info) => format!("{code} ({}): {message}", info.reason),
        None => format!("{code}: {message}"),
    }
}

fn describe_loss(status: &Status) -> String {
    match Cause::of(status) {
        Some(cause) => cause.to_string(),
        None => format!("the connection was lost: {}", root_cause(status)),
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    iter::successors(status.source(), |&cause| cause.source())
}

/// The innermost cause: "Connection refused" rather than "h2 protocol error".
fn root_cause(status: &Status) -> String {
    if wants_tls(status) {
        return "the server speaks TLS on this port: use https://".to_owned();
    }
    status.source().map_or_else(|| status.message().into(), |cause| root(cause).to_string())
}

/// Whether a server closed the connection because it is not encrypted.
fn wants_tls(status: &Status) -> bool {
    causes(status).filter_map(h2_reason).any(|reason| reason == h2::Reason::INADEQUATE_SECURITY)
}

fn h2_reason(cause: &(dyn StdError + 'static)) -> Option<h2::Reason> {
    match cause.downcast_ref::<Arc<h2::Error>>() {
        Some(shared) => shared.reason(),
        None => cause.downcast_ref::<h2::Error>()?.reason(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{address::Address, transport::ConnectError};

    fn with_source(code: Code, source: impl StdError + Send + Sync + 'static) -> CallError {
        let mut status = Status::new(code, "h2 protocol error");
        status.set_source(Arc::new(source));
        status.into()
    }

    #[test]
    fn a_broken_connection_is_lost_whatever_code_the_transport_gave_it() {
        for code in [Code::Unknown, Code::Cancelled, Code::Internal, Code::ResourceExhausted] {
            let error = with_source(code, io::Error::from(io::ErrorKind::BrokenPipe));
            assert!(matches!(error, CallError::Lost(_)), "{error:?}");
            assert_eq!(error.to_string(), "the connection was lost: broken pipe");
        }
    }

    #[test]
    fn a_connection_that_was_never_made_says_why() {
        let source = io::Error::other("no route");
        let address = Address::Name("greeter:1".into());
        let cause = Cause::Connect(Arc::new(ConnectError { address, source }));
        let error = CallError::from(Status::from(cause));
        assert!(matches!(error, CallError::Connect(_)), "{error:?}");
        assert_eq!(error.to_string(), "cannot connect: no route");
        let wants_tls = h2::Error::from(h2::Reason::INADEQUATE_SECURITY);
        let error = with_source(Code::PermissionDenied, wants_tls);
        assert!(matches!(error, CallError::Connect(_)), "{error:?}");
    }

    /// The rule that keeps the two apart: what the channel makes up has a [`Cause`], and what a
    /// server sent has no source at all.
    #[test]
    fn no_status_that_the_channel_makes_is_taken_for_the_servers() {
        for (cause, is_lost) in [
            (Cause::NoStatus, true),
            (Cause::WithinMessage, true),
            (Cause::NotAMessage(60), true),
            (Cause::NotGrpc(http::StatusCode::SERVICE_UNAVAILABLE, String::new()), false),
            (Cause::Compression("unknown".into()), false),
            (Cause::ResponseCount(2), false),
            (Cause::TooLarge(9, 8), false),
            (Cause::Deadline(String::new()), false),
            (Cause::NoToken("no file".into()), false),
            (Cause::TokenRefused, false),
        ] {
            match CallError::from(Status::from(cause)) {
                CallError::Lost(_) => assert!(is_lost),
                CallError::Local(_) => assert!(!is_lost),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_status_of_the_server_stays_as_it_is() {
        for code in (0..17).map(Code::from_i32) {
            let error = CallError::from(Status::new(code, "full"));
            assert!(matches!(error, CallError::Status(_)), "{error:?}");
            assert_eq!(error.to_string(), format!("{}: full", code::name(code)));
        }
    }
}
