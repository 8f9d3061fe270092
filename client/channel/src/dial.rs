//! The usual dialer: TCP and unix sockets, with or without TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::{
    address::Address,
    tls::{Encrypted, Tls},
    transport::{BoxedIo, Dial},
};

/// Connects over TCP or a unix socket. A [`Channel`](crate::Channel) has one by default; on its
/// own it is for programs that speak HTTP/2 themselves.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    /// TLS over TCP; `None` for plaintext. Unix sockets are never encrypted.
    pub tls: Option<Tls>,
}

impl Dialer {
    /// Opens a connection. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// Those of the operating system, and those of [`Tls::connect`].
    pub async fn dial(&self, address: &Address) -> io::Result<SocketStream> {
        let tcp = match address {
            Address::Tcp(address) => TcpStream::connect(address).await?,
            Address::Name(name) => TcpStream::connect(name).await?,
            Address::Unix(path) => return UnixStream::connect(path).await.map(SocketStream::Unix),
        };
        // Nagle's algorithm would hold a request back until the previous one is acknowledged.
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(tls) => SocketStream::Tls(Box::new(tls.connect(tcp).await?)),
            None => SocketStream::Tcp(tcp),
        })
    }
}

impl Dial for Dialer {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<BoxedIo>> {
        Box::pin(async { Ok(Box::new(self.dial(address).await?) as BoxedIo) })
    }
}

/// A connection that a [`Dialer`] opened.
#[derive(Debug)]
pub enum SocketStream {
    /// Plaintext over TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP; boxed, because its state is much larger than a socket.
    Tls(Box<Encrypted<TcpStream>>),
}

/// Calls the same method of whichever stream it is.
macro_rules! forward {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            SocketStream::Tcp($io) => $call,
            SocketStream::Unix($io) => $call,
            SocketStream::Tls($io) => $call,
        }
    };
}

impl AsyncRead for SocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for SocketStream {
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
