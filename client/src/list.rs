//! Server streaming that resumes: one question, many answers, and none lost or repeated when the connection is cut.
//!
//! The reader keeps a position. It moves once a batch was handed over, and after a cut the next call asks for what
//! comes after it. That is all there is to resuming, because the server can start anywhere.

use std::{mem::take, pin::pin};

use async_stream::try_stream;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use quartet::post::v1::{
    ListPostsRequest, ListPostsResponse, LogPosition, post_service_client::PostServiceClient,
};
use tonic::{Response, Status};

use crate::{
    Channel, Error,
    backoff::{Backoff, Disconnected},
    order::Order,
};

/// What happens on a list.
#[derive(Debug)]
pub enum ListEvent {
    /// The next posts, or none: then it is a bookmark. `snapshot_complete` is set at most once, resumes included.
    Batch(ListPostsResponse),
    /// The stream was cut and will be resumed.
    Disconnected(Disconnected),
    /// It was resumed after this position.
    Reconnected(LogPosition),
}

/// The posts that `request` asks for. Ends once they are complete; with `follow`, never.
///
/// # Errors
/// Those of the RPC that are not resumable, those that [`Backoff`] gave up on, and [`Error::Protocol`].
pub fn list_posts(
    channel: impl Into<Channel>,
    mut request: ListPostsRequest,
) -> impl Stream<Item = Result<ListEvent, Error>> + Send {
    let channel = channel.into();
    try_stream! {
        let client = PostServiceClient::new(channel);
        let mut order = Order::after(request.resume_after.as_ref());
        let mut backoff = Backoff::default();
        let mut complete = false;
        let mut resuming = false;
        loop {
            let mut batches = pin!(call(client.clone(), request.clone()));
            let cut = loop {
                match batches.next().await {
                    Some(Ok(mut batch)) => {
                        backoff.progress();
                        if take(&mut resuming) {
                            yield ListEvent::Reconnected(request.resume_after.clone().unwrap_or_default());
                        }
                        let position = order.advance(&batch.post_messages, batch.position.clone())?;
                        // A resumed call has a head of its own; the reader asked for that of the first.
                        batch.snapshot_complete &= !complete;
                        complete |= batch.snapshot_complete;
                        yield ListEvent::Batch(batch);
                        // Whoever asks for the next event has handled this one.
                        request.resume_after = Some(position);
                    }
                    // All that was asked for has come; how the connection ends does not matter any more.
                    None | Some(Err(_)) if complete && !request.follow => return,
                    None => break Error::Truncated,
                    Some(Err(status)) => break Error::from(status),
                }
            };
            let pause = backoff.pause(cut)?;
            let delay = pause.delay;
            yield ListEvent::Disconnected(pause);
            tokio::time::sleep(delay).await;
            resuming = true;
        }
    }
}

/// One call as one stream: a call that fails is a stream that begins with the error.
fn call(
    mut client: PostServiceClient<Channel>,
    request: ListPostsRequest,
) -> impl Stream<Item = Result<ListPostsResponse, Status>> + Send {
    stream::once(async move { client.list_posts(request).await.map(Response::into_inner) })
        .try_flatten()
}
