//! Clients of every kind with random behaviour: they write, read, join, leave, stall, hang up and
//! resume, and record all of it.
//!
//! Some make plain calls of the generated client, so that the record holds what was on the wire;
//! others use the client library, which is under test like the server. What a client does depends
//! only on its seed and its name.
//!
//! Once the setting is calm, clients no longer hang up, stall or begin to write; open calls
//! continue.

use std::{collections::BTreeMap, hash::Hasher as _, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use quartet::post::v1::PostMessage;
use quartet_client::Channel;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use siphasher::sip::SipHasher13;
use tokio_util::sync::CancellationToken;

use crate::recorder::Recorder;

mod feeds;
mod lists;
mod uploads;

/// The tags that posts have and readers follow.
const TAGS: [&str; 4] = ["async", "streams", "tests", "tokio"];
/// The users that `server` knows without a user file.
const USERS: [(&str, &str); 5] =
    [("1", "Henry"), ("2", "Michael"), ("3", "Jessie"), ("4", "Max"), ("5", "Tony")];

/// Their names, by their ids.
pub fn users() -> BTreeMap<String, String> {
    USERS.iter().map(|(id, name)| (id.to_string(), name.to_string())).collect()
}

/// The environment of the clients.
#[derive(Clone)]
pub struct Setting {
    /// The seed of everything random.
    pub seed: u64,
    /// The record of what clients do and see.
    pub recorder: Recorder,
    /// Makes a channel with its own connections.
    pub connect: Arc<dyn Fn() -> Channel>,
    /// Cancelled when clients should begin nothing new.
    pub calm: CancellationToken,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Setting {
    /// A generator that only this client draws from.
    fn rng(&self, client: &str) -> StdRng {
        let mut hasher = SipHasher13::new();
        hasher.write_u64(self.seed);
        hasher.write(client.as_bytes());
        StdRng::seed_from_u64(hasher.finish())
    }

    fn is_calm(&self) -> bool {
        self.calm.is_cancelled()
    }

    /// Sleeps up to `most` milliseconds, less once the setting is calm.
    async fn pause(&self, rng: &mut StdRng, most: u64) {
        let pause = tokio::time::sleep(Duration::from_millis(rng.random_range(0..=most)));
        self.calm.run_until_cancelled(pause).await;
    }
}

/// Clients that only write: uploads that finish, break off and are repeated.
pub fn writers(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        uploads::uploader(setting(), "uploader").boxed_local(),
        uploads::uploader(setting(), "uploader-2").boxed_local(),
        uploads::rival(setting(), "rival").boxed_local(),
    ]
}

/// Clients that only read.
pub fn readers(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        lists::follower(setting(), "follower").boxed_local(),
        lists::plain_follower(setting(), "plain-follower").boxed_local(),
        lists::plain_follower(setting(), "plain-follower-2").boxed_local(),
        lists::snapshots(setting(), "snapshot").boxed_local(),
        lists::pages(setting(), "page").boxed_local(),
        lists::stranger(setting(), "stranger").boxed_local(),
    ]
}

/// Clients that read and write on one stream.
pub fn feeds(setting: &Setting) -> Vec<LocalBoxFuture<'static, ()>> {
    let setting = || setting.clone();
    vec![
        feeds::feed(setting(), "feed").boxed_local(),
        feeds::plain_feed(setting(), "plain-feed").boxed_local(),
        feeds::plain_feed(setting(), "plain-feed-2").boxed_local(),
    ]
}

/// Runs clients until all have ended; readers never end.
pub async fn run(clients: Vec<LocalBoxFuture<'static, ()>>) {
    let mut clients: FuturesUnordered<_> = clients.into_iter().collect();
    while clients.next().await.is_some() {}
}

/// The `number`th post of a writer.
fn post(writer: &str, number: u64, rng: &mut StdRng) -> PostMessage {
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

/// Up to two different tags.
fn some_tags(rng: &mut StdRng) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for _ in 0..rng.random_range(0..=2) {
        let tag = TAGS[rng.random_range(0..TAGS.len())].to_owned();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}
