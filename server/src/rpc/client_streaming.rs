//! Client streaming: a stream of requests, one response.
//!
//! Posts are stored as they arrive, not at the end: an upload of any length uses constant memory.
//! The finish message exists because a server cannot tell a cancelled upload from a complete one.

use futures::{FutureExt as _, StreamExt as _};
use quartet::{
    codec,
    encoded::PostRef,
    page::UploadMessage,
    post::v1::{UploadFinish, UploadPostsResponse},
    serve::Streaming,
};
use tonic::{Request, Response, Status};

use crate::{
    auth::Caller,
    error,
    posts::{pipeline::Pipeline, store::PostStore},
};

// ANCHOR: upload_posts
pub(super) async fn upload_posts(
    posts: &PostStore,
    request: Request<Streaming<UploadMessage>>,
) -> Result<Response<UploadPostsResponse>, Status> {
    let caller = Caller::of(request.extensions()).cloned();
    let mut upload = Upload::new(Pipeline::new(posts, caller));
    let mut requests = request.into_inner();

    while let Some(request) = requests.next().await {
        upload.receive(request).await?;
        // Posts that have arrived already share an append.
        while let Some(Some(request)) = requests.next().now_or_never() {
            upload.receive(request).await?;
        }
        upload.pipeline.append().await?;
    }
    upload.summary().await.map(Response::new)
}
// ANCHOR_END: upload_posts

/// An open upload.
struct Upload {
    pipeline: Pipeline,
    /// Posts received, including refused ones: the index of the next.
    received: i64,
    finish: Option<UploadFinish>,
}

impl Upload {
    fn new(pipeline: Pipeline) -> Self {
        Self { pipeline, received: 0, finish: None }
    }

    // ANCHOR: receive
    /// Handles a message. If it ends the upload with an error, earlier posts are stored first.
    async fn receive(&mut self, request: Result<UploadMessage, Status>) -> Result<(), Status> {
        let taken = self.take(request).await;
        if taken.is_err() {
            self.pipeline.settle().await?;
        }
        taken
    }

    /// Checks the order of messages: posts, then one finish.
    async fn take(&mut self, request: Result<UploadMessage, Status>) -> Result<(), Status> {
        let request = request.map_err(|status| error::at_message(self.received, status))?;
        let refuse = |what| Err(error::upload_protocol(self.received, what));
        match (request, &self.finish) {
            (UploadMessage::Post(post), None) => self.post(&post).await,
            (UploadMessage::Finish(finish), None) => {
                self.finish = Some(finish);
                Ok(())
            }
            (UploadMessage::Post(_), Some(_)) => refuse("a post after the finish"),
            (UploadMessage::Finish(_), Some(_)) => refuse("a second finish"),
            (UploadMessage::Unset, _) => refuse("no payload is set"),
        }
    }
    // ANCHOR_END: receive

    async fn post(&mut self, message: &[u8]) -> Result<(), Status> {
        let index = self.received;
        let post = PostRef::decode(message)
            .map_err(|why| error::at_message(index, codec::undecodable(why)))?;
        self.received += 1;
        self.pipeline.push(index, post).await
    }

    /// Stores everything. The upload is complete if the finish has the number of received posts.
    async fn summary(mut self) -> Result<UploadPostsResponse, Status> {
        self.pipeline.settle().await?;
        let complete = self.finish.is_some_and(|finish| finish.post_count == self.received);
        Ok(self.pipeline.into_response(complete).await)
    }
}
