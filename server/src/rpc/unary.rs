//! Unary: one request, one response.
//!
//! A page of one user's posts, through an index. If posts do not fit, the client calls again with
//! the position of the page.

use quartet::{
    limits::{PAGE_BYTES, PAGE_POSTS},
    page::Page,
    post::v1::ListPostsByUserIdRequest,
};
use quartet_log::{Limit, UserPage};
use tonic::{Request, Response, Status};

use crate::{error, posts::store::PostStore, validate};

const PAGE: Limit = Limit { posts: PAGE_POSTS, bytes: PAGE_BYTES };

// ANCHOR: unary
pub(super) async fn list_posts_by_user_id(
    posts: &PostStore,
    request: Request<ListPostsByUserIdRequest>,
) -> Result<Response<Page>, Status> {
    let request = request.into_inner();
    validate::user_id(&request.user_id)?;
    let after = validate::position(request.resume_after, &*posts.log).await?;

    let UserPage { records, position, more } =
        posts.log.read_user(&request.user_id, after, PAGE).await.map_err(error::of_log)?;
    posts.page(records.iter(), position, more).await.map(Response::new)
}
// ANCHOR_END: unary
