//! The posts that everybody sends: about 330 bytes, distinct, and known to those who check them.

use prost_types::Timestamp;

use crate::proto::PostMessage;

/// Posts that the raw server makes itself; the others are filled by an upload.
pub(crate) const MADE: u64 = 100_000;
/// Posts that an append makes durable together.
pub(crate) const BATCH: u64 = 512;
/// How many users write. A log of 10,000 posts has ten of each.
pub(crate) const USERS: u64 = 1_000;

/// Where bodies are cut from, each at another place, so that no two posts in a row are the same.
const TEXT: &str = "Every accepted post gets one place in the log, its sequence: 1, 2, 3 and so \
    on, without holes, never reused. A reader holds a position, everything up to and including \
    this sequence, of that log, and reads on from there. Two sentences, and all the promises \
    follow from them: ordered, unique, reliable, resumable.";
const BODY_BYTES: usize = 201;

/// Who user number `index` is.
pub(crate) fn user_id(index: u64) -> String {
    format!("user-{:04}", index % USERS)
}

/// What servers put into `author`.
pub(crate) fn author(user_id: &str) -> String {
    format!("Name of {user_id}")
}

/// Writes the post of this index into `post`, whose memory is reused.
pub(crate) fn fill(index: u64, post: &mut PostMessage) {
    use std::fmt::Write as _;

    post.post_id.clear();
    let _ = write!(post.post_id, "{:016x}", scatter(index)); // a String takes all writes
    post.user_id.clear();
    let _ = write!(post.user_id, "user-{:04}", index % USERS);
    post.title.clear();
    let _ = write!(post.title, "Post {index:010}: what order is good for");
    let start = (index % (TEXT.len() - BODY_BYTES) as u64) as usize;
    post.body.clear();
    post.body.push_str(&TEXT[start..start + BODY_BYTES]);
    if post.tags.is_empty() {
        post.tags = ["streaming", "benchmark", "order"].map(str::to_owned).into();
    }
}

/// The post of this index.
#[cfg(test)]
fn post(index: u64) -> PostMessage {
    let mut post = PostMessage::default();
    fill(index, &mut post);
    post
}

/// What servers add to a post that they store.
pub(crate) fn create_time() -> Timestamp {
    Timestamp { seconds: 1_767_225_600, nanos: 123_456_789 }
}

/// Ids come in no order, as those of real writers do: an index over them is not allowed to be
/// lucky. No two indexes give the same id, because every step can be undone (it is splitmix64).
fn scatter(index: u64) -> u64 {
    let mut id = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^ (id >> 31)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_delivered_post_has_about_339_bytes() {
        let mut post = post(123_456);
        post.sequence = 123_457;
        post.create_time = Some(create_time());
        post.author = author(&post.user_id);
        assert_eq!(post.encoded_len(), 339);
    }
}
