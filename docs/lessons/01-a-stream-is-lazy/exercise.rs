//! Counts the posts of the log.

use futures::TryStreamExt as _;
use quartet::post::v1::ListPostsRequest;
use quartet_lessons::stage::Client;
use tonic::Status;

pub async fn count(mut client: Client) -> Result<usize, Status> {
    let batches = client.list_posts(ListPostsRequest::default()).await?.into_inner();
    let mut posts = 0;
    let _counting = batches.map_ok(|batch| posts += batch.post_messages.len());
    Ok(posts)
}
