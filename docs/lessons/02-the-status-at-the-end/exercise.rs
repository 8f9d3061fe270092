//! Returns all posts of the log.

use quartet::post::v1::{ListPostsRequest, PostMessage};
use quartet_lessons::stage::Client;
use tonic::Status;

pub async fn read_all(mut client: Client) -> Result<Vec<PostMessage>, Status> {
    let mut batches = client.list_posts(ListPostsRequest::default()).await?.into_inner();
    let mut posts = Vec::new();
    while let Ok(Some(batch)) = batches.message().await {
        posts.extend(batch.post_messages);
    }
    Ok(posts)
}
