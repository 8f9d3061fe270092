//! Opening bytes: from an address to a stream that HTTP/2 is spoken on.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

use crate::tls::Tls;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
    /// `HOST:PORT`, or whatever else is understood where it is dialled: nobody looked at it.
    Name(String),
}

/// How connections are opened: over TCP or a unix socket, encrypted or not.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    /// How TCP is encrypted, if it is.
    pub tls: Option<Tls>,
}

impl Dialer {
    /// Opens a connection. Dropping the future gives up.
    ///
    /// # Errors
    /// Those of the operating system and of [`Tls::connect`].
    pub async fn dial(&self, address: &Address) -> io::Result<Stream> {
        let tcp = match address {
            Address::Tcp(address) => TcpStream::connect(address).await?,
            Address::Name(name) => TcpStream::connect(name).await?,
            Address::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
        };
        // A request must not wait for the acknowledgement of the one before.
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(tls) => Stream::Tls(Box::new(tls.connect(tcp).await?)),
            None => Stream::Tcp(tcp),
        })
    }
}

/// An open connection.
#[derive(Debug)]
pub enum Stream {
    /// Plaintext over TCP.
    Tcp(TcpStream),
    /// Within the machine.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does the same with whatever the stream is.
macro_rules! forward {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($io) => $call,
            Stream::Unix($io) => $call,
            Stream::Tls($io) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
