//! The reasons that a status of this suite can carry in its `google.rpc.ErrorInfo`.
//!
//! A reason is the part of an error that a program may match on; the message is for people.
//! `docs/errors.md` says of each when it occurs and what to do.

/// The `domain` of every `ErrorInfo` of this suite.
pub const DOMAIN: &str = "quartet";

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $($(#[$doc])* pub const $name: &str = stringify!($name);)*
        /// All of them, in the order of `docs/errors.md`.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

reasons! {
    /// A field of the request is out of its limits; `BadRequest` lists every violation.
    INVALID_REQUEST
    /// A post breaks the limits of `PostMessage`; `BadRequest` lists every violation.
    INVALID_POST
    /// The bytes of a request message are not the message.
    UNDECODABLE_MESSAGE
    /// A method that takes one request message got none, or more.
    REQUEST_COUNT
    /// A request message is over 256 KiB.
    REQUEST_TOO_LARGE
    /// A unary answer would be over 1 MiB; the message names the RPC to use instead.
    RESPONSE_TOO_LARGE
    /// Another post has this `post_id`.
    POST_ID_TAKEN
    /// No user has this `user_id`.
    USER_NOT_FOUND
    /// An upload broke `post* finish`; the metadata holds the `index` of the message.
    UPLOAD_PROTOCOL
    /// A feed that follows all tags cannot leave single ones.
    ALL_TAGS_FOLLOWED
    /// Only the first join of a feed may say where to start.
    START_AFTER_FIRST_JOIN
    /// The position is of another log, or beyond the newest post: list again.
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
    /// A stored post does not match its checksum. The operator must look.
    LOG_DAMAGED
    /// The User service did not answer, and a name that is needed is not cached.
    USER_SERVICE_UNAVAILABLE
    /// The server stops; another server, or this one after its restart, goes on from the last
    /// position.
    SHUTDOWN
    /// The server is starting: its log is not open yet.
    STARTING
    /// The connection has reached its maximum age; a new one to the same server goes on from the
    /// last position.
    MAX_AGE
    /// The RPC's deadline passed.
    DEADLINE_EXCEEDED
    /// The call says not who makes it.
    CREDENTIALS_MISSING
    /// The token cannot be trusted.
    TOKEN_INVALID
    /// The token was good and is not any more; a stream goes on with a new one.
    TOKEN_EXPIRED
    /// The caller's token or certificate has not the scope that the method asks for.
    SCOPE_MISSING
    /// A post names another user than the caller.
    OTHER_USER
    /// The server has no such method.
    UNKNOWN_METHOD
    /// The health of a service was asked for that this server does not have.
    UNKNOWN_SERVICE
    /// A bug of the server; its log has the cause.
    INTERNAL
}
