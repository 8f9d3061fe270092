//! Where connections come from: TCP, unix sockets, pipes in memory, and listeners of the caller's.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::peer::PeerAddress;

pub mod memory;
pub mod unix;

/// A source of connections.
///
/// ```
/// use std::io;
///
/// use quartet_connection::{PeerAddress, Listener};
/// use tokio::net::{TcpListener, TcpStream};
///
/// /// Takes connections of this machine only.
/// struct Local(TcpListener);
///
/// impl Listener for Local {
///     type Io = TcpStream;
///
///     async fn accept(&mut self) -> io::Result<Option<TcpStream>> {
///         loop {
///             let (stream, address) = self.0.accept().await?;
///             if address.ip().is_loopback() {
///                 return Ok(Some(stream));
///             }
///         }
///     }
///
///     fn address(stream: &TcpStream) -> PeerAddress {
///         TcpListener::address(stream)
///     }
/// }
/// ```
pub trait Listener: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection; `None` if there will be no more. Cancel-safe.
    ///
    /// # Errors
    /// A connection cannot be accepted. The caller tries again after a pause.
    fn accept(&mut self) -> impl Future<Output = io::Result<Option<Self::Io>>> + Send;

    /// Moves a connection to the runtime of the calling thread, which serves it.
    ///
    /// # Errors
    /// The connection cannot be served.
    fn adopt(io: Self::Io) -> io::Result<Self::Io> {
        Ok(io)
    }

    /// Where the peer is. [`PeerAddress::Memory`] has no limits of its own, and neither has a
    /// listener that does not say.
    fn address(_: &Self::Io) -> PeerAddress {
        PeerAddress::Memory
    }
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<Option<TcpStream>> {
        let (stream, _) = TcpListener::accept(self).await?;
        // A small message must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        Ok(Some(stream))
    }

    fn adopt(stream: TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream.into_std()?)
    }

    fn address(stream: &TcpStream) -> PeerAddress {
        stream.peer_addr().map(PeerAddress::Ip).unwrap_or_default()
    }
}

/// A listener that its owner goes on with afterwards.
impl<L: Listener> Listener for &mut L {
    type Io = L::Io;

    async fn accept(&mut self) -> io::Result<Option<L::Io>> {
        L::accept(self).await
    }

    fn adopt(io: L::Io) -> io::Result<L::Io> {
        L::adopt(io)
    }

    fn address(io: &L::Io) -> PeerAddress {
        L::address(io)
    }
}
