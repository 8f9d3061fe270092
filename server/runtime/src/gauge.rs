//! How much is open: numbers that go up and come back to zero.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many of something there are.
#[derive(Debug, Default, Clone)]
pub struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    /// How many there are now.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, for as long as this lives.
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.0.clone())
    }
}

/// One that a [`Gauge`] counts.
#[derive(Debug)]
pub struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
