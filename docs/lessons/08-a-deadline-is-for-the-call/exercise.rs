//! Follows the log for a limited time.

use std::time::Duration;

use quartet::post::v1::ListPostsRequest;
use quartet_lessons::stage::Client;
use tokio::time::timeout;
use tonic::Status;

pub async fn follow(mut client: Client, limit: Duration) -> Result<(), Status> {
    let request = ListPostsRequest { follow: true, ..Default::default() };
    let mut batches = client.list_posts(request).await?.into_inner();
    let late = |_| Status::deadline_exceeded("the server is too slow");
    while timeout(limit, batches.message()).await.map_err(late)??.is_some() {}
    Ok(())
}
