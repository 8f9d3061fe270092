//! Posts at random, and who writes them.

use std::collections::BTreeMap;

use quartet::post::v1::PostMessage;
use rand::{RngExt as _, rngs::StdRng};

/// The tags that posts have and readers follow.
pub(super) const TAGS: [&str; 4] = ["async", "streams", "tests", "tokio"];
/// The users, as `server` knows them without a file.
pub(super) const USERS: [(&str, &str); 5] =
    [("1", "Henry"), ("2", "Michael"), ("3", "Jessie"), ("4", "Max"), ("5", "Tony")];

/// Their names, by their ids.
pub fn users() -> BTreeMap<String, String> {
    USERS.iter().map(|(id, name)| (id.to_string(), name.to_string())).collect()
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
