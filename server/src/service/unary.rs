//! Unary: one request, one response.
//!
//! A page of one user's posts, through an index. What does not fit is asked for again, after the page's position.

use quartet::{
    limits::{PAGE_BYTES, PAGE_POSTS},
    post::v1::ListPostsByUserIdRequest,
    wire::Page,
};
use quartet_log::{Limit, UserPage};
use tonic::Status;

use super::Posts;
use crate::{error, validate};

const PAGE: Limit = Limit { posts: PAGE_POSTS, bytes: PAGE_BYTES };

// ANCHOR: unary
pub(super) async fn list_posts_by_user_id(
    posts: &Posts,
    request: ListPostsByUserIdRequest,
) -> Result<Page, Status> {
    validate::user_id(&request.user_id)?;
    let after = validate::position(request.resume_after, &*posts.log)?;

    let UserPage { records, position, more } =
        posts.log.read_user(&request.user_id, after, PAGE).await.map_err(error::of_log)?;
    posts.page(records.iter(), position, more).await
}
// ANCHOR_END: unary
