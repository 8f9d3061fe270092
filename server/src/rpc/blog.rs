//! The Post service under the blog's name, `/v1.post.Post`, so that the blog's Go programs work
//! with this server.

use quartet::{
    codec::Encode as _,
    limits::{PAGE_BYTES, PAGE_POSTS},
    page::Page,
    post::v1::{ListPostsByUserIdRequest, ListPostsRequest},
    reason,
    v1::post::post_server::Post,
};
use quartet_log::{Limit, Record};
use tonic::{Code, Request, Response, Status};

use super::unary;
use crate::{error, posts::store::PostStore};

impl Post for PostStore {
    async fn list_posts_by_user_id(
        &self,
        request: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<Page>, Status> {
        unary::list_posts_by_user_id(self, request).await
    }

    /// All posts in one response, as in the blog. Fails once the log is too large for that.
    async fn list_posts(&self, _: Request<ListPostsRequest>) -> Result<Response<Page>, Status> {
        let records = self.everything().await?;
        let head = records.last().map_or(0, |record| record.sequence);
        let page = self.page(records.iter(), head, false).await?;
        if page.encoded_len() > PAGE_BYTES {
            return Err(too_large(head)); // including authors
        }
        Ok(Response::new(page))
    }
}

impl PostStore {
    async fn everything(&self) -> Result<Vec<Record>, Status> {
        let head = *self.log.head().borrow();
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        while let after = records.last().map_or(0, |record| record.sequence)
            && after < head
        {
            let limit = Limit { posts: PAGE_POSTS, bytes: PAGE_BYTES };
            let more = self.log.read(after, limit).await.map_err(error::of_log)?;
            bytes += more.bytes();
            if bytes > PAGE_BYTES {
                return Err(too_large(head));
            }
            records.extend(more.iter().cloned());
        }
        Ok(records)
    }
}

fn too_large(head: u64) -> Status {
    error::status(
        Code::ResourceExhausted,
        reason::RESPONSE_TOO_LARGE,
        format!(
            "{head} posts are over {PAGE_BYTES} bytes; stream them with \
             /post.v1.PostService/ListPosts"
        ),
    )
}
