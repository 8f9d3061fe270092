//! The handlers of all services, with one file for each RPC kind of the Post service.
//!
//! Reading order: [`unary`], [`server_streaming`], [`client_streaming`], [`bidirectional`]; then
//! [`blog`], the blog's names, [`users`], [`health`] and [`reflection`].

use futures::stream::BoxStream;
use quartet::{
    page::{FeedMessage, Page, UploadMessage},
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, TagFeedRequest, UploadPostsResponse,
        post_service_server::PostService,
    },
    serve::Streaming,
};
use tonic::{Request, Response, Status};

use crate::posts::store::PostStore;

pub mod bidirectional;
pub mod blog;
pub mod client_streaming;
pub mod health;
pub mod reflection;
pub mod server_streaming;
pub mod unary;
pub mod users;

// ANCHOR: post_service
impl PostService for PostStore {
    async fn list_posts_by_user_id(
        &self,
        request: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<Page>, Status> {
        unary::list_posts_by_user_id(self, request).await
    }

    type ListPostsStream = BoxStream<'static, Result<Page, Status>>;

    async fn list_posts(
        &self,
        request: Request<ListPostsRequest>,
    ) -> Result<Response<Self::ListPostsStream>, Status> {
        server_streaming::list_posts(self, request).await
    }

    async fn upload_posts(
        &self,
        request: Request<Streaming<UploadMessage>>,
    ) -> Result<Response<UploadPostsResponse>, Status> {
        client_streaming::upload_posts(self, request).await
    }

    type TagFeedStream = BoxStream<'static, Result<FeedMessage, Status>>;

    async fn tag_feed(
        &self,
        request: Request<Streaming<TagFeedRequest>>,
    ) -> Result<Response<Self::TagFeedStream>, Status> {
        Ok(bidirectional::tag_feed(self, request))
    }
}
// ANCHOR_END: post_service
