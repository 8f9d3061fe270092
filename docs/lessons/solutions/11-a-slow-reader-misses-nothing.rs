//! Hands the batches of a hub to one of its readers. The client is there for what the hub dropped.

use quartet::post::v1::{ListPostsRequest, ListPostsResponse, LogPosition};
use quartet_lessons::{checks::broadcast::Hub, reader::Reader, stage::Client};
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

pub async fn deliver(mut client: Client, mut hub: Hub, reader: &mut Reader) -> Result<(), Status> {
    loop {
        match hub.recv().await {
            // Read from the log already.
            Ok(batch)
                if batch.position.as_ref().map(sequence) <= last(reader).as_ref().map(sequence) => {
            }
            Ok(batch) => reader.handle(batch),
            Err(RecvError::Lagged(_)) => catch_up(&mut client, reader).await?,
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

/// Reads what the hub dropped from the log, which drops nothing.
async fn catch_up(client: &mut Client, reader: &mut Reader) -> Result<(), Status> {
    let request = ListPostsRequest { resume_after: last(reader), ..Default::default() };
    let mut batches = client.list_posts(request).await?.into_inner();
    while let Some(batch) = batches.message().await? {
        reader.handle(batch);
    }
    Ok(())
}

fn last(reader: &Reader) -> Option<LogPosition> {
    reader.batches().last().and_then(|batch: &ListPostsResponse| batch.position.clone())
}

fn sequence(position: &LogPosition) -> i64 {
    position.sequence
}
