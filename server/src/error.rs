//! Turns this server's errors into gRPC statuses: all of them are made here.
//!
//! Every status carries a `google.rpc.ErrorInfo` with a reason of [`quartet::reason`], `BadRequest`
//! violations where a field is at fault, and `RetryInfo` where a retry makes sense. Causes that
//! callers must not see are logged.

use std::{collections::HashMap, time::Duration};

use quartet::{
    codec,
    reason::{self, DOMAIN},
};
use quartet_connection::Statuses;
use quartet_log::LogError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _, pb};

/// The delay before a retry, for failures that pass.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Violations that a status lists, if it has room for them.
const LISTED_VIOLATIONS: usize = 16;
/// Characters of the message about them.
const MESSAGE_CHARS: usize = 512;
/// Bytes of a status on the wire, by estimate: nginx passes 4 KiB of all headers together.
const STATUS_BYTES: usize = 3 * 1024;

/// A status with a reason.
pub fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    details(code, reason, message, ErrorDetails::new())
}

/// A status with a delay after which the caller may retry.
pub fn retryable(code: Code, reason: &str, message: impl Into<String>) -> Status {
    retryable_after(RETRY_DELAY, code, reason, message)
}

/// The same with this delay.
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

/// INVALID_ARGUMENT with every invalid field.
pub fn invalid(reason: &str, violations: Vec<FieldViolation>) -> Status {
    let all: Vec<String> =
        violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    let message = codec::truncate(&all.join("; "), MESSAGE_CHARS).to_owned();
    let mut listed = violations;
    listed.truncate(LISTED_VIOLATIONS);
    loop {
        let mut errors = ErrorDetails::new();
        errors.set_bad_request(listed.clone());
        let status = details(Code::InvalidArgument, reason, message.clone(), errors);
        if wire_bytes(&status) <= STATUS_BYTES || listed.pop().is_none() {
            return status;
        }
    }
}

/// Bytes of `grpc-message` and of `grpc-status-details-bin`, which is in base64.
fn wire_bytes(status: &Status) -> usize {
    status.message().len() + status.details().len().div_ceil(3) * 4
}

/// INVALID_ARGUMENT with a single invalid field.
pub fn invalid_field(field: &str, description: impl Into<String>) -> Status {
    invalid(reason::INVALID_REQUEST, vec![FieldViolation::new(field, description)])
}

/// An upload message that breaks the order `post* finish`.
pub fn upload_protocol(index: i64, what: &str) -> Status {
    at_index(Code::InvalidArgument, reason::UPLOAD_PROTOCOL, index, what)
}

/// Adds the index of an upload message to the status about it.
pub fn at_message(index: i64, status: Status) -> Status {
    match status.get_details_error_info() {
        Some(info) => at_index(status.code(), &info.reason, index, status.message()),
        None => status,
    }
}

fn at_index(code: Code, reason: &str, index: i64, message: &str) -> Status {
    let metadata = HashMap::from([("index".to_owned(), index.to_string())]);
    let errors = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code, format!("message {index}: {message}"), errors)
}

/// Ends streams when the server stops. Clients resume on another server, or here after the restart.
pub fn shutdown() -> Status {
    retryable(
        Code::Unavailable,
        reason::SHUTDOWN,
        "the server is shutting down; resume from the last position",
    )
}

/// A call that exceeded its deadline.
pub fn deadline_exceeded() -> Status {
    let message = "the deadline passed; what was written may or may not be stored";
    status(Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED, message)
}

/// The statuses with which connections end calls.
pub fn statuses() -> Statuses {
    Statuses {
        shutdown: shutdown(),
        max_age: max_age(),
        deadline_exceeded: deadline_exceeded(),
        invalid_timeout: invalid_field("grpc-timeout", "is not a timeout"),
    }
}

/// Refuses calls while the server starts.
pub fn starting() -> Status {
    retryable(
        Code::Unavailable,
        reason::STARTING,
        "the server is starting: its log is not open yet",
    )
}

/// Ends streams when their connection reaches its maximum age. Clients resume on a new connection.
pub fn max_age() -> Status {
    retryable(
        Code::Unavailable,
        reason::MAX_AGE,
        "the connection has reached its maximum age; resume from the last position",
    )
}

/// A call without credentials.
pub fn credentials_missing() -> Status {
    let message =
        "this server wants to know who calls: send a token, or a certificate that names a user";
    status(Code::Unauthenticated, reason::CREDENTIALS_MISSING, message)
}

/// A token that cannot be trusted. The cause is only logged: it would help to forge tokens.
pub fn token_invalid() -> Status {
    status(Code::Unauthenticated, reason::TOKEN_INVALID, "the token is not valid here")
}

/// A token that has expired. A stream resumes from its last position with a new one.
pub fn token_expired() -> Status {
    status(
        Code::Unauthenticated,
        reason::TOKEN_EXPIRED,
        "the token has expired; go on with a new one",
    )
}

/// A call whose caller lacks this scope.
pub fn scope_missing(scope: &str) -> Status {
    let message = format!("this call needs the scope {scope}");
    status(Code::PermissionDenied, reason::SCOPE_MISSING, message)
}

/// A post in another user's name.
pub fn other_user() -> Status {
    let message = "user_id: is not the caller; leave it empty to write as who you are";
    status(Code::PermissionDenied, reason::OTHER_USER, message)
}

/// A bug. The cause is only logged.
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

/// The status of a call for which the log failed. The cause is only logged.
pub fn of_log(error: LogError) -> Status {
    if !matches!(error, LogError::ReadOnly) {
        tracing::error!(%error, "the log failed a call");
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
            "a stored post is damaged; the server's operator must repair it",
        ),
    }
}

/// A status inside a response that goes on: in a receipt or a reject.
pub fn embedded(status: &Status) -> pb::Status {
    use prost::Message as _;
    // tonic keeps the encoded google.rpc.Status as the details of its own.
    pb::Status::decode(status.details()).unwrap_or_else(|_| pb::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// An error and its causes, joined by `: `.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
