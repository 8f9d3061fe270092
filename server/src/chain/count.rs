//! Counting the messages of a call, one direction each.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages that went one way. One side counts, others may look.
#[derive(Debug, Default)]
pub struct Count {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    /// How many.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Their bytes, as they are on the wire: compressed, without gRPC's prefixes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Cheaper than to add in one step, which only a count with several writers would need.
    pub(super) fn add(&self, bytes: u32) {
        self.messages.store(self.messages() + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes() + u64::from(bytes), Ordering::Relaxed);
    }
}
