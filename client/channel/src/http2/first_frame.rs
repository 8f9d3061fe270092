//! The first frame of a server, and the time of its last bytes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::vitals::Vitals;
use crate::transport::BoxedIo;

/// The frame type of SETTINGS, and the offset of the type in a frame.
const SETTINGS: u8 = 4;
const FRAME_TYPE: usize = 3;

/// Checks that the first bytes of a server are its SETTINGS frame, and reports it: the server runs,
/// and speaks HTTP/2. Notes when bytes arrive.
pub(super) struct FirstFrameCheck {
    io: BoxedIo,
    spoken: Option<oneshot::Sender<()>>,
    vitals: Arc<Vitals>,
}

impl FirstFrameCheck {
    pub(super) fn new(io: BoxedIo, vitals: Arc<Vitals>) -> (Self, oneshot::Receiver<()>) {
        let (sender, spoken) = oneshot::channel();
        (Self { io, spoken: Some(sender), vitals }, spoken)
    }
}

impl AsyncRead for FirstFrameCheck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let received = &buf.filled()[before..];
        self.vitals.note_read();
        if !received.is_empty()
            && let Some(spoken) = self.spoken.take()
        {
            if received.get(FRAME_TYPE).is_some_and(|kind| *kind != SETTINGS) {
                return Poll::Ready(Err(io::Error::other("its first frame is not SETTINGS")));
            }
            // Fails only if the attempt was abandoned.
            let _ = spoken.send(());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FirstFrameCheck {
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
