//! Follows the log for a limited time.

use std::time::Duration;

use quartet::post::v1::ListPostsRequest;
use quartet_lessons::stage::Client;
use tonic::{Request, Status};

pub async fn follow(mut client: Client, limit: Duration) -> Result<(), Status> {
    let mut request = Request::new(ListPostsRequest { follow: true, ..Default::default() });
    // Travels as `grpc-timeout`, so that the server stops working too.
    request.set_timeout(limit);
    let mut batches = client.list_posts(request).await?.into_inner();
    while batches.message().await?.is_some() {}
    Ok(())
}
