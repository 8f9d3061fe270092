//! Counts of open things, such as connections and streams.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A count that goes up and down. Clones share it.
#[derive(Debug, Default, Clone)]
pub struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    /// The present count.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more until the guard is dropped.
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.0.clone())
    }
}

/// A guard: its [`Gauge`] counts it until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
