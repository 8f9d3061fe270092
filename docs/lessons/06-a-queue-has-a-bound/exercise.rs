//! Passes the log on to a reader, through a queue between two loops.

use quartet::post::v1::ListPostsRequest;
use quartet_lessons::{reader::SlowReader, stage::Client};
use tokio::sync::mpsc;
use tonic::Status;

pub async fn relay(mut client: Client, reader: &mut SlowReader) -> Result<(), Status> {
    let mut batches = client.list_posts(ListPostsRequest::default()).await?.into_inner();
    let (queue, mut queued) = mpsc::unbounded_channel();
    let receive = async move {
        while let Some(batch) = batches.message().await? {
            let gone = |_| Status::cancelled("the reader is gone");
            queue.send(batch).map_err(gone)?;
        }
        Ok(())
    };
    let deliver = async {
        while let Some(batch) = queued.recv().await {
            reader.take(batch).await;
        }
    };
    tokio::join!(receive, deliver).0
}
