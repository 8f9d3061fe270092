//! The guard: an I/O wrapper below HTTP/2 that sees every frame, and ends a connection that breaks
//! the rules.
//!
//! h2 answers pings and obeys settings without reporting them, so this is the one place where they
//! can be counted. The guard reads the headers of frames in both directions and copies no payload.
//! A peer that breaks a rule of [`allowance`] gets a GOAWAY with ENHANCE_YOUR_CALM and the rule's
//! name, at the next boundary between two frames, and then the connection ends with an error.
//!
//! It does not validate HTTP/2; h2 does.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::{
    activity::Activity,
    settings::{Linger, Settings},
    tls::HANDSHAKE_RECORD,
};
use allowance::{Allowance, Violation};
use frames::{FRAMES, FrameScanner, Header, kind};

pub mod allowance;
pub mod frames;

/// The error code for a peer that causes excessive load (RFC 9113, section 7).
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A connection's I/O, guarded.
#[derive(Debug)]
pub struct Guard<IO> {
    io: IO,
    inbound: FrameScanner,
    outbound: FrameScanner,
    allowance: Allowance,
    activity: Arc<Activity>,
    /// The last stream that the peer opened.
    last_stream: u32,
    /// How many GOAWAYs h2 has sent.
    goaways: u32,
    /// The last GOAWAY, once a rule was broken.
    goodbye: Option<Goodbye>,
    linger: Linger,
    /// Whether frames are traced, at [`FRAMES`].
    traces: bool,
}

#[derive(Debug)]
struct Goodbye {
    violation: Violation,
    /// What is left to write.
    bytes: Bytes,
    linger: Linger,
    /// Runs once all of it is written.
    lingering: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

impl<IO> Guard<IO> {
    /// Guards a connection that a client has just opened.
    pub fn new(io: IO, settings: &Settings, activity: Arc<Activity>) -> Self {
        Self {
            io,
            inbound: FrameScanner::of_client(),
            outbound: FrameScanner::of_server(),
            allowance: Allowance::new(settings.enforcement, settings.frame_budget, Instant::now()),
            activity,
            last_stream: 0,
            goaways: 0,
            goodbye: None,
            linger: settings.linger,
            traces: settings.trace_frames,
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        let Self { inbound, allowance, activity, last_stream, goaways, traces, .. } = self;
        let now = Instant::now();
        if activity.reads() == 0 && bytes.first() == Some(&HANDSHAKE_RECORD) {
            tracing::info!("a TLS client on a plaintext port: it needs http://, or the server TLS");
        }
        activity.read(now);
        let mut verdict = Ok(());
        inbound.scan(bytes, |frame: Header| {
            if *traces {
                tracing::debug!(target: FRAMES, "recv {frame}");
            }
            match frame.kind {
                kind::SETTINGS => activity.finish_handshake(),
                // Streams that are opened after the final GOAWAY of a graceful end are not served,
                // and no later GOAWAY may name a higher one.
                kind::HEADERS if *goaways < 2 => *last_stream = frame.stream.max(*last_stream),
                _ => {}
            }
            if verdict.is_ok() {
                verdict = allowance.received(frame, now, activity.streams());
            }
        });
        self.judge(verdict);
    }

    fn sent(&mut self, bytes: &[u8]) {
        let mut verdict = Ok(());
        let Self { allowance, goaways, traces, .. } = self;
        self.outbound.scan(bytes, |frame| {
            if *traces {
                tracing::debug!(target: FRAMES, "sent {frame}");
            }
            *goaways += u32::from(frame.kind == kind::GOAWAY);
            if verdict.is_ok() {
                verdict = allowance.sent(frame);
            }
        });
        self.judge(verdict);
    }

    fn judge(&mut self, verdict: Result<(), Violation>) {
        if let (Err(violation), None) = (verdict, &self.goodbye) {
            tracing::info!(rule = violation.0, "a peer broke a rule; closing its connection");
            if self.traces {
                tracing::debug!(target: FRAMES, "sent GOAWAY ENHANCE_YOUR_CALM {}", violation.0);
            }
            let bytes = goaway(self.last_stream, violation);
            let linger = self.linger;
            self.goodbye =
                Some(Goodbye { violation, bytes, linger, lingering: None, discarded: 0 });
        }
    }
}

impl<IO> Drop for Guard<IO> {
    fn drop(&mut self) {
        if self.traces {
            tracing::debug!(target: FRAMES, "connection closed");
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Guard<IO> {
    /// Writes the GOAWAY as far as it may be written now; then the connection is over. Pending in
    /// the middle of a frame: the write of its rest polls this again.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.outbound.at_boundary() {
            return Poll::Pending;
        }
        let Some(goodbye) = &mut self.goodbye else { return Poll::Pending };
        let io = Pin::new(&mut self.io);
        match ready!(goodbye.poll(io, cx)) {
            Ok(()) => {
                Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, goodbye.violation.0))
            }
            Err(error) => Poll::Ready(error),
        }
    }
}

impl Goodbye {
    /// Writes all of it and waits a moment for the peer to close, as [`Linger`] explains.
    fn poll<IO: AsyncRead + AsyncWrite>(
        &mut self,
        mut io: Pin<&mut IO>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.bytes.has_remaining() {
            match ready!(io.as_mut().poll_write(cx, &self.bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.bytes.advance(written),
            }
        }
        // This writes what waits below, so that the peer has all of it before the time runs.
        ready!(io.as_mut().poll_shutdown(cx))?;
        let time = self.linger.time;
        let lingering = self.lingering.get_or_insert_with(|| Box::pin(sleep(time)));
        if lingering.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 4096];
        while self.discarded < self.linger.bytes {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(io.as_mut().poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => break,
                read => self.discarded += read,
            }
        }
        Poll::Ready(Ok(()))
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

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
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
        this.sent(&buf[..written]);
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
        let mut left = written;
        for buf in bufs {
            let sent = left.min(buf.len());
            this.sent(&buf[..sent]);
            left -= sent;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        // The rest of a frame was the last that h2 had to write: no other poll follows.
        if this.goodbye.is_some() && this.outbound.at_boundary() {
            return this.poll_goodbye(cx).map(Err);
        }
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        task::JoinSet,
        time::timeout,
    };

    use super::*;

    /// The bytes of a client that pings too often.
    fn hasty_client() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend([0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0]);
        bytes.extend([0, 0, 0, kind::HEADERS, 4, 0, 0, 0, 5]);
        for _ in 0..4 {
            bytes.extend([0, 0, 8, kind::PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        bytes
    }

    /// A frame of a server, with a payload of so many bytes.
    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.extend(vec![0xab; usize::from(length)]);
        bytes
    }

    fn guard(io: DuplexStream) -> Guard<DuplexStream> {
        Guard::new(io, &Settings::default(), Arc::new(Activity::default()))
    }

    /// Writes as h2 does, in chunks of this size, and reads between them. Returns what the peer
    /// received.
    async fn served(frames: Vec<Vec<u8>>, chunk: usize, pipe: usize, from: usize) -> Vec<u8> {
        let (near, far) = duplex(pipe);
        let (mut incoming, mut outgoing) = tokio::io::split(far);
        // In tasks of their own: what the peer does must not wake the guard by accident.
        let mut peer = JoinSet::new();
        peer.spawn(async move {
            let mut received = Vec::new();
            incoming.read_to_end(&mut received).await.unwrap();
            received
        });
        peer.spawn(async move {
            // It may be closed before all is sent.
            let _ = outgoing.write_all(&hasty_client()).await;
            Vec::new()
        });
        let serving = async {
            let mut guarded = guard(near);
            let bytes = frames.concat();
            let (before, after) = bytes.split_at(from.min(bytes.len()));
            guarded.write_all(before).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(guarded);
            // Both ways at once, as a connection is polled: the rest of a frame may have to be
            // written first.
            let reading = async {
                let mut buffer = [0; 64];
                while reader.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            };
            let writing = async {
                for chunk in after.chunks(chunk) {
                    if writer.write_all(chunk).await.is_err() {
                        return;
                    }
                }
                // As h2 does when it has no more to write.
                let _ = writer.flush().await;
            };
            tokio::join!(reading, writing);
        };
        timeout(Duration::from_secs(5), serving).await.expect("nothing woke it");
        peer.join_all().await.concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_goaway_stands_between_whole_frames_wherever_the_server_was(
            lengths in prop::collection::vec(0_u8..50, 1..12),
            chunk in 1_usize..70,
            pipe in 1_usize..200,
            from in 9_usize..400, // HEADERS forgive pings, so they begin before any ping comes
        ) {
            // A header block in two frames first: nothing may stand between those.
            let mut frames = vec![frame(kind::HEADERS, 0, 7), frame(kind::CONTINUATION, 4, 9)];
            // PUSH_PROMISE does not forgive pings.
            frames.extend(lengths.into_iter().map(|length| frame(5, 4, length)));
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().build().unwrap();
            let got = runtime.block_on(served(frames, chunk, pipe, from));
            let (mut seen, mut scanner) = (Vec::new(), FrameScanner::of_server());
            scanner.scan(&got, |header| seen.push(header));
            prop_assert!(scanner.at_boundary(), "{seen:?}");
            let (last, others) = seen.split_last().unwrap();
            prop_assert_eq!(last.kind, kind::GOAWAY);
            prop_assert!(others.iter().all(|header| header.kind != kind::GOAWAY));
            prop_assert!(got.ends_with(b"\x00\x00\x00\x05\x00\x00\x00\x0btoo_many_pings"));
            let count = |kind| others.iter().filter(|header| header.kind == kind).count();
            prop_assert_eq!(count(kind::HEADERS), count(kind::CONTINUATION));
        }
    }

    #[tokio::test]
    async fn bytes_that_are_not_http_2_pass_unchanged() {
        let (near, mut far) = duplex(1024);
        let request =
            b"GET / HTTP/1.1\r\nhost: localhost\r\nx: \x00\x00\x00\x04\x00\x00\x00\x00\x00\r\n\r\n";
        far.write_all(request).await.unwrap();
        drop(far);
        let mut passed = Vec::new();
        guard(near).read_to_end(&mut passed).await.unwrap();
        assert_eq!(passed, request);
    }
}
