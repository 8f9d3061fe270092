//! What is observed of a connection below and above HTTP/2: the guard and the streams note it, the
//! lifecycle acts on it.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use parking_lot::Mutex;
use quartet_runtime::gauge::{Gauge, Held};
use tokio::time::Instant;

use crate::admission::Permit;

/// The activity of one connection. The default is that of one that begins now.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    /// How often bytes arrived.
    reads: AtomicU64,
    /// When bytes arrived last, in microseconds since the connection began.
    last_read: AtomicU64,
    /// Since when a write has been pending, likewise; 0 while the peer takes what is written.
    blocked_since: AtomicU64,
    /// Whether bytes wait below HTTP/2 to be written.
    unwritten: AtomicBool,
    /// When the last stream ended, in microseconds as above.
    idle_since: AtomicU64,
    streams: Gauge,
    /// Its permit to be unfinished, until the handshake is done.
    unfinished: Mutex<Option<Permit<IpAddr>>>,
}

impl Activity {
    /// Of a connection that begins now, and counts as unfinished while it has this permit.
    pub(crate) fn new(unfinished: Option<Permit<IpAddr>>) -> Self {
        Self {
            began: Instant::now(),
            reads: AtomicU64::new(0),
            last_read: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            unwritten: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            streams: Gauge::default(),
            unfinished: Mutex::new(unfinished),
        }
    }

    /// Notes that bytes have arrived.
    pub fn read(&self, now: Instant) {
        self.last_read.store(self.micros(now), Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// How often bytes arrived.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Notes the result of a write.
    pub(crate) fn note_write<T>(&self, written: Poll<T>) -> Poll<T> {
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        match (&written, blocked) {
            (Poll::Pending, 0) => {
                let now = self.micros(Instant::now()).max(1);
                self.blocked_since.store(now, Ordering::Relaxed);
            }
            (Poll::Ready(_), 1..) => self.blocked_since.store(0, Ordering::Relaxed),
            _ => {}
        }
        written
    }

    /// Notes whether bytes wait below HTTP/2.
    pub(crate) fn note_unwritten(&self, unwritten: bool) {
        self.unwritten.store(unwritten, Ordering::Relaxed);
    }

    /// Whether bytes wait below HTTP/2, which counts them as sent.
    pub fn is_unwritten(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Since when the peer takes nothing of what is to be written; `None` while it does.
    pub fn blocked_since(&self) -> Option<Instant> {
        let blocked = self.blocked_since.load(Ordering::Relaxed) > 0;
        blocked.then(|| self.at(&self.blocked_since))
    }

    /// When bytes arrived last.
    pub fn last_read(&self) -> Instant {
        self.at(&self.last_read)
    }

    /// Notes that the peer's SETTINGS have arrived.
    pub fn finish_handshake(&self) {
        self.unfinished.lock().take();
    }

    /// Whether the peer's SETTINGS have arrived.
    pub fn is_handshake_finished(&self) -> bool {
        self.unfinished.lock().is_none()
    }

    /// Open streams.
    pub fn streams(&self) -> usize {
        self.streams.get()
    }

    /// Since when no stream is open; `None` while one is.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.streams() == 0).then(|| self.at(&self.idle_since))
    }

    /// Counts a stream as open until the result is dropped.
    pub fn open_stream(self: &Arc<Self>) -> OpenStream {
        OpenStream { activity: self.clone(), held: Some(self.streams.hold()) }
    }

    fn at(&self, micros: &AtomicU64) -> Instant {
        self.began + Duration::from_micros(micros.load(Ordering::Relaxed))
    }

    fn micros(&self, now: Instant) -> u64 {
        now.duration_since(self.began).as_micros() as u64
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new(None)
    }
}

/// Counts one open stream.
#[derive(Debug)]
pub struct OpenStream {
    activity: Arc<Activity>,
    held: Option<Held>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let now = self.activity.micros(Instant::now());
        self.activity.idle_since.store(now, Ordering::Relaxed);
        self.held.take();
    }
}
