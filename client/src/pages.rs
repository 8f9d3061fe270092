//! Unary: one question, one answer, once per page.

use async_stream::try_stream;
use futures::Stream;
use quartet::post::v1::{
    ListPostsByUserIdRequest, ListPostsByUserIdResponse, post_service_client::PostServiceClient,
};

use crate::{Channel, Error, order::Order};

/// A user's posts from `request.resume_after` on, a call per page, until a page says that nothing follows.
///
/// Pages are asked for as the stream is polled. A failed call ends it: ask again from the position of the last page.
///
/// # Errors
/// Those of the RPC, and [`Error::Protocol`].
pub fn list_user_posts(
    channel: Channel,
    mut request: ListPostsByUserIdRequest,
) -> impl Stream<Item = Result<ListPostsByUserIdResponse, Error>> + Send {
    try_stream! {
        let mut client = PostServiceClient::new(channel);
        let mut order = Order::after(request.resume_after.as_ref());
        loop {
            let answer = client.list_posts_by_user_id(request.clone()).await;
            let page = answer.map_err(Error::from)?.into_inner();
            let sequences = page.post_messages.iter().map(|post| post.sequence);
            let position = order.advance(sequences, page.position.clone())?;
            let (more, empty) = (page.truncated, page.post_messages.is_empty());
            yield page;
            if !more {
                return;
            }
            if empty {
                // The next page would be the same.
                Err(Error::Protocol("a truncated page without posts".into()))?;
            }
            request.resume_after = Some(position);
        }
    }
}
