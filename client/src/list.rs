//! Server streaming: one request, many responses, and no post lost or repeated when the connection
//! is cut.
//!
//! The reader keeps a position, which moves once a batch was handed over. After a cut it asks for
//! the posts after that position. This is all it takes, because the server can start anywhere.

use async_stream::try_stream;
use futures::Stream;
use quartet::post::v1::{ListPostsRequest, ListPostsResponse, LogPosition};
use quartet_channel::Channel;

use crate::{
    borrowed::ListBatch,
    error::Error,
    in_place,
    order::Order,
    response::{Received, Response},
    resume::{Disconnected, ResumableCall, ResumePolicy, Step, resumed},
};

const PATH: &str = quartet::methods::post_v1::LIST_POSTS;

/// What happens on a list.
#[derive(Debug)]
pub enum ListEvent<B = ListPostsResponse> {
    /// The next posts. A batch without posts is a bookmark. `snapshot_complete` is set at most
    /// once, even if the list is resumed.
    Batch(B),
    /// The stream was cut and will be resumed.
    Disconnected(Disconnected),
    /// The stream was resumed after this position.
    Reconnected(LogPosition),
}

/// The posts that `request` selects. The stream ends once they are complete; with `follow`, never.
///
/// # Errors
/// Those of the RPC that are not resumable, those after which the [`ResumePolicy`] gave up, and
/// [`Error::Protocol`].
pub fn list_posts(
    channel: Channel,
    request: ListPostsRequest,
) -> impl Stream<Item = Result<ListEvent, Error>> + Send {
    read_posts(channel, request)
}

/// The same with batches of another type:
/// [`BorrowedBatch`](crate::borrowed::BorrowedBatch) leaves the posts in the bytes that arrived,
/// without a `String` for every text.
///
/// # Errors
/// As for [`list_posts`].
pub fn read_posts<B: ListBatch>(
    channel: Channel,
    request: ListPostsRequest,
) -> impl Stream<Item = Result<ListEvent<B>, Error>> + Send {
    let policy = ResumePolicy::for_method(&channel, PATH);
    let order = Order::after(request.resume_after.as_ref());
    let reader = ListReader { channel, request, order, snapshot_complete: false };
    resumed(policy, reader)
}

/// A list between two batches, independent of the connection.
struct ListReader {
    channel: Channel,
    /// What the next call requests. `resume_after` is the position of the last batch handed over.
    request: ListPostsRequest,
    order: Order,
    /// Whether the end of the snapshot was reached.
    snapshot_complete: bool,
}

impl<B: ListBatch> ResumableCall<ListEvent<B>> for ListReader {
    fn attempt(&mut self) -> impl Stream<Item = Result<Step<ListEvent<B>>, Error>> + Send {
        try_stream! {
            let request = self.request.clone();
            let call = in_place::server_streaming::<B>(self.channel.clone(), PATH, request);
            let mut response = Response::to(call);
            loop {
                match response.next().await {
                    Ok(Received::Headers) => yield Step::ResponseBegan,
                    Ok(Received::Message(mut batch)) => {
                        yield Step::Progress;
                        let position = self.examine(&mut batch)?;
                        yield Step::Event(ListEvent::Batch(batch));
                        // The caller asks for the next event, so it has handled this one.
                        self.request.resume_after = Some(position);
                    }
                    // Everything requested has come. How the connection ends no longer matters.
                    Ok(Received::End) | Err(_) if self.is_complete() => return,
                    Ok(Received::End) => Err(Error::Truncated)?,
                    Err(error) => Err(error)?,
                }
            }
        }
    }

    fn disconnected(pause: Disconnected) -> ListEvent<B> {
        ListEvent::Disconnected(pause)
    }

    fn reconnected(&self) -> Option<ListEvent<B>> {
        Some(ListEvent::Reconnected(self.request.resume_after.clone().unwrap_or_default()))
    }
}

impl ListReader {
    /// Checks the order of a batch and returns its position.
    fn examine<B: ListBatch>(&mut self, batch: &mut B) -> Result<LogPosition, Error> {
        let position = self.order.advance(batch.sequences(), batch.position().cloned())?;
        let flag = batch.snapshot_complete();
        // A resumed call has a snapshot of its own; the caller requested that of the first call.
        *flag &= !self.snapshot_complete;
        self.snapshot_complete |= *flag;
        Ok(position)
    }

    fn is_complete(&self) -> bool {
        self.snapshot_complete && !self.request.follow
    }
}
