//! What is made durable together.

use prost::Message as _;

use crate::{posts, proto::PostMessage};

/// Posts that are made durable together.
pub(super) const BATCH: u64 = 512;

pub(super) fn batch() -> Vec<u8> {
    let (mut bytes, mut post) = (Vec::new(), PostMessage::default());
    for index in 0..BATCH {
        posts::fill(index, &mut post);
        post.create_time = Some(posts::create_time());
        bytes.extend_from_slice(&post.encode_to_vec());
    }
    bytes
}
