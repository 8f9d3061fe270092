//! Where clients run, and what their random choices come from.

use std::{hash::Hasher as _, sync::Arc, time::Duration};

use quartet_client::Channel;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use siphasher::sip::SipHasher13;
use tokio_util::sync::CancellationToken;

use crate::recorder::Recorder;

/// Where clients run.
#[derive(Clone)]
pub struct Setting {
    /// What everything random comes from.
    pub seed: u64,
    /// Where it is written down.
    pub recorder: Recorder,
    /// Makes a connection of its own.
    pub connect: Arc<dyn Fn() -> Channel>,
    /// Cancelled when nothing new shall begin.
    pub calm: CancellationToken,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Setting {
    /// A generator that only this client draws from.
    pub(super) fn rng(&self, client: &str) -> StdRng {
        let mut hasher = SipHasher13::new();
        hasher.write_u64(self.seed);
        hasher.write(client.as_bytes());
        StdRng::seed_from_u64(hasher.finish())
    }

    /// Whether nothing new should begin.
    pub(super) fn is_calm(&self) -> bool {
        self.calm.is_cancelled()
    }

    /// Sleeps up to so many milliseconds, less once it is calm.
    pub(super) async fn pause(&self, rng: &mut StdRng, most: u64) {
        let pause = tokio::time::sleep(Duration::from_millis(rng.random_range(0..=most)));
        self.calm.run_until_cancelled(pause).await;
    }
}
