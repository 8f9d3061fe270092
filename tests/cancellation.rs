//! Cancellation and deadlines: a call that ends early frees everything it held, and a request that
//! was cut off never looks like a complete one.

use std::time::Duration;

use futures::stream::BoxStream;
use quartet::{
    page::{FeedMessage, Page, UploadMessage},
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, TagFeedRequest, UploadPostsResponse,
        post_service_server::{PostService, PostServiceServer},
    },
    reason,
    serve::Streaming,
};
use quartet_connection::HttpService;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Response, Status, service::Routes};

use crate::support::{
    Feed, TestServer, assert_refused, follow,
    http2::{CANCEL, END_STREAM, RawClient, SETTINGS, UPLOAD, call, frame, message, reset},
    list, next, post, post_request, reaches,
    server::pipe_to,
    soon, until_end,
};

/// A Post service that reports what it reads from uploads. It reads them in a task of its own, as a
/// handler does that outlives its caller: a dropped handler would read nothing more.
struct Uploads {
    seen: mpsc::Sender<&'static str>,
    tasks: TaskTracker,
}

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
        request: Request<Streaming<UploadMessage>>,
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
async fn a_reset_or_cut_upload_never_looks_like_a_complete_one() {
    let (seen, mut sees) = mpsc::channel(1);
    let uploads = Uploads { seen, tasks: TaskTracker::new() };
    let service = HttpService::new(Routes::new(PostServiceServer::new(uploads)).prepare());
    let upload = async || {
        let io = pipe_to(service.clone()).await;
        let mut client = RawClient::connect(io, frame(SETTINGS, 0, 0, vec![])).await;
        client.send(call(1, UPLOAD, &[])).await;
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

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_every_kind_of_call_on_both_sides_and_frees_everything_it_held() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    let timed = |request| {
        let mut request = Request::new(request);
        request.set_timeout(Duration::from_secs(5));
        request
    };
    let mut stream = client.list_posts(timed(follow())).await.unwrap().into_inner();
    next(&mut stream).await;
    let (messages, end) = until_end(stream).await;
    assert!(messages.is_empty());
    assert_refused(end, Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED);

    let mut request = Request::new(tokio_stream::pending());
    request.set_timeout(Duration::from_secs(5));
    let end = client.upload_posts(request).await.unwrap_err().code();
    // tonic's client checks the deadline too, and reports CANCELLED.
    assert!(matches!(end, Code::DeadlineExceeded | Code::Cancelled), "{end:?}");
    let mut request = Request::new(tokio_stream::pending());
    request.set_timeout(Duration::from_secs(5));
    let mut feed = client.tag_feed(request).await.unwrap().into_inner();
    let end = soon(feed.message()).await;
    assert_eq!(end.unwrap_err().code(), Code::DeadlineExceeded);
    only_connections_are_open(&server).await;
    server.stop().await;
}

/// Waits until only connections are open.
async fn only_connections_are_open(server: &TestServer) {
    reaches(&server.gauges().streams, 0).await;
    reaches(&server.gauges().cursors, 0).await;
}

#[tokio::test]
async fn a_cancelled_call_of_any_kind_frees_everything_it_held() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let stream = list(&mut client, follow()).await.unwrap();
    let feed = Feed::joined_to(&mut client, &["a"]).await;
    let (sender, receiver) = mpsc::channel(1);
    let mut uploader = client.clone();
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let uploading = tokio::task::spawn(async move { uploader.upload_posts(receiver).await });
    sender.send(post_request(post("p", &[]))).await.unwrap();
    reaches(&server.gauges().streams, 3).await;
    assert_eq!(server.gauges().cursors.get(), 2);
    uploading.abort();
    drop((stream, feed));
    only_connections_are_open(&server).await;
    server.stop().await;
}
