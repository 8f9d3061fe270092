//! An I/O whose first byte can be read in advance.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The I/O below TLS. The byte that was read in advance is read again.
#[derive(Debug)]
pub(crate) struct Peeked<IO> {
    first: Option<u8>,
    io: IO,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Peeked<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self { first: None, io }
    }

    /// Waits for the first byte. Cancel-safe.
    pub(super) async fn first(&mut self) -> io::Result<u8> {
        let first = self.io.read_u8().await?;
        self.first = Some(first);
        Ok(first)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Peeked<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.first {
            Some(first) if buf.remaining() > 0 => {
                self.first = None;
                buf.put_slice(&[first]);
                Poll::Ready(Ok(()))
            }
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.io).poll_read(cx, buf),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Peeked<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
