//! The messages of `grpc.testing.TestService`, by gRPC's
//! [test descriptions](https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md).

use prost::Message;

/// The name of the service.
pub const SERVICE: &str = "grpc.testing.TestService";
/// Metadata that the server sends back in its headers.
pub const ECHO_INITIAL: &str = "x-grpc-test-echo-initial";
/// Metadata that the server sends back in its trailers.
pub const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// Nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

/// A flag that may be absent.
#[derive(Clone, PartialEq, Message)]
pub struct BoolValue {
    /// The flag.
    #[prost(bool, tag = "1")]
    pub value: bool,
}

/// Bytes without a meaning.
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// The bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub body: Vec<u8>,
}

impl Payload {
    /// So many zeros.
    pub fn zeros(size: i32) -> Option<Self> {
        Some(Self { body: vec![0; size.max(0).unsigned_abs() as usize] })
    }
}

/// The status that a call is to end with.
#[derive(Clone, PartialEq, Message)]
pub struct EchoStatus {
    /// Its code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Its message.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// The request of `UnaryCall`.
#[derive(Clone, PartialEq, Message)]
pub struct SimpleRequest {
    /// Bytes of the answer.
    #[prost(int32, tag = "2")]
    pub response_size: i32,
    /// Ignored.
    #[prost(message, optional, tag = "3")]
    pub payload: Option<Payload>,
    /// Whether the answer is to be compressed.
    #[prost(message, optional, tag = "6")]
    pub response_compressed: Option<BoolValue>,
    /// The status of the answer.
    #[prost(message, optional, tag = "7")]
    pub response_status: Option<EchoStatus>,
    /// Whether this message has to be compressed.
    #[prost(message, optional, tag = "8")]
    pub expect_compressed: Option<BoolValue>,
    /// Whether the answer is to name its server.
    #[prost(bool, tag = "9")]
    pub fill_server_id: bool,
}

/// The answer of `UnaryCall`, and with its first field that of the streaming methods.
#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    /// The bytes that were asked for.
    #[prost(message, optional, tag = "1")]
    pub payload: Option<Payload>,
    /// The name of the server, in answers of `UnaryCall`.
    #[prost(string, tag = "4")]
    pub server_id: String,
}

/// A request of `StreamingInputCall`.
#[derive(Clone, PartialEq, Message)]
pub struct StreamingInputCallRequest {
    /// Bytes to count.
    #[prost(message, optional, tag = "1")]
    pub payload: Option<Payload>,
    /// Whether this message has to be compressed.
    #[prost(message, optional, tag = "2")]
    pub expect_compressed: Option<BoolValue>,
}

/// The answer of `StreamingInputCall`.
#[derive(Clone, PartialEq, Message)]
pub struct StreamingInputCallResponse {
    /// The bytes of all requests.
    #[prost(int32, tag = "1")]
    pub aggregated_payload_size: i32,
}

/// One answer that is asked for.
#[derive(Clone, PartialEq, Message)]
pub struct ResponseParameters {
    /// Its bytes.
    #[prost(int32, tag = "1")]
    pub size: i32,
    /// The pause before it, in microseconds.
    #[prost(int32, tag = "2")]
    pub interval_us: i32,
    /// Whether it is to be compressed.
    #[prost(message, optional, tag = "3")]
    pub compressed: Option<BoolValue>,
}

/// A request of the methods that answer with a stream.
#[derive(Clone, PartialEq, Message)]
pub struct StreamingOutputCallRequest {
    /// The answers.
    #[prost(message, repeated, tag = "2")]
    pub response_parameters: Vec<ResponseParameters>,
    /// Ignored.
    #[prost(message, optional, tag = "3")]
    pub payload: Option<Payload>,
    /// The status of the call.
    #[prost(message, optional, tag = "7")]
    pub response_status: Option<EchoStatus>,
}
