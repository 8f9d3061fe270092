//! Counts the posts of the log.

use quartet::post::v1::ListPostsRequest;
use quartet_lessons::stage::Client;
use tonic::Status;

pub async fn count(mut client: Client) -> Result<usize, Status> {
    let mut batches = client.list_posts(ListPostsRequest::default()).await?.into_inner();
    let mut posts = 0;
    // `message` polls the stream: without it no byte of the body is read.
    while let Some(batch) = batches.message().await? {
        posts += batch.post_messages.len();
    }
    Ok(posts)
}
