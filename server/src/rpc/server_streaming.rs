//! Server streaming: one request, a stream of responses.
//!
//! First comes the snapshot: all posts up to the head of the log when the call began. Then, if the
//! client follows, new posts as they are stored. Flow control paces the reader: HTTP/2 polls for
//! the next message only while the client grants window, and only then does the cursor read on.

use async_stream::try_stream;
use futures::stream::BoxStream;
use quartet::{
    limits::{FILTER_TERMS, HEARTBEAT},
    page::Page,
    post::v1::ListPostsRequest,
};
use quartet_connection::Stop;
use quartet_log::{Filter, Tags};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::{
    posts::{reader::Reader, store::PostStore},
    validate,
};

// ANCHOR: list_posts
pub(super) async fn list_posts(
    posts: &PostStore,
    request: Request<ListPostsRequest>,
) -> Result<Response<BoxStream<'static, Result<Page, Status>>>, Status> {
    let (stop, request) = (Stop::of(request.extensions()), request.into_inner());
    let start = validate::position(request.resume_after, &*posts.log).await?;
    let filter = filter(request.tags, request.user_ids)?;

    let mut reader = Reader::new(posts, filter, start);
    let snapshot = reader.cursor.head();

    Ok(Response::new(Box::pin(try_stream! {
        // The snapshot. Only its last page has the flag, so a client notices a cut.
        loop {
            let mut page = reader.replay(snapshot).await?;
            page.flag = page.position.sequence as u64 == snapshot;
            let complete = page.flag;
            yield page;
            if complete {
                break;
            }
            // The server stops, or the connection must end: the client resumes after this page.
            if stop.is_due() {
                Err(stop.status())?;
            }
        }

        if !request.follow {
            return;
        }
        loop {
            match stop.run_until_due(timeout(HEARTBEAT, reader.follow())).await {
                Some(Ok(page)) => yield page?,
                // Idle: a bookmark keeps proxies from cutting the stream.
                Some(Err(_)) => yield reader.bookmark().await?,
                // A last bookmark: no post may have matched for a while.
                None => {
                    yield reader.bookmark().await?;
                    Err(stop.status())?;
                }
            }
        }
    })))
}
// ANCHOR_END: list_posts

fn filter(tags: Vec<String>, user_ids: Vec<String>) -> Result<Filter, Status> {
    let tags = validate::tags("tags", tags, FILTER_TERMS)?;
    let tags = if tags.is_empty() { Tags::All } else { tags.into() };
    Ok(Filter { tags, user_ids: validate::filter_user_ids(user_ids)? })
}
