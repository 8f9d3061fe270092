//! The service as a tutorial writes it: structs in a `Vec`, cloned for every reader.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;
use tonic::{Request, Response, Status, Streaming};

use super::{
    feed,
    lists::Style,
    stored::{Responses, Stored},
};
use crate::{
    posts,
    proto::{
        ListPostsByUserIdRequest, ListPostsByUserIdResponse, ListPostsRequest, ListPostsResponse,
        PostMessage, TagFeedRequest, TagFeedResponse, UploadPostsRequest, UploadPostsResponse,
        post_service_server::PostService, upload_posts_request::Payload,
    },
};

/// Posts that a subscriber may lag behind before it loses some: the size that tutorials take.
const FEED_CAPACITY: usize = 1024;

#[derive(Debug)]
pub(super) struct Tutorial {
    style: Style,
    stored: Mutex<Arc<Stored>>,
    feed: broadcast::Sender<PostMessage>,
}

impl Tutorial {
    pub(super) fn new(style: Style) -> Self {
        let (feed, _) = broadcast::channel(FEED_CAPACITY);
        Self { style, stored: Mutex::new(Arc::new(Stored::new(Vec::new()))), feed }
    }

    fn stored(&self) -> Arc<Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl PostService for Tutorial {
    type ListPostsStream = Responses<ListPostsResponse>;
    type TagFeedStream = Responses<TagFeedResponse>;

    async fn list_posts_by_user_id(
        &self,
        request: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<ListPostsByUserIdResponse>, Status> {
        let stored = self.stored();
        let indexes = stored.by_user.get(&request.get_ref().user_id);
        let posts = indexes.into_iter().flatten().map(|index| stored.post(*index));
        let post_messages = posts.collect();
        Ok(Response::new(ListPostsByUserIdResponse { post_messages, ..Default::default() }))
    }

    async fn list_posts(
        &self,
        _: Request<ListPostsRequest>,
    ) -> Result<Response<Self::ListPostsStream>, Status> {
        Ok(Response::new(self.style.list(self.stored())))
    }

    async fn upload_posts(
        &self,
        request: Request<Streaming<UploadPostsRequest>>,
    ) -> Result<Response<UploadPostsResponse>, Status> {
        let mut requests = request.into_inner();
        let (mut posts, mut complete) = (Vec::new(), false);
        while let Some(request) = requests.message().await? {
            match request.payload {
                Some(Payload::PostMessage(mut post)) => {
                    post.create_time = Some(posts::create_time());
                    posts.push(post);
                }
                Some(Payload::Finish(finish)) => {
                    complete = finish.post_count == posts.len() as i64;
                }
                None => return Err(Status::invalid_argument("a message without payload")),
            }
        }
        let created_count = posts.len() as i64;
        let stored = Arc::new(Stored::new(posts));
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = stored;
        Ok(Response::new(UploadPostsResponse { created_count, complete, ..Default::default() }))
    }

    async fn tag_feed(
        &self,
        request: Request<Streaming<TagFeedRequest>>,
    ) -> Result<Response<Self::TagFeedStream>, Status> {
        let requests = request.into_inner();
        let responses = feed::tag_feed(self.stored(), self.feed.clone(), requests);
        Ok(Response::new(Box::pin(responses)))
    }
}
