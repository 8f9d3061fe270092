//! The interface between a channel and the network: [`Dial`]. The usual implementation is
//! [`Dialer`](crate::Dialer); tests and simulations bring their own.

use std::io;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::Address;

/// A stream of bytes in both directions. Implemented for every type that fits.
pub trait IoStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> IoStream for T {}

/// An open connection of any kind.
pub type BoxedIo = Box<dyn IoStream>;

/// Opens connections.
pub trait Dial: Send + Sync + 'static {
    /// Opens a connection to `address`. The channel drops the future when the attempt takes longer
    /// than five seconds; dropping it must abandon the attempt.
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxedIo>>;
}

/// An async function from an address to a stream is a dialer.
impl<F, R> Dial for F
where
    F: Fn(Address) -> R + Send + Sync + 'static,
    R: Future<Output = io::Result<BoxedIo>> + Send + 'static,
{
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxedIo>> {
        Box::pin(self(address.clone()))
    }
}

/// Why a connection could not be made. It is the source of the UNAVAILABLE status of calls that
/// fail for want of a connection.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}")]
pub struct ConnectError {
    /// The address that was dialed.
    pub address: Address,
    /// The error of the last attempt.
    #[source]
    pub source: io::Error,
}
