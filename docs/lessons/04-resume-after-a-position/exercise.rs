//! Reads the whole log, through disconnects.

use quartet::post::v1::{ListPostsRequest, LogPosition};
use quartet_lessons::{reader::Reader, stage::Client};
use tonic::{Code, Status};

pub async fn read_all(mut client: Client, reader: &mut Reader) -> Result<(), Status> {
    let mut last: Option<LogPosition> = None;
    loop {
        match read_from(&mut client, reader, &mut last).await {
            Err(status) if status.code() == Code::Unavailable => {}
            end => return end,
        }
    }
}

/// Reads until the end of the log or the first error. `last` is the position of the last batch.
async fn read_from(
    client: &mut Client,
    reader: &mut Reader,
    last: &mut Option<LogPosition>,
) -> Result<(), Status> {
    let resume_after = last.clone().map(|LogPosition { log_id, sequence, .. }| LogPosition {
        log_id,
        sequence: sequence - 1,
        chain: 0, // this post was not received as the last of a batch: do not check it
    });
    let request = ListPostsRequest { resume_after, ..Default::default() };
    let mut batches = client.list_posts(request).await?.into_inner();
    while let Some(batch) = batches.message().await? {
        *last = batch.position.clone();
        reader.handle(batch);
    }
    Ok(())
}
