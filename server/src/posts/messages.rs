//! The response of a feed: a stream that asks the feed for one message after the other.

use futures::stream::{self, BoxStream};
use quartet::page::FeedMessage;
use quartet_connection::Lane;
use tonic::{Response, Status};

/// Makes the messages of a feed, one at a time. A trait, so that this file needs no RPC.
pub(crate) trait FeedMessages: Send + 'static {
    /// The next message; `None` after the last. It is not called again after `None` or an error,
    /// and its future is dropped only together with the feed.
    fn next(&mut self) -> impl Future<Output = Result<Option<FeedMessage>, Status>> + Send;
}

/// A response with these messages. While they wait, the connection sends those of the lane.
///
/// Not a generator, which would hold its arguments twice and all that it makes of them
/// (docs/performance.md).
pub(crate) fn respond(
    messages: impl FeedMessages,
    lane: Lane,
) -> Response<BoxStream<'static, Result<FeedMessage, Status>>> {
    let stream = stream::try_unfold(Box::new(messages), async |mut messages| {
        Ok(messages.next().await?.map(|message| (message, messages)))
    });
    let mut response: Response<BoxStream<'static, _>> = Response::new(Box::pin(stream));
    response.extensions_mut().insert(lane);
    response
}
