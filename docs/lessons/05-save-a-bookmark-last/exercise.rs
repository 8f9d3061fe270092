//! Handles the log at a desk, and goes on at its bookmark when it is started again.

use quartet::post::v1::ListPostsRequest;
use quartet_lessons::{reader::Desk, stage::Client};
use tonic::Status;

pub async fn consume(mut client: Client, desk: &mut Desk) -> Result<(), Status> {
    let request = ListPostsRequest { resume_after: desk.bookmark(), ..Default::default() };
    let mut batches = client.list_posts(request).await?.into_inner();
    while let Some(batch) = batches.message().await? {
        desk.save(batch.position.clone());
        desk.handle(batch)?;
    }
    Ok(())
}
