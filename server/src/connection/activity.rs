//! What is known of a connection from below and above HTTP/2: the guard and the streams write it down, the lifecycle
//! acts on it.

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

use crate::admission::Place;

/// One connection's. The default is one that begins now.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    /// How often bytes came.
    reads: AtomicU64,
    /// Microseconds from the beginning to the last that came.
    last_read: AtomicU64,
    /// And to when the peer began to take nothing more; 0 while it takes what comes.
    blocked_since: AtomicU64,
    /// Whether something waits below HTTP/2 to be written.
    unwritten: AtomicBool,
    /// And to the moment when the last stream ended.
    idle_since: AtomicU64,
    streams: Gauge,
    /// Its place among the unfinished, until the handshake is done.
    unfinished: Mutex<Option<Place<IpAddr>>>,
}

impl Activity {
    /// Of a connection that begins now, and counts among the unfinished for a while if it has a place there.
    pub(super) fn new(unfinished: Option<Place<IpAddr>>) -> Self {
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

    /// Bytes came.
    pub fn read(&self, now: Instant) {
        self.last_read.store(self.micros(now), Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// How often they came.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Bytes were written, or could not be.
    pub(super) fn note_write<T>(&self, written: Poll<T>) -> Poll<T> {
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

    /// Something waits below HTTP/2, or all of it is written.
    pub(super) fn note_unwritten(&self, unwritten: bool) {
        self.unwritten.store(unwritten, Ordering::Relaxed);
    }

    /// Whether something waits below HTTP/2, which counts it as sent.
    pub fn is_unwritten(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Since when the peer takes nothing of what is to be written; `None` while it does.
    pub fn blocked_since(&self) -> Option<Instant> {
        let blocked = self.blocked_since.load(Ordering::Relaxed) > 0;
        blocked.then(|| self.at(&self.blocked_since))
    }

    /// When bytes came last.
    pub fn last_read(&self) -> Instant {
        self.at(&self.last_read)
    }

    /// The peer's SETTINGS came.
    pub fn finish_handshake(&self) {
        self.unfinished.lock().take();
    }

    /// Whether they did.
    pub fn is_handshake_finished(&self) -> bool {
        self.unfinished.lock().is_none()
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.streams.get()
    }

    /// Since when none is open; `None` while one is.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.streams() == 0).then(|| self.at(&self.idle_since))
    }

    /// A stream is open until this is dropped.
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

/// A stream that is open.
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
