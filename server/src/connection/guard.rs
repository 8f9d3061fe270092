//! The guard: an I/O wrapper below HTTP/2 that sees every frame, and ends a connection that breaks the rules.
//!
//! h2 answers pings and obeys settings without telling anybody, so this is the one place where they can be counted. The
//! guard reads the headers of frames in both directions and copies no payload. A peer that breaks a rule of [`policy`]
//! gets a GOAWAY with ENHANCE_YOUR_CALM and the rule's name, at the next boundary between two frames, and then the
//! connection ends with an error.
//!
//! It takes no bytes for valid: what is not HTTP/2 is h2's to refuse.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::activity::Activity;
use crate::keepalive::EnforcementPolicy;
use frames::{FRAMES, Frames, Header, kind};
use policy::{Policy, Violation};

pub mod frames;
pub mod policy;

/// The error code of a peer that shall calm down (RFC 9113, section 7).
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A connection's I/O, guarded.
#[derive(Debug)]
pub struct Guard<IO> {
    io: IO,
    inbound: Frames,
    outbound: Frames,
    policy: Policy,
    activity: Arc<Activity>,
    /// The last stream that the peer opened.
    last_stream: u32,
    /// The rest of the GOAWAY, once a rule was broken.
    goodbye: Option<Goodbye>,
    /// Whether frames are told, at [`FRAMES`].
    tells: bool,
}

#[derive(Debug)]
struct Goodbye {
    violation: Violation,
    bytes: Bytes,
}

impl<IO> Guard<IO> {
    /// Guards a connection that a client has just made.
    pub fn new(io: IO, enforcement: EnforcementPolicy, activity: Arc<Activity>) -> Self {
        Self {
            io,
            inbound: Frames::of_client(),
            outbound: Frames::of_server(),
            policy: Policy::new(enforcement, Instant::now()),
            activity,
            last_stream: 0,
            goodbye: None,
            tells: false,
        }
    }

    /// The same, with every frame told at [`FRAMES`], or none.
    #[must_use]
    pub fn telling(mut self, tells: bool) -> Self {
        self.tells = tells;
        self
    }

    fn received(&mut self, bytes: &[u8]) {
        let Self { inbound, policy, activity, last_stream, tells, .. } = self;
        let now = Instant::now();
        activity.read(now);
        let mut verdict = Ok(());
        inbound.scan(bytes, |frame: Header| {
            if *tells {
                tracing::debug!(target: FRAMES, "recv {frame}");
            }
            match frame.kind {
                kind::SETTINGS => activity.finish_handshake(),
                kind::HEADERS => *last_stream = frame.stream.max(*last_stream),
                _ => {}
            }
            if verdict.is_ok() {
                verdict = policy.received(frame, now, activity.streams());
            }
        });
        self.judge(verdict);
    }

    fn sent(&mut self, bytes: &[u8], now: Instant) {
        let mut verdict = Ok(());
        let (policy, tells) = (&mut self.policy, self.tells);
        self.outbound.scan(bytes, |frame| {
            if tells {
                tracing::debug!(target: FRAMES, "sent {frame}");
            }
            if verdict.is_ok() {
                verdict = policy.sent(frame, now);
            }
        });
        self.judge(verdict);
    }

    fn judge(&mut self, verdict: Result<(), Violation>) {
        if let (Err(violation), None) = (verdict, &self.goodbye) {
            tracing::info!(rule = violation.0, "a peer broke a rule; closing its connection");
            if self.tells {
                tracing::debug!(target: FRAMES, "sent GOAWAY ENHANCE_YOUR_CALM {}", violation.0);
            }
            let bytes = goaway(self.last_stream, violation);
            self.goodbye = Some(Goodbye { violation, bytes });
        }
    }
}

impl<IO> Drop for Guard<IO> {
    fn drop(&mut self) {
        if self.tells {
            tracing::debug!(target: FRAMES, "connection closed");
        }
    }
}

impl<IO: AsyncWrite + Unpin> Guard<IO> {
    /// Writes the GOAWAY as far as it may be written now; then the connection is over. Pending in the middle of a frame:
    /// whoever writes the rest of it comes back.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(goodbye) = &mut self.goodbye else { return Poll::Pending };
        if !self.outbound.at_boundary() {
            return Poll::Pending;
        }
        while goodbye.bytes.has_remaining() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &goodbye.bytes)) {
                Ok(0) => return Poll::Ready(io::ErrorKind::WriteZero.into()),
                Ok(written) => goodbye.bytes.advance(written),
                Err(error) => return Poll::Ready(error),
            }
        }
        if let Err(error) = ready!(Pin::new(&mut self.io).poll_flush(cx)) {
            return Poll::Ready(error);
        }
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, goodbye.violation.0))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.goodbye.is_none() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            this.received(&buf.filled()[before..]);
            if this.goodbye.is_none() {
                return Poll::Ready(Ok(()));
            }
            buf.set_filled(before);
        }
        this.poll_goodbye(cx).map(Err)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut end = buf.len();
        if this.goodbye.is_some() {
            if this.outbound.at_boundary() {
                return this.poll_goodbye(cx).map(Err);
            }
            end = end.min(this.outbound.rest());
        }
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, &buf[..end]))?;
        this.sent(&buf[..written], Instant::now());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.goodbye.is_some() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| &**buf));
        }
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        let (now, mut left) = (Instant::now(), written);
        for buf in bufs {
            let sent = left.min(buf.len());
            this.sent(&buf[..sent], now);
            left -= sent;
        }
        Poll::Ready(Ok(written))
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

/// A GOAWAY frame (RFC 9113, section 6.8).
fn goaway(last_stream: u32, violation: Violation) -> Bytes {
    let debug = violation.0.as_bytes();
    let mut frame = BytesMut::new();
    frame.put_uint(8 + debug.len() as u64, 3);
    frame.put_slice(&[kind::GOAWAY, 0]);
    frame.put_u32(0);
    frame.put_u32(last_stream);
    frame.put_u32(ENHANCE_YOUR_CALM);
    frame.put_slice(debug);
    frame.freeze()
}
