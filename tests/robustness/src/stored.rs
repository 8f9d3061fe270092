//! What a log holds after a run, as the checker wants it.

use std::error::Error;

use prost::Message as _;
use quartet::post::v1::PostMessage;
use quartet_check::history::Post;
use quartet_log::{Limit, PostLog};

/// Posts that are read at once.
const LIMIT: Limit = Limit { posts: 1024, bytes: usize::MAX };

/// All posts of a log, in its order.
///
/// # Errors
/// The log cannot be read, or holds what is no post.
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
            posts.push(Post::from(&PostMessage { sequence, ..post }));
        }
    }
}
