//! Unary: one request, one response; here once per page.

use async_stream::try_stream;
use futures::Stream;
use quartet::post::v1::{
    ListPostsByUserIdRequest, ListPostsByUserIdResponse, post_service_client::PostServiceClient,
};
use quartet_channel::Channel;

use crate::{error::Error, order::Order};

/// The pages of a user's posts after `request.resume_after`, one call each, up to the page that is
/// not truncated.
///
/// A page is requested when the stream is polled. A failed call ends the stream; it can be
/// continued after the position of the last page.
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
            let response = client.list_posts_by_user_id(request.clone()).await;
            let page = response.map_err(Error::from)?.into_inner();
            let sequences = page.post_messages.iter().map(|post| post.sequence);
            let position = order.advance(sequences, page.position.clone())?;
            let (is_last, is_empty) = (!page.truncated, page.post_messages.is_empty());
            yield page;
            if is_last {
                return;
            }
            if is_empty {
                // The next page would be the same.
                Err(Error::Protocol("a truncated page without posts".into()))?;
            }
            request.resume_after = Some(position);
        }
    }
}
