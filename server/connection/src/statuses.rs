//! The statuses that a connection ends streams with when no service did.

use tonic::Status;

/// The statuses of calls that the connection itself ends.
///
/// The default has gRPC's codes and a short message. A server whose statuses carry details, such as
/// a `google.rpc.ErrorInfo`, replaces them.
#[derive(Debug, Clone)]
pub struct Statuses {
    /// The server stops: UNAVAILABLE.
    pub shutdown: Status,
    /// The connection has reached its maximum age, and its streams their grace: UNAVAILABLE.
    pub max_age: Status,
    /// The deadline of a call passed: DEADLINE_EXCEEDED.
    pub deadline_exceeded: Status,
    /// A `grpc-timeout` that cannot be read: INVALID_ARGUMENT.
    pub invalid_timeout: Status,
}

impl Default for Statuses {
    fn default() -> Self {
        Self {
            shutdown: Status::unavailable("the server is shutting down"),
            max_age: Status::unavailable("the connection has reached its maximum age"),
            deadline_exceeded: Status::deadline_exceeded("the deadline passed"),
            invalid_timeout: Status::invalid_argument("grpc-timeout: is not a timeout"),
        }
    }
}
