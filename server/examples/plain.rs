//! The four RPC kinds in plain tonic: posts in memory, and nothing of this suite but its contract.
//!
//! `cargo run -p quartet-server --example plain`, then run the clients against it. The walkthrough
//! explains what the suite's own server adds, and why.

#![allow(clippy::print_stderr, reason = "the output of the example")]

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use async_stream::try_stream;
use futures::stream::BoxStream;
use quartet::{
    plain::post_service_server::{PostService, PostServiceServer},
    post::v1::{
        JoinTags, Joined, ListPostsByUserIdRequest, ListPostsByUserIdResponse, ListPostsRequest,
        ListPostsResponse, PostBatch, PostMessage, PublishPost, Receipt, TagFeedRequest,
        TagFeedResponse, UploadPostsRequest, UploadPostsResponse,
        tag_feed_request::Payload as Requested, tag_feed_response::Payload,
        upload_posts_request::Payload as Uploaded,
    },
};
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

/// The posts, and their number for readers that wait.
#[derive(Debug, Clone)]
struct Posts {
    all: Arc<Mutex<Vec<PostMessage>>>,
    count: watch::Sender<usize>,
}

impl Posts {
    /// Stores a post and returns its sequence, from 1.
    fn append(&self, mut post: PostMessage) -> i64 {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        post.sequence = all.len() as i64 + 1;
        let sequence = post.sequence;
        all.push(post);
        self.count.send_replace(all.len());
        sequence
    }

    /// Of the posts in this range, those for which `wanted` holds.
    fn select(
        &self,
        range: Range<usize>,
        wanted: impl Fn(&PostMessage) -> bool,
    ) -> Vec<PostMessage> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all[range].iter().filter(|post| wanted(post)).cloned().collect()
    }
}

fn has_any(post: &PostMessage, tags: &[String]) -> bool {
    post.tags.iter().any(|tag| tags.contains(tag))
}

#[tonic::async_trait]
impl PostService for Posts {
    // ANCHOR: unary
    async fn list_posts_by_user_id(
        &self,
        request: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<ListPostsByUserIdResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let all = 0..*self.count.borrow();
        let post_messages = self.select(all, |post| post.user_id == user_id);
        Ok(Response::new(ListPostsByUserIdResponse { post_messages, ..Default::default() }))
    }
    // ANCHOR_END: unary

    // ANCHOR: server_streaming
    type ListPostsStream = BoxStream<'static, Result<ListPostsResponse, Status>>;

    async fn list_posts(
        &self,
        request: Request<ListPostsRequest>,
    ) -> Result<Response<Self::ListPostsStream>, Status> {
        let (posts, ListPostsRequest { tags, follow, .. }) = (self.clone(), request.into_inner());
        let mut count = self.count.subscribe();
        Ok(Response::new(Box::pin(try_stream! {
            let mut seen = 0;
            loop {
                let new = seen..*count.borrow_and_update();
                seen = new.end;
                for post in posts.select(new, |post| tags.is_empty() || has_any(post, &tags)) {
                    yield ListPostsResponse { post_messages: vec![post], ..Default::default() };
                }
                if !follow || count.changed().await.is_err() {
                    return;
                }
            }
        })))
    }
    // ANCHOR_END: server_streaming

    // ANCHOR: client_streaming
    async fn upload_posts(
        &self,
        request: Request<Streaming<UploadPostsRequest>>,
    ) -> Result<Response<UploadPostsResponse>, Status> {
        let mut requests = request.into_inner();
        let mut response = UploadPostsResponse::default();
        while let Some(request) = requests.message().await? {
            match request.payload {
                Some(Uploaded::PostMessage(post)) => {
                    self.append(post);
                    response.created_count += 1;
                }
                // Only this says that the upload is whole: a cut one may look like an ended one.
                Some(Uploaded::Finish(finish)) => {
                    response.complete = finish.post_count == response.created_count;
                }
                None => return Err(Status::invalid_argument("the payload is not set")),
            }
        }
        Ok(Response::new(response))
    }
    // ANCHOR_END: client_streaming

    // ANCHOR: bidirectional
    type TagFeedStream = BoxStream<'static, Result<TagFeedResponse, Status>>;

    async fn tag_feed(
        &self,
        request: Request<Streaming<TagFeedRequest>>,
    ) -> Result<Response<Self::TagFeedStream>, Status> {
        let (posts, mut requests) = (self.clone(), request.into_inner());
        let mut count = self.count.subscribe();
        Ok(Response::new(Box::pin(try_stream! {
            let (mut joined, mut seen) = (Vec::new(), *count.borrow_and_update());
            loop {
                // Whatever comes first: a request, or (`None`) posts.
                let request = tokio::select! {
                    request = requests.message() => Some(request),
                    _ = count.changed() => None, // It cannot fail: `posts` has the sender.
                };
                let Some(request) = request else {
                    let new = seen..*count.borrow_and_update();
                    seen = new.end;
                    let post_messages = posts.select(new, |post| has_any(post, &joined));
                    if !post_messages.is_empty() {
                        let batch = PostBatch { post_messages, ..Default::default() };
                        yield response(Payload::Posts(batch));
                    }
                    continue;
                };
                let Some(request) = request? else { return }; // The client has half-closed.
                match request.payload {
                    Some(Requested::Join(JoinTags { tags, .. })) => {
                        joined.extend(tags);
                        let tags = joined.clone();
                        yield response(Payload::Joined(Joined { tags, ..Default::default() }));
                    }
                    Some(Requested::Publish(PublishPost { post_message: Some(post) })) => {
                        let post_id = post.post_id.clone();
                        let sequence = posts.append(post);
                        let receipt = Receipt { post_id, sequence, ..Default::default() };
                        yield response(Payload::Receipt(receipt));
                    }
                    _ => Err(Status::invalid_argument("the payload is not known"))?,
                }
            }
        })))
    }
    // ANCHOR_END: bidirectional
}

fn response(payload: Payload) -> TagFeedResponse {
    TagFeedResponse { payload: Some(payload) }
}

#[allow(clippy::print_stderr)] // an example has no log
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let posts = Posts { all: Arc::default(), count: watch::Sender::new(0) };
    Server::builder()
        .add_service(PostServiceServer::new(posts))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), async {
            // Without a handler of Ctrl-C the server runs until it is killed.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
