//! Counting the messages of a call.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicU64, Ordering},
};

/// Counts the messages of one call.
///
/// [`RequestBody`](crate::RequestBody) reports what is received, and a [`Lane`](crate::Lane) what
/// is sent past the response's body; the messages of the body itself are counted by the layer that
/// watches it. Each direction is reported by one task at a time.
pub trait Meter: Debug + Send + Sync + 'static {
    /// A message of so many bytes begins to arrive: compressed if it is, without its prefix.
    fn received(&self, bytes: u32);

    /// A message of so many bytes begins to leave, counted alike.
    fn sent(&self, bytes: u32);
}

/// How many messages went one way, and their bytes. One task adds at a time; any may look.
#[derive(Debug, Default)]
pub struct Count {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    /// Messages.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Their bytes as they are on the wire: compressed, without prefixes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds a message of so many bytes.
    pub fn add(&self, bytes: u32) {
        // Cheaper than to add in one step, which only a count with several writers would need.
        self.messages.store(self.messages() + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes() + u64::from(bytes), Ordering::Relaxed);
    }
}
