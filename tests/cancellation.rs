//! Cancellation: a request that was cut off never looks like one that has ended.

use futures::stream::BoxStream;
use quartet::{
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, TagFeedRequest, UploadPostsRequest,
        UploadPostsResponse,
        post_service_server::{PostService, PostServiceServer},
    },
    wire::{FeedMessage, Page},
};
use quartet_server::connection::HttpService;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::support::{
    http2::{CANCEL, END_STREAM, RawClient, SETTINGS, call, frame, message, reset},
    post, post_request,
    server::pipe_to,
    soon,
};

/// A Post service that says what it sees of uploads. It reads them in a task of its own, as handlers do that go on when
/// nobody waits for their answer: a handler that is dropped sees nothing any more.
struct Uploads {
    seen: mpsc::Sender<&'static str>,
    tasks: TaskTracker,
}

#[tonic::async_trait]
impl PostService for Uploads {
    async fn list_posts_by_user_id(
        &self,
        _: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<Page>, Status> {
        unreachable!("this is about uploads")
    }

    type ListPostsStream = BoxStream<'static, Result<Page, Status>>;

    async fn list_posts(
        &self,
        _: Request<ListPostsRequest>,
    ) -> Result<Response<Self::ListPostsStream>, Status> {
        unreachable!("this is about uploads")
    }

    async fn upload_posts(
        &self,
        request: Request<Streaming<UploadPostsRequest>>,
    ) -> Result<Response<UploadPostsResponse>, Status> {
        let (mut messages, seen) = (request.into_inner(), self.seen.clone());
        let reading = self.tasks.spawn(async move {
            loop {
                let (event, goes_on) = match messages.message().await {
                    Ok(Some(_)) => ("a message", true),
                    Ok(None) => ("the end", false),
                    Err(_) => ("cut off", false),
                };
                seen.send(event).await.unwrap();
                if !goes_on {
                    return;
                }
            }
        });
        reading.await.unwrap();
        Ok(Response::new(UploadPostsResponse::default()))
    }

    type TagFeedStream = BoxStream<'static, Result<FeedMessage, Status>>;

    async fn tag_feed(
        &self,
        _: Request<Streaming<TagFeedRequest>>,
    ) -> Result<Response<Self::TagFeedStream>, Status> {
        unreachable!("this is about uploads")
    }
}

#[tokio::test]
async fn an_upload_that_is_reset_or_cut_never_looks_like_one_that_has_ended() {
    let (seen, mut sees) = mpsc::channel(1);
    let uploads = Uploads { seen, tasks: TaskTracker::new() };
    let service = HttpService::new(Routes::new(PostServiceServer::new(uploads)).prepare());
    let upload = async || {
        let io = pipe_to(service.clone()).await;
        let mut client = RawClient::connect(io, frame(SETTINGS, 0, 0, vec![])).await;
        client.send(call(1, "/post.v1.PostService/UploadPosts", &[])).await;
        client.send(message(1, &post_request(post("p", &[])), 0)).await;
        client
    };
    const NO_ERROR: u32 = 0;
    for code in [CANCEL, NO_ERROR] {
        let mut client = upload().await;
        assert_eq!(soon(sees.recv()).await, Some("a message"));
        client.send(reset(1, code)).await;
        assert_eq!(soon(sees.recv()).await, Some("cut off"), "with code {code}");
    }
    let client = upload().await;
    assert_eq!(soon(sees.recv()).await, Some("a message"));
    drop(client);
    assert_eq!(soon(sees.recv()).await, Some("cut off"));

    let mut client = upload().await;
    client.send(message(1, &post_request(post("q", &[])), END_STREAM)).await;
    for expected in ["a message", "a message", "the end"] {
        assert_eq!(soon(sees.recv()).await, Some(expected));
    }
}
