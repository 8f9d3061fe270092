//! Follows the log, two batches at a time, and shows a clock meanwhile.

use std::time::Duration;

use quartet::post::v1::{ListPostsRequest, ListPostsResponse};
use quartet_lessons::{reader::Reader, stage::Client};
use tokio::time::{Instant, interval_at};
use tonic::{Status, Streaming};

pub async fn follow(mut client: Client, reader: &mut Reader, count: usize) -> Result<(), Status> {
    let request = ListPostsRequest { follow: true, ..Default::default() };
    let mut batches = client.list_posts(request).await?.into_inner();
    let second = Duration::from_secs(1);
    let mut clock = interval_at(Instant::now() + second, second);
    while reader.count() < count {
        tokio::select! {
            pair = two(&mut batches) => pair?.into_iter().for_each(|batch| reader.handle(batch)),
            _ = clock.tick() => reader.show_clock(),
        }
    }
    Ok(())
}

/// Waits for two batches.
async fn two(batches: &mut Streaming<ListPostsResponse>) -> Result<Vec<ListPostsResponse>, Status> {
    let ended = || Status::unavailable("the stream has ended");
    let first = batches.message().await?.ok_or_else(ended)?;
    let second = batches.message().await?.ok_or_else(ended)?;
    Ok(vec![first, second])
}
