//! Server streaming that resumes: one question, many answers, and none lost or repeated when the connection is cut.
//!
//! The reader keeps a position. It moves once a batch was handed over, and after a cut the next call asks for what
//! comes after it. That is all there is to resuming, because the server can start anywhere.

use std::pin::pin;

use async_stream::try_stream;
use futures::{Stream, StreamExt as _, TryStreamExt as _, future::ready, stream};
use quartet::post::v1::{ListPostsRequest, ListPostsResponse, LogPosition};
use tonic::{Response, Status, Streaming};

use crate::{
    Channel, Error,
    borrowed::FromList,
    messages,
    order::Order,
    resume::{Disconnected, Resume},
};

const PATH: &str = "/post.v1.PostService/ListPosts";

/// What happens on a list.
#[derive(Debug)]
pub enum ListEvent<B = ListPostsResponse> {
    /// The next posts, or none: then it is a bookmark. `snapshot_complete` is set at most once, resumes included.
    Batch(B),
    /// The stream was cut and will be resumed.
    Disconnected(Disconnected),
    /// It was resumed after this position.
    Reconnected(LogPosition),
}

/// The posts that `request` asks for. Ends once they are complete; with `follow`, never.
///
/// # Errors
/// Those of the RPC that are not resumable, those that [`Resume`] gave up on, and [`Error::Protocol`].
pub fn list_posts(
    channel: Channel,
    request: ListPostsRequest,
) -> impl Stream<Item = Result<ListEvent, Error>> + Send {
    read_posts(channel, request)
}

/// The same with batches of another kind: [`Batch`](crate::borrowed::Batch) is read where it is, without a `String` for
/// every text.
///
/// # Errors
/// As for [`list_posts`].
pub fn read_posts<B: FromList>(
    channel: Channel,
    mut request: ListPostsRequest,
) -> impl Stream<Item = Result<ListEvent<B>, Error>> + Send {
    try_stream! {
        let mut order = Order::after(request.resume_after.as_ref());
        let mut resume = Resume::of(&channel, PATH);
        let mut complete = false;
        loop {
            let mut batches = pin!(call::<B>(channel.clone(), request.clone()));
            let cut = loop {
                match batches.next().await {
                    Some(Ok(None)) => resume.begin(),
                    Some(Ok(Some(mut batch))) => {
                        resume.progress();
                        if resume.is_resumed() {
                            yield ListEvent::Reconnected(request.resume_after.clone().unwrap_or_default());
                        }
                        let position = order.advance(batch.sequences(), batch.position().cloned())?;
                        // A resumed call has a head of its own; the reader asked for that of the first.
                        *batch.snapshot_complete() &= !complete;
                        complete |= *batch.snapshot_complete();
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
            let pause = resume.pause(cut)?;
            let delay = pause.delay;
            yield ListEvent::Disconnected(pause);
            tokio::time::sleep(delay).await;
        }
    }
}

/// One call as one stream: a call that fails is a stream that begins with the error, another begins with `None`.
fn call<B: FromList>(
    channel: Channel,
    request: ListPostsRequest,
) -> impl Stream<Item = Result<Option<B>, Status>> + Send {
    try_stream! {
        let mut messages = messages::call(channel, PATH, &request).await?;
        yield None;
        while let Some(message) = messages.next().await? {
            yield Some(message);
        }
    }
}

/// The messages of a response, after a `None` for its head.
pub(crate) fn begun<T: Send>(
    response: Response<Streaming<T>>,
) -> impl Stream<Item = Result<Option<T>, Status>> + Send {
    let messages = response.into_inner().map_ok(Some);
    stream::once(ready(Ok(None))).chain(messages)
}
