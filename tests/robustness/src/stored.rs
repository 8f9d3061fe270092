//! The content of a log after a run, for the checker.

use std::error::Error;

use prost::Message as _;
use quartet::post::v1::PostMessage;
use quartet_check::history::Post;
use quartet_log::{Limit, PostLog};

/// The limit of one read.
const LIMIT: Limit = Limit { posts: 1024, bytes: usize::MAX };

/// All posts of a log, in order.
///
/// # Errors
/// The log cannot be read, or one of its records is not a post.
pub(crate) async fn posts(log: &dyn PostLog) -> Result<Vec<Post>, Box<dyn Error>> {
    let mut posts = Vec::new();
    loop {
        let records = log.read(posts.len() as u64, LIMIT).await?;
        if records.is_empty() {
            return Ok(posts);
        }
        for record in records.iter() {
            let post = PostMessage::decode(&record.post[..])?;
            let sequence = record.sequence.cast_signed();
            let post = Post::from(&PostMessage { sequence, ..post });
            posts.push(Post { chain: record.chain, ..post });
        }
    }
}
