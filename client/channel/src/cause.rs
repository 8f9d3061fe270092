//! Why a call ended if no server said so: the one place that makes statuses of the channel's own.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use http::StatusCode;
use quartet_wire::code;
use tonic::{Code, Status};

use crate::transport::ConnectError;

/// Why a call ended, where no server sent a status.
///
/// Every status that the channel makes has this as its
/// [`source`](std::error::Error::source), and no status that a server sent has one. So what the
/// channel makes up is never taken for the word of a server: see [`CallError`](crate::CallError).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The last attempt to connect failed.
    #[error("{}", with_source(.0))]
    Connect(#[source] Arc<ConnectError>),
    /// There is no address, or no server is healthy.
    #[error("{0}")]
    Unreachable(String),
    /// The connection or the stream broke.
    #[error("{}", Broken(.0))]
    Broken(#[source] Arc<h2::Error>),
    /// Nothing arrived for this long after a ping.
    #[error("the connection was lost: nothing arrived for {0:?} after a ping")]
    Silent(Duration),
    /// The response ended without a status, as one does whose proxy has lost its server.
    #[error("the response was cut off: it ended without a status")]
    NoStatus,
    /// The response ended within a message.
    #[error("the response was cut off: it ended within a message")]
    WithinMessage,
    /// The response goes on with bytes that are not a message, such as a proxy's page.
    #[error("the response was cut off: bytes that are not a message follow (flag {0})")]
    NotAMessage(u8),
    /// Something other than a gRPC server answered, such as a proxy.
    #[error("the response is not gRPC: {}", Page(*.0, .1))]
    NotGrpc(StatusCode, String),
    /// The response is compressed in a way that the request did not offer to read.
    #[error("{0}")]
    Compression(String),
    /// The method answers with one message, and the response ended well with another number.
    #[error("the method answers with one message, and this response has {0}")]
    ResponseCount(usize),
    /// A message is larger than the service config allows.
    #[error("a message of {0} bytes is larger than the limit of {1} in the service config")]
    TooLarge(u32, u64),
    /// The deadline passed.
    #[error("the deadline passed{0}")]
    Deadline(String),
    /// The source of tokens has none now.
    #[error("no token: {0}")]
    NoToken(String),
    /// The server has refused the only token.
    #[error("the token was refused, and there is no other")]
    TokenRefused,
}

impl Cause {
    /// The code of the status: that of gRPC's
    /// [PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) for broken
    /// streams, of its [table](code::from_http) for HTTP, and of its
    /// [statuscodes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md) otherwise.
    pub fn code(&self) -> Code {
        match self {
            Self::Connect(_) | Self::Unreachable(_) | Self::NoToken(_) => Code::Unavailable,
            Self::Broken(error) => code_of_broken(error),
            Self::Silent(_) => Code::Unavailable,
            Self::NoStatus => Code::Unknown,
            Self::WithinMessage | Self::NotAMessage(_) | Self::Compression(_) => Code::Internal,
            Self::NotGrpc(status, _) => code::from_http(*status).unwrap_or(Code::Unknown),
            Self::ResponseCount(_) => Code::Unimplemented,
            Self::TooLarge(..) => Code::ResourceExhausted,
            Self::Deadline(_) => Code::DeadlineExceeded,
            Self::TokenRefused => Code::Unauthenticated,
        }
    }

    /// The cause of a status, if the channel made it.
    pub fn of(status: &Status) -> Option<&Self> {
        std::iter::successors(status.source(), |&cause| cause.source())
            .find_map(|cause| cause.downcast_ref())
    }
}

impl From<Cause> for Status {
    fn from(cause: Cause) -> Self {
        let mut status = Self::new(cause.code(), cause.to_string());
        status.set_source(Arc::new(cause));
        status
    }
}

impl From<h2::Error> for Cause {
    fn from(error: h2::Error) -> Self {
        Self::Broken(Arc::new(error))
    }
}

/// The code of a stream that ended without trailers, by the table of
/// [PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors). A
/// connection that is gone is UNAVAILABLE.
///
/// Mapped here, because tonic maps reset codes only where its feature `server` is enabled, even for
/// its client.
fn code_of_broken(error: &h2::Error) -> Code {
    use h2::Reason;
    if !error.is_reset() && !error.is_library() {
        return Code::Unavailable;
    }
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => Code::Unavailable,
        Some(Reason::CANCEL) => Code::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

fn with_source(error: &ConnectError) -> String {
    format!("{error}: {}", error.source)
}

/// How a connection or a stream broke: a stream that was reset leaves its connection intact.
struct Broken<'a>(&'a h2::Error);

impl fmt::Display for Broken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.reason() {
            Some(reason) if self.0.is_reset() => write!(f, "the stream was reset: {reason:?}"),
            Some(reason) if self.0.is_go_away() => {
                write!(f, "the connection was lost: GOAWAY {reason:?}")?;
                debug_text(self.0).map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            _ => write!(f, "the connection was lost: {}", root(self.0)),
        }
    }
}

/// The debug data of a GOAWAY, if there is any. h2 has it only in its `Display`.
pub(crate) fn debug_text(goaway: &h2::Error) -> Option<String> {
    let text = goaway.to_string();
    let (_, data) = text.split_once(" (b\"")?;
    data.strip_suffix("\")").map(str::to_owned)
}

/// The innermost cause: "Connection refused" rather than "h2 protocol error".
pub(crate) fn root<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error)
}

/// The answer of something that is not a gRPC server.
struct Page<'a>(StatusCode, &'a str);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}", self.0)?;
        match (self.0, self.1) {
            (StatusCode::PAYLOAD_TOO_LARGE, _) => f.write_str(", a proxy's limit on requests"),
            (_, "") => f.write_str(", without a content type"),
            (_, content_type) => write!(f, ", content type {content_type:?}"),
        }
    }
}
