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
    let resume_after =
        last.clone().map(|position| LogPosition { sequence: position.sequence - 1, ..position });
    let request = ListPostsRequest { resume_after, ..Default::default() };
    let mut batches = client.list_posts(request).await?.into_inner();
    while let Some(batch) = batches.message().await? {
        *last = batch.position.clone();
        reader.handle(batch);
    }
    Ok(())
}
