//! From this server's errors to gRPC statuses: the one place.
//!
//! Every status carries a `google.rpc.ErrorInfo` with a reason of [`quartet::reason`], `BadRequest`
//! violations where a field is at fault, and `RetryInfo` where trying again makes sense. What a
//! caller may not know goes to the log.

use std::{collections::HashMap, time::Duration};

use quartet::{
    codec, limits,
    reason::{self, DOMAIN},
};
use quartet_connection::Statuses;
use quartet_log::LogError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _, pb};

/// When a caller may try again what failed for a reason that passes.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Violations that a status lists. With the message it stays under 8 KiB, which peers accept as
/// trailers.
const LISTED_VIOLATIONS: usize = 16;
/// Characters of a method's name that are echoed: callers choose it, and a status stays small.
const METHOD_CHARS: usize = 256;

/// A status with a reason.
pub fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    details(code, reason, message, ErrorDetails::new())
}

/// A status of something that passes: the caller is told to try again.
pub fn retryable(code: Code, reason: &str, message: impl Into<String>) -> Status {
    retryable_after(RETRY_DELAY, code, reason, message)
}

/// The same, with the time to wait.
pub fn retryable_after(
    delay: Duration,
    code: Code,
    reason: &str,
    message: impl Into<String>,
) -> Status {
    let mut errors = ErrorDetails::new();
    errors.set_retry_info(Some(delay));
    details(code, reason, message, errors)
}

/// INVALID_ARGUMENT with every field that is at fault.
pub fn invalid(reason: &str, violations: Vec<FieldViolation>) -> Status {
    let all: Vec<String> =
        violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    let message = codec::truncate(&all.join("; "), 1024).to_owned();
    let mut errors = ErrorDetails::new();
    errors.set_bad_request(violations.into_iter().take(LISTED_VIOLATIONS).collect::<Vec<_>>());
    details(Code::InvalidArgument, reason, message, errors)
}

/// INVALID_ARGUMENT for a single field of a request.
pub fn invalid_field(field: &str, description: impl Into<String>) -> Status {
    invalid(reason::INVALID_REQUEST, vec![FieldViolation::new(field, description)])
}

/// A message of an upload that breaks `post* finish`.
pub fn upload_protocol(index: i64, what: &str) -> Status {
    at_index(Code::InvalidArgument, reason::UPLOAD_PROTOCOL, index, what)
}

/// A status about one message of an upload, with the index of that message.
pub fn at_message(index: i64, status: Status) -> Status {
    match status.get_details_error_info() {
        Some(info) => at_index(status.code(), &info.reason, index, status.message()),
        None => status,
    }
}

/// The status of a request stream that failed: what is the caller's mistake gets its reason.
pub fn of_request_message(status: &Status) -> Status {
    match status.code() {
        // tonic's word for a message over the limit; other gRPC servers say RESOURCE_EXHAUSTED.
        Code::OutOfRange | Code::ResourceExhausted => self::status(
            Code::ResourceExhausted,
            reason::REQUEST_TOO_LARGE,
            format!("a request message is over {} bytes", limits::REQUEST_BYTES),
        ),
        // Broken framing and compression. The codes are gRPC's; so is the metadata, which says what
        // is accepted.
        Code::Internal | Code::Unimplemented => {
            let mut named =
                self::status(status.code(), reason::UNDECODABLE_MESSAGE, status.message());
            named.metadata_mut().clone_from(status.metadata());
            named
        }
        _ => status.clone(),
    }
}

fn at_index(code: Code, reason: &str, index: i64, message: &str) -> Status {
    let metadata = HashMap::from([("index".to_owned(), index.to_string())]);
    let errors = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code, format!("message {index}: {message}"), errors)
}

/// A server that stops tells its streams to go on elsewhere, or here after its restart.
pub fn shutdown() -> Status {
    retryable(
        Code::Unavailable,
        reason::SHUTDOWN,
        "the server stops; resume from the last position",
    )
}

/// A call that took longer than its caller wants to wait.
pub fn deadline_exceeded() -> Status {
    let message = "the deadline passed; what was written may or may not be stored";
    status(Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED, message)
}

/// What connections end calls with.
pub fn statuses() -> Statuses {
    Statuses {
        shutdown: shutdown(),
        max_age: max_age(),
        deadline_exceeded: deadline_exceeded(),
        invalid_timeout: invalid_field("grpc-timeout", "is not a timeout"),
    }
}

/// A server that is starting asks for patience.
pub fn starting() -> Status {
    retryable(
        Code::Unavailable,
        reason::STARTING,
        "the server is starting: its log is not open yet",
    )
}

/// A connection that has grown old tells its streams to go on on another.
pub fn max_age() -> Status {
    retryable(
        Code::Unavailable,
        reason::MAX_AGE,
        "the connection has reached its age; resume from the last position",
    )
}

/// A call without anything that says who makes it.
pub fn credentials_missing() -> Status {
    let message =
        "this server wants to know who calls: send a token, or a certificate that names a user";
    status(Code::Unauthenticated, reason::CREDENTIALS_MISSING, message)
}

/// A token that cannot be trusted. Why is for the log: whoever tries to forge one shall not learn
/// how far it came.
pub fn token_invalid() -> Status {
    status(Code::Unauthenticated, reason::TOKEN_INVALID, "the token is not valid here")
}

/// A token that was good. A stream goes on from its last position with a new one.
pub fn token_expired() -> Status {
    status(
        Code::Unauthenticated,
        reason::TOKEN_EXPIRED,
        "the token has expired; go on with a new one",
    )
}

/// A call that its caller may not make.
pub fn scope_missing(scope: &str) -> Status {
    let message = format!("this call needs the scope {scope}");
    status(Code::PermissionDenied, reason::SCOPE_MISSING, message)
}

/// A post in the name of somebody else.
pub fn other_user() -> Status {
    let message = "user_id: is not the caller; leave it empty to write as who you are";
    status(Code::PermissionDenied, reason::OTHER_USER, message)
}

/// A method that this server does not have, or has for nobody.
pub fn unknown_method(method: &str) -> Status {
    let message = format!("this server has no method {}", codec::truncate(method, METHOD_CHARS));
    status(Code::Unimplemented, reason::UNKNOWN_METHOD, message)
}

/// A bug: the caller learns that it was one, the log learns which.
pub fn internal() -> Status {
    status(Code::Internal, reason::INTERNAL, "the server failed; its log has the cause")
}

fn details(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    mut errors: ErrorDetails,
) -> Status {
    errors.set_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, errors)
}

/// The status of a call that the log failed. The cause, which callers may not know, is logged.
pub fn of_log(error: LogError) -> Status {
    if !matches!(error, LogError::ReadOnly) {
        tracing::error!(%error, "the log cannot serve a call");
    }
    match &error {
        LogError::Failed(_) if error.is_full() => status(
            Code::ResourceExhausted,
            reason::LOG_FULL,
            "the log's disk is full; what was not acknowledged may or may not be stored",
        ),
        LogError::Failed(_) | LogError::Closed => retryable(
            Code::Unavailable,
            reason::LOG_UNAVAILABLE,
            "the log takes no more posts; what was not acknowledged may or may not be stored",
        ),
        LogError::ReadOnly => status(
            Code::FailedPrecondition,
            reason::LOG_READ_ONLY,
            "this server was started with --read-only",
        ),
        LogError::Damaged { .. } => status(
            Code::DataLoss,
            reason::LOG_DAMAGED,
            "a stored post is damaged; the server's operator must look",
        ),
    }
}

/// The status of something that is refused within a response that goes on: a receipt or a reject.
pub fn embedded(status: &Status) -> pb::Status {
    use prost::Message as _;
    // tonic keeps the encoded google.rpc.Status as the details of its own.
    pb::Status::decode(status.details()).unwrap_or_else(|_| pb::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// An error and its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
