//! What clients share: where they run, and what they write.

use std::{collections::BTreeMap, hash::Hasher as _, sync::Arc, time::Duration};

use quartet::post::v1::{LogPosition, PostMessage};
use quartet_client::Channel;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use siphasher::sip::SipHasher13;
use tokio_util::sync::CancellationToken;

use crate::recorder::Recorder;

/// The tags that posts have and readers follow.
pub(super) const TAGS: [&str; 4] = ["async", "streams", "tests", "tokio"];
/// The users, as `server` knows them without a file.
pub(super) const USERS: [(&str, &str); 5] =
    [("1", "Henry"), ("2", "Michael"), ("3", "Jessie"), ("4", "Max"), ("5", "Tony")];

/// Their names, by their ids.
pub fn users() -> BTreeMap<String, String> {
    USERS.iter().map(|(id, name)| (id.to_string(), name.to_string())).collect()
}

/// Where clients run.
#[derive(Clone)]
pub struct Setting {
    /// What everything random comes from.
    pub seed: u64,
    /// Where it is written down.
    pub recorder: Recorder,
    /// Makes a connection of its own.
    pub connect: Arc<dyn Fn() -> Channel>,
    /// Cancelled when clients begin nothing new.
    pub calm: CancellationToken,
    /// Positions that readers had before the log was restored from a copy; none if it was not.
    pub before: Arc<[LogPosition]>,
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

    pub(super) fn is_calm(&self) -> bool {
        self.calm.is_cancelled()
    }

    /// Sleeps up to so many milliseconds, less once it is calm.
    pub(super) async fn pause(&self, rng: &mut StdRng, most: u64) {
        let pause = tokio::time::sleep(Duration::from_millis(rng.random_range(0..=most)));
        self.calm.run_until_cancelled(pause).await;
    }
}

/// The `number`th post of a writer.
pub(super) fn post(writer: &str, number: u64, rng: &mut StdRng) -> PostMessage {
    let size = match rng.random_range(0..20) {
        0 => rng.random_range(8_000..40_000),
        _ => rng.random_range(0..400),
    };
    PostMessage {
        post_id: format!("{writer}-{number}"),
        title: format!("Post {number} of {writer}"),
        body: "x".repeat(size),
        tags: some_tags(rng),
        user_id: USERS[rng.random_range(0..USERS.len())].0.to_owned(),
        ..PostMessage::default()
    }
}

/// The first posts of a writer.
pub(crate) fn posts(writer: &str, count: u64, rng: &mut StdRng) -> Vec<PostMessage> {
    (0..count).map(|number| post(writer, number, rng)).collect()
}

/// Up to two different tags.
pub(super) fn some_tags(rng: &mut StdRng) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for _ in 0..rng.random_range(0..=2) {
        let tag = TAGS[rng.random_range(0..TAGS.len())].to_owned();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}
