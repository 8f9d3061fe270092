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
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::activity::Activity;
use crate::{keepalive::EnforcementPolicy, tls::HANDSHAKE_RECORD};
use frames::{FRAMES, Frames, Header, kind};
use policy::{Policy, Violation};

pub mod frames;
pub mod policy;

/// How long the end of a connection waits for a peer that was told to calm down, and how much it says meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const DISCARDED: usize = 1024 * 1024;
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
    /// How many GOAWAYs HTTP/2 has sent.
    goaways: u32,
    /// The rest of the GOAWAY, once a rule was broken.
    goodbye: Option<Goodbye>,
    /// Whether frames are told, at [`FRAMES`].
    tells: bool,
}

#[derive(Debug)]
struct Goodbye {
    violation: Violation,
    bytes: Bytes,
    /// Runs once all of it is written.
    linger: Option<Pin<Box<Sleep>>>,
    discarded: usize,
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
            goaways: 0,
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
        let Self { inbound, policy, activity, last_stream, goaways, tells, .. } = self;
        let now = Instant::now();
        if activity.reads() == 0 && bytes.first() == Some(&HANDSHAKE_RECORD) {
            tracing::info!(
                "a TLS client on a plaintext port: it needs http://, or the server --tls-cert"
            );
        }
        activity.read(now);
        let mut verdict = Ok(());
        inbound.scan(bytes, |frame: Header| {
            if *tells {
                tracing::debug!(target: FRAMES, "recv {frame}");
            }
            match frame.kind {
                kind::SETTINGS => activity.finish_handshake(),
                // After the final GOAWAY of a graceful end, what is opened is not served, and no later one may say more.
                kind::HEADERS if *goaways < 2 => *last_stream = frame.stream.max(*last_stream),
                _ => {}
            }
            if verdict.is_ok() {
                verdict = policy.received(frame, now, activity.streams());
            }
        });
        self.judge(verdict);
    }

    fn sent(&mut self, bytes: &[u8]) {
        let mut verdict = Ok(());
        let Self { policy, goaways, tells, .. } = self;
        self.outbound.scan(bytes, |frame| {
            if *tells {
                tracing::debug!(target: FRAMES, "sent {frame}");
            }
            *goaways += u32::from(frame.kind == kind::GOAWAY);
            if verdict.is_ok() {
                verdict = policy.sent(frame);
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
            self.goodbye = Some(Goodbye { violation, bytes, linger: None, discarded: 0 });
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

impl<IO: AsyncRead + AsyncWrite + Unpin> Guard<IO> {
    /// Writes the GOAWAY as far as it may be written now; then the connection is over. Pending in the middle of a frame:
    /// whoever writes the rest of it comes back.
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
    /// Writes all of it and waits for the peer to close, for a moment: closing at once, with input unread, would make TCP
    /// throw away what the peer has not received yet.
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
        // It writes what waits below, so that the peer has all of it before the clock runs.
        ready!(io.as_mut().poll_shutdown(cx))?;
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 4096];
        while self.discarded < DISCARDED {
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
        // The rest of a frame was the last that HTTP/2 had to write: nobody else comes back.
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
    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        task::JoinSet,
        time::timeout,
    };

    use super::*;

    /// What a client sends that pings until it is told to stop.
    fn hasty_client() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend([0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0]);
        bytes.extend([0, 0, 0, kind::HEADERS, 4, 0, 0, 0, 5]);
        for _ in 0..4 {
            bytes.extend([0, 0, 8, kind::PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        bytes
    }

    /// A frame of a server: of this type, with these flags and so many bytes.
    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.extend(vec![0xab; usize::from(length)]);
        bytes
    }

    fn guard(io: DuplexStream) -> Guard<DuplexStream> {
        Guard::new(io, EnforcementPolicy::default(), Arc::new(Activity::default()))
    }

    /// Writes as h2 does, in chunks of this size, and reads between them. Returns what the peer got.
    async fn served(frames: Vec<Vec<u8>>, chunk: usize, pipe: usize, from: usize) -> Vec<u8> {
        let (near, far) = duplex(pipe);
        let (mut incoming, mut outgoing) = tokio::io::split(far);
        // Tasks of their own, as peers are: what they do must not wake the guard by accident.
        let mut peer = JoinSet::new();
        peer.spawn(async move {
            let mut received = Vec::new();
            incoming.read_to_end(&mut received).await.unwrap();
            received
        });
        peer.spawn(async move {
            // It may be closed before it has said everything.
            let _ = outgoing.write_all(&hasty_client()).await;
            Vec::new()
        });
        let serving = async {
            let mut guarded = guard(near);
            let bytes = frames.concat();
            let (before, after) = bytes.split_at(from.min(bytes.len()));
            guarded.write_all(before).await.unwrap();
            let (mut reader, mut writer) = tokio::io::split(guarded);
            // Both ways at once, as a connection is polled: the rest of a frame may have to be written first.
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
        timeout(Duration::from_secs(5), serving).await.expect("nobody woke it");
        peer.join_all().await.concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_goaway_stands_between_whole_frames_wherever_the_server_was(
            lengths in prop::collection::vec(0_u8..50, 1..12),
            chunk in 1_usize..70,
            pipe in 1_usize..200,
            from in 9_usize..400, // HEADERS forgive pings, so they are begun before any comes
        ) {
            // A header block in two frames first: nothing may stand between those.
            let mut frames = vec![frame(kind::HEADERS, 0, 7), frame(kind::CONTINUATION, 4, 9)];
            // PUSH_PROMISE is one that forgives no pings.
            frames.extend(lengths.into_iter().map(|length| frame(5, 4, length)));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let got = runtime.block_on(served(frames, chunk, pipe, from));
            let (mut seen, mut scanner) = (Vec::new(), Frames::of_server());
            scanner.scan(&got, |header| seen.push(header));
            prop_assert!(scanner.at_boundary(), "{seen:?}");
            let (last, others) = seen.split_last().unwrap();
            prop_assert_eq!(last.kind, kind::GOAWAY);
            prop_assert!(others.iter().all(|header| header.kind != kind::GOAWAY));
            prop_assert!(got.ends_with(b"\x00\x00\x00\x05\x00\x00\x00\x0btoo_many_pings"));
            let continued = others.iter().filter(|header| header.kind == kind::CONTINUATION).count();
            let begun = others.iter().filter(|header| header.kind == kind::HEADERS).count();
            prop_assert_eq!(begun, continued);
        }
    }

    #[tokio::test]
    async fn what_is_not_http_2_passes_as_it_is() {
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
