//! Server streaming: one request, a stream of responses.
//!
//! First the snapshot, everything up to the head that the log had when the call began; then, if the client stays,
//! new posts as they are stored. The client pulls: HTTP/2 asks for the next message when it has room, and only then
//! does the cursor read on.

use async_stream::try_stream;
use futures::Stream;
use quartet::{
    limits::{FILTER_TERMS, HEARTBEAT},
    post::v1::ListPostsRequest,
    wire::Page,
};
use quartet_log::{Filter, Tags};
use tokio::time::timeout;
use tonic::Status;

use super::Posts;
use crate::{connection::Stop, validate};

// ANCHOR: list_posts
pub(super) fn list_posts(
    posts: &Posts,
    request: ListPostsRequest,
    stop: Stop,
) -> Result<impl Stream<Item = Result<Page, Status>> + use<>, Status> {
    let start = validate::position(request.resume_after, &*posts.log)?;
    let filter = filter(request.tags, request.user_ids)?;

    let mut reader = posts.reader(filter, start);
    let snapshot = reader.cursor.head();

    Ok(try_stream! {
        // The snapshot. Its last page says so: a client that does not see the flag knows that it was cut.
        loop {
            let mut page = reader.replay(snapshot).await?;
            page.flag = page.position.sequence as u64 == snapshot;
            let complete = page.flag;
            yield page;
            if complete {
                break;
            }
            // The server stops, or the connection has to end: the client resumes from the position of that page.
            if stop.is_due() {
                Err(stop.status())?;
            }
        }

        if request.follow {
            loop {
                match stop.run_until_due(timeout(HEARTBEAT, reader.follow())).await {
                    Some(Ok(page)) => yield page?,
                    // Nothing for a while: a bookmark keeps proxies from cutting the stream.
                    Some(Err(_)) => yield reader.bookmark(),
                    // It is told how far it is, because it may have heard nothing for a while.
                    None => {
                        yield reader.bookmark();
                        Err(stop.status())?;
                    }
                }
            }
        }
    })
}
// ANCHOR_END: list_posts

fn filter(tags: Vec<String>, user_ids: Vec<String>) -> Result<Filter, Status> {
    let tags = validate::tags("tags", tags, FILTER_TERMS)?;
    let tags = if tags.is_empty() { Tags::All } else { tags.into() };
    Ok(Filter { tags, user_ids: validate::filter_user_ids(user_ids)? })
}
