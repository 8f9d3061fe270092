//! Lesson 11: a slow reader misses nothing.

use std::time::Duration;

use quartet::post::v1::{ListPostsRequest, ListPostsResponse};
use tokio::sync::broadcast;
use tonic::Status;

use crate::{
    judge,
    reader::Reader,
    stage::{Client, Stage, posts},
    verdict::Verdict,
};

/// Batches for all readers.
pub type Hub = broadcast::Receiver<ListPostsResponse>;

/// The program hands the batches of a hub that keeps 4 of them to a reader. It starts when 20 were
/// sent.
///
/// # Errors
/// The reader sees a gap or a duplicate.
pub async fn check(
    program: impl AsyncFn(Client, Hub, &mut Reader) -> Result<(), Status>,
) -> Verdict {
    let (stage, mut reader) = (Stage::open().await?, Reader::default());
    let (sender, hub) = broadcast::channel(4);
    let write = stage.write_slowly(posts(20, 10), Duration::from_millis(100));
    let (written, sent) = tokio::join!(write, feed(stage.checker(), sender));
    written.and(sent.map_err(|status| status.to_string()))?;
    program(stage.client(), hub, &mut reader).await.map_err(|status| status.to_string())?;
    judge::order(&stage.log().await?, &reader)?;
    match reader.count() {
        20 => Ok(()),
        count => Err(format!("20 posts were written, and the reader handled {count}.")),
    }
}

/// Sends 20 posts of the log to the hub.
async fn feed(mut client: Client, hub: broadcast::Sender<ListPostsResponse>) -> Result<(), Status> {
    let request = ListPostsRequest { follow: true, ..Default::default() };
    let mut batches = client.list_posts(request).await?.into_inner();
    let mut count = 0;
    while count < 20
        && let Some(batch) = batches.message().await?
    {
        count += batch.post_messages.len();
        // The receiver lives in the check, so that the hub has one.
        let _ = hub.send(batch);
    }
    Ok(())
}
