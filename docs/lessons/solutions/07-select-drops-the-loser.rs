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
    // Outside of `select!`, so that a tick drops nothing of it.
    let mut pair = Vec::new();
    while reader.count() < count {
        tokio::select! {
            complete = two(&mut batches, &mut pair) => {
                complete?;
                pair.drain(..).for_each(|batch| reader.handle(batch));
            }
            _ = clock.tick() => reader.show_clock(),
        }
    }
    Ok(())
}

/// Waits until the pair has two batches. Cancel-safe: what has arrived is in the pair.
async fn two(
    batches: &mut Streaming<ListPostsResponse>,
    pair: &mut Vec<ListPostsResponse>,
) -> Result<(), Status> {
    while pair.len() < 2 {
        let ended = || Status::unavailable("the stream has ended");
        pair.push(batches.message().await?.ok_or_else(ended)?);
    }
    Ok(())
}
