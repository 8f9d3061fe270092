//! What the programs under test share: the messages of the suites, and the pipes over which
//! ConnectRPC's conformance suite speaks to both of its own.
//!
//! That suite is the Go module `connectrpc.com/conformance`. It starts a program under test, writes
//! messages to its stdin and reads messages from its stdout, each with four bytes of length before
//! it.

use std::io;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub mod testing;

/// The messages of the suite.
#[allow(clippy::all)] // generated
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/connectrpc.conformance.v1.rs"));
}

/// A status as `grpc-status-details-bin` has it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RpcStatus {
    /// The code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The message.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The details.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<prost_types::Any>,
}

/// A response of any method: each has a payload as its first field.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// The payload.
    #[prost(message, optional, tag = "1")]
    pub payload: Option<proto::ConformancePayload>,
}

/// The next message of the suite; `None` at the end.
///
/// # Errors
/// The pipe breaks, or what comes is not such a message.
pub async fn read<M: Message + Default>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<M>> {
    let length = match from.read_u32().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => length?,
    };
    let mut message = vec![0; length as usize];
    from.read_exact(&mut message).await?;
    M::decode(message.as_slice()).map(Some).map_err(io::Error::other)
}

/// Answers the suite.
///
/// # Errors
/// The pipe breaks.
pub async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    let message = message.encode_to_vec();
    to.write_u32(message.len() as u32).await?;
    to.write_all(&message).await?;
    to.flush().await
}
