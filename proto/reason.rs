//! The reasons in the `google.rpc.ErrorInfo` of this suite's statuses.
//!
//! Programs may match on a reason; the message is for people. `docs/errors.md` explains when each
//! occurs and what to do.

/// The `domain` of every `ErrorInfo` of this suite.
pub const DOMAIN: &str = "quartet";

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $($(#[$doc])* pub const $name: &str = stringify!($name);)*
        /// All reasons, in the order of `docs/errors.md`.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

reasons! {
    /// A field of the request is not valid; `BadRequest` lists every violation.
    INVALID_REQUEST
    /// A post breaks the limits of `PostMessage`; `BadRequest` lists every violation.
    INVALID_POST
    /// A request message cannot be decoded.
    UNDECODABLE_MESSAGE
    /// The messages of the request have an encoding that the server does not read.
    UNSUPPORTED_ENCODING
    /// A method that takes one request message got none, or several.
    REQUEST_COUNT
    /// A request message is over 256 KiB.
    REQUEST_TOO_LARGE
    /// A unary response would be over 1 MiB; the message names the method to use instead.
    RESPONSE_TOO_LARGE
    /// Another post has this `post_id`.
    POST_ID_TAKEN
    /// No user has this `user_id`.
    USER_NOT_FOUND
    /// An upload broke the order `post* finish`; the metadata has the `index` of the message.
    UPLOAD_PROTOCOL
    /// A feed that follows all tags cannot leave single ones.
    ALL_TAGS_FOLLOWED
    /// Only the first join of a feed may set where to start.
    START_AFTER_FIRST_JOIN
    /// The position belongs to another log, or is beyond the newest post: list again from the
    /// start.
    LOG_RESET
    /// The log's disk failed; the outcome of writes in flight is unknown.
    LOG_UNAVAILABLE
    /// The log's disk is full.
    LOG_FULL
    /// A user begins more calls than `--max-calls-per-second` allows; `RetryInfo` says when it may
    /// begin the next.
    RATE_LIMITED
    /// A user has as many calls open as `--max-open-calls` allows.
    TOO_MANY_CALLS
    /// The server was started with `--read-only`.
    LOG_READ_ONLY
    /// A stored post does not match its checksum. The operator must repair the log.
    LOG_DAMAGED
    /// The User service did not answer, and a name that is needed is not cached.
    USER_SERVICE_UNAVAILABLE
    /// The server shuts down. Resume from the last position on another server, or here after the
    /// restart.
    SHUTDOWN
    /// The server is starting: its log is not open yet.
    STARTING
    /// The connection has reached its maximum age. Resume from the last position on a new
    /// connection.
    MAX_AGE
    /// The RPC's deadline passed.
    DEADLINE_EXCEEDED
    /// The call has no credentials.
    CREDENTIALS_MISSING
    /// The token cannot be trusted.
    TOKEN_INVALID
    /// The token has expired. Resume with a new one.
    TOKEN_EXPIRED
    /// The caller's token or certificate lacks a scope that the method requires.
    SCOPE_MISSING
    /// The `user_id` of a post is not the caller's.
    OTHER_USER
    /// The server has no such method.
    UNKNOWN_METHOD
    /// A health check named a service that this server does not have.
    UNKNOWN_SERVICE
    /// A bug of the server; its log has the cause.
    INTERNAL
}
