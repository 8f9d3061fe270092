//! What the driver of a connection and its streams know of each other.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::cause::Cause;

/// The signs of life of a connection.
#[derive(Debug)]
pub(super) struct Vitals {
    connected: Instant,
    /// When bytes last arrived, in nanoseconds after `connected`.
    last_read: AtomicU64,
    open_streams: AtomicUsize,
    stream_opened: Notify,
    /// Why the connection accepts no more calls, if the server or keepalive said why.
    end: OnceLock<Cause>,
    /// Cancelled when the connection accepts no more calls.
    pub(super) closed: CancellationToken,
}

impl Vitals {
    pub(super) fn new() -> Self {
        Self {
            connected: Instant::now(),
            last_read: AtomicU64::new(0),
            open_streams: AtomicUsize::new(0),
            stream_opened: Notify::new(),
            end: OnceLock::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Bytes have arrived.
    pub(super) fn note_read(&self) {
        let nanos = self.connected.elapsed().as_nanos() as u64;
        self.last_read.store(nanos, Ordering::Relaxed);
    }

    pub(super) fn last_read(&self) -> Instant {
        self.connected + std::time::Duration::from_nanos(self.last_read.load(Ordering::Relaxed))
    }

    pub(super) fn has_streams(&self) -> bool {
        self.open_streams.load(Ordering::Relaxed) > 0
    }

    /// Waits until a stream is open. Cancel-safe.
    pub(super) async fn wait_for_stream(&self) {
        while !self.has_streams() {
            self.stream_opened.notified().await;
        }
    }

    /// The connection accepts no more calls, for this reason. The first one counts.
    pub(super) fn close(&self, cause: Cause) {
        // An error means that a reason is known already.
        let _ = self.end.set(cause);
        self.closed.cancel();
    }

    pub(super) fn end(&self) -> Option<&Cause> {
        self.end.get()
    }

    /// Why a stream failed. What is known of the end of its connection says more than "broken
    /// pipe": waits until that is known. Cancel-safe.
    pub(super) async fn explain(self: Arc<Self>, error: h2::Error) -> Cause {
        if error.is_reset() || error.is_go_away() {
            return error.into();
        }
        self.closed.cancelled().await;
        self.end().cloned().unwrap_or_else(|| error.into())
    }
}

/// Keeps a stream in the count of its connection.
#[derive(Debug)]
pub(super) struct OpenStream(pub(super) Arc<Vitals>);

impl OpenStream {
    pub(super) fn new(vitals: Arc<Vitals>) -> Self {
        vitals.open_streams.fetch_add(1, Ordering::Relaxed);
        vitals.stream_opened.notify_one();
        Self(vitals)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::Relaxed);
    }
}
