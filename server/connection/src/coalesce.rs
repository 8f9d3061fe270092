//! Coalescing: small writes wait until the connection has been polled once more, and go out
//! together.
//!
//! h2 flushes after every DATA frame of more than 256 bytes, so a connection with a hundred streams
//! makes a hundred system calls for one message to all of them. Here a flush only promises to
//! write: it has the connection polled again, behind the streams that are ready already, and what
//! they have sent by then goes out at once. A lone message waits for one turn of the runtime, not
//! for a clock.
//!
//! While the socket takes nothing it is not tried again, and at most the capacity of the buffer
//! waits for it: beyond that a write waits like any other.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::activity::Activity;

/// Unused buffers that a thread keeps: one for each connection that writes at a time, in most
/// cases.
const SPARE_BUFFERS: usize = 16;

thread_local! {
    /// Unused buffers: to ask the system for one with every burst costs more than the write. The
    /// one that was used last is taken first.
    static SPARE: RefCell<Vec<BytesMut>> = RefCell::default();
}

/// A connection's I/O, written in larger pieces.
#[derive(Debug)]
pub(crate) struct Coalesce<IO> {
    io: IO,
    waiting: BytesMut,
    /// Bytes that may wait. A larger write goes to the socket as it is.
    capacity: usize,
    /// Whether written bytes may still wait below: TLS holds what its socket does not take.
    unflushed: bool,
    /// Whether the connection will be polled: it was woken for that, or the socket will wake it.
    woken: bool,
    activity: Arc<Activity>,
}

impl<IO> Coalesce<IO> {
    pub(crate) fn new(io: IO, capacity: usize, activity: Arc<Activity>) -> Self {
        let waiting = BytesMut::new();
        Self { io, waiting, capacity, unflushed: false, woken: false, activity }
    }
}

impl<IO: AsyncWrite + Unpin> Coalesce<IO> {
    /// Writes all that waits. While this is pending, the socket wakes the connection.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.woken = true;
        self.unflushed = true;
        while self.waiting.has_remaining() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.waiting);
            match ready!(self.activity.note_write(written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.waiting.advance(written),
            }
        }
        // An idle connection keeps no buffer: the thread keeps it for the next that writes.
        let unused = mem::take(&mut self.waiting);
        // One that was filled to its last byte has no capacity left.
        if unused.capacity() > 0 {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_BUFFERS {
                    spare.push(unused);
                }
            });
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        ready!(self.activity.note_write(flushed))?;
        (self.woken, self.unflushed) = (false, false);
        self.activity.note_unwritten(false);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Coalesce<IO> {
    /// Every poll of a connection reads; what has waited since the one before is written first.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if (self.waiting.has_remaining() || self.unflushed)
            && let Poll::Ready(written) = self.poll_write_out(cx)
        {
            written?;
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Coalesce<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.waiting.len() + len > self.capacity {
            ready!(self.poll_write_out(cx))?;
        }
        if len > self.capacity {
            let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
            return self.activity.note_write(written);
        }
        if self.waiting.capacity() == 0 {
            self.waiting = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
            let capacity = self.capacity;
            self.waiting.reserve(capacity); // at once: growing would copy what waits
        }
        bufs.iter().for_each(|buf| self.waiting.extend_from_slice(buf));
        self.activity.note_unwritten(!self.waiting.is_empty());
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() {
            let flushed = Pin::new(&mut self.io).poll_flush(cx);
            return self.activity.note_write(flushed);
        }
        if !self.woken {
            self.woken = true;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering},
        task::{Wake, Waker},
    };

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const CAPACITY: usize = 64 * 1024;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn over(io: DuplexStream) -> Coalesce<DuplexStream> {
        Coalesce::new(io, CAPACITY, Arc::new(Activity::default()))
    }

    async fn write_and_flush(io: &mut Coalesce<DuplexStream>, bytes: &[u8]) {
        io.write_all(bytes).await.unwrap();
        io.flush().await.unwrap();
    }

    fn poll_read(io: &mut Coalesce<DuplexStream>, waker: &Waker) -> Poll<io::Result<()>> {
        let mut buf = [0; 64];
        Pin::new(io).poll_read(&mut Context::from_waker(waker), &mut ReadBuf::new(&mut buf))
    }

    #[tokio::test]
    async fn small_writes_go_out_together_when_the_connection_is_polled_again() {
        let (near, mut far) = duplex(1024);
        let mut io = over(near);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        for word in ["one ", "two ", "three"] {
            write_and_flush(&mut io, word.as_bytes()).await;
        }
        assert_eq!(io.waiting.len(), 13, "nothing is written yet");
        assert!(poll_read(&mut io, &waker).is_pending());
        let mut got = [0; 64];
        assert_eq!(far.read(&mut got).await.unwrap(), 13);
        assert_eq!(&got[..13], b"one two three");
        assert_eq!(io.waiting.capacity(), 0, "an idle connection keeps no buffer");
    }

    #[tokio::test]
    async fn a_flush_wakes_once_and_a_socket_that_takes_nothing_is_not_tried_again() {
        let (near, mut far) = duplex(4);
        let mut io = over(near);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        io.write_all(b"0123456789").await.unwrap();
        for _ in 0..3 {
            assert!(Pin::new(&mut io).poll_flush(&mut context).is_ready());
        }
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        // The pipe takes four bytes, and no more: only its reader wakes the connection.
        assert!(poll_read(&mut io, &waker).is_pending());
        for _ in 0..3 {
            assert!(Pin::new(&mut io).poll_flush(&mut context).is_ready());
        }
        assert_eq!((wakes.0.load(Ordering::Relaxed), io.waiting.len()), (1, 6));
        assert!(io.activity.blocked_since().is_some());
        far.read_exact(&mut [0; 4]).await.unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn waiting_bytes_are_bounded_and_larger_writes_keep_their_order() {
        let (near, mut far) = duplex(64 * 1024);
        let mut io = over(near);
        let large = vec![b'x'; CAPACITY + 1];
        let writing = async {
            for _ in 0..100 {
                io.write_all(b"small").await.unwrap();
                io.write_all(&large).await.unwrap();
                assert!(io.waiting.len() <= CAPACITY);
            }
            io.write_all(b"last").await.unwrap();
            io.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(writing, far.read_to_end(&mut got));
        read.unwrap();
        let expected = [&b"small"[..], &large].concat().repeat(100);
        assert!(got.strip_suffix(b"last") == Some(&*expected), "{} bytes", got.len());
    }

    #[tokio::test]
    async fn a_write_beyond_the_capacity_waits_for_the_socket() {
        let (near, _far) = duplex(1024);
        let mut io = over(near);
        io.write_all(&[0; CAPACITY]).await.unwrap();
        let more = poll_fn(|cx| Poll::Ready(Pin::new(&mut io).poll_write(cx, b"more"))).await;
        assert!(more.is_pending());
    }

    /// Takes all that is written and passes it on when it is flushed, as TLS does.
    struct Holding {
        held: Vec<u8>,
        io: DuplexStream,
    }

    impl AsyncRead for Holding {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(buf);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Self { held, io } = &mut *self;
            while !held.is_empty() {
                let written = ready!(Pin::new(&mut *io).poll_write(cx, held))?;
                held.drain(..written);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_held_below_are_flushed_until_they_are_gone() {
        let (near, mut far) = duplex(4);
        let held = Holding { held: Vec::new(), io: near };
        let mut io = Coalesce::new(held, CAPACITY, Arc::new(Activity::default()));
        io.write_all(b"hello, world").await.unwrap();
        io.flush().await.unwrap();
        let mut received = [0; 12];
        let reading = tokio::time::timeout(std::time::Duration::from_secs(1), async {
            far.read_exact(&mut received).await.unwrap();
        });
        let mut nothing = [0; 1];
        tokio::select! {
            all = reading => all.expect("it should all have come"),
            read = io.read(&mut nothing) => panic!("nothing was sent: {read:?}"),
        }
        assert_eq!(&received, b"hello, world");
    }
}
