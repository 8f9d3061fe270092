//! Panics: the caller gets INTERNAL, never a successful end, and the connection survives.

use futures::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream},
};
use quartet::{
    page::{FeedMessage, Page, UploadMessage},
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, TagFeedRequest, UploadPostsResponse,
        post_service_server::{PostService, PostServiceServer},
    },
    reason,
    serve::Streaming,
};
use quartet_client::Channel;
use quartet_connection::Routes;
use quartet_server::chain::Chain;
use tokio::{sync::mpsc, task::JoinHandle};
use tonic::{Code, Request, Response, Status};

use crate::support::{
    Client, Feed, assert_refused, listed, page, posts, server::serve_routes, soon, until_end,
    upload,
};

/// A Post service full of bugs.
struct Panicking;

/// A stream of two messages that panics in place of the third.
fn two<T: Default + Send + 'static>() -> BoxStream<'static, Result<T, Status>> {
    let messages = stream::iter(0..3).then(|n| async move {
        tokio::task::yield_now().await; // as a stream that waits, so that earlier messages leave
        assert!(n < 2, "a bug in the middle of a stream");
        Ok(T::default())
    });
    messages.boxed()
}

impl PostService for Panicking {
    async fn list_posts_by_user_id(
        &self,
        request: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<Page>, Status> {
        assert_ne!(request.get_ref().user_id, "bug", "a bug before the headers");
        Ok(Response::new(Page::default()))
    }

    type ListPostsStream = BoxStream<'static, Result<Page, Status>>;

    async fn list_posts(
        &self,
        _: Request<ListPostsRequest>,
    ) -> Result<Response<Self::ListPostsStream>, Status> {
        Ok(Response::new(two()))
    }

    async fn upload_posts(
        &self,
        request: Request<Streaming<UploadMessage>>,
    ) -> Result<Response<UploadPostsResponse>, Status> {
        let first = request.into_inner().message().await?;
        panic!("a bug in the middle of an upload, after {first:?}");
    }

    type TagFeedStream = BoxStream<'static, Result<FeedMessage, Status>>;

    async fn tag_feed(
        &self,
        request: Request<Streaming<TagFeedRequest>>,
    ) -> Result<Response<Self::TagFeedStream>, Status> {
        let mut requests = request.into_inner();
        let bug = async move {
            let first = requests.message().await;
            panic!("a bug in a feed, after {first:?}");
        };
        Ok(Response::new(bug.into_stream().boxed()))
    }
}

/// A client of the service, on one connection, and the task that serves it.
pub fn serve() -> (Client, JoinHandle<()>) {
    let (channel, served) = serve_channel();
    (Client::new(channel), served)
}

/// The connection alone.
pub fn serve_channel() -> (Channel, JoinHandle<()>) {
    serve_routes(Chain::default().around(routes()))
}

pub fn routes() -> Routes {
    Routes::new(PostServiceServer::new(Panicking))
}

#[tokio::test]
async fn a_handler_that_panics_before_its_headers_is_internal_and_the_connection_lives_on() {
    let (mut client, _served) = serve();
    for _ in 0..3 {
        let outcome = page(&mut client, "bug", None).await;
        assert_refused(outcome, Code::Internal, reason::INTERNAL);
        page(&mut client, "no bug", None).await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_panics_in_the_middle_is_internal_after_what_it_sent() {
    let (mut client, _served) = serve();
    let stream = client.list_posts(ListPostsRequest::default()).await.unwrap().into_inner();
    let (messages, end) = until_end(stream).await;
    assert_eq!(messages.len(), 2);
    assert_refused(end, Code::Internal, reason::INTERNAL);
    page(&mut client, "no bug", None).await.unwrap();
}

#[tokio::test]
async fn an_upload_and_a_feed_that_panic_are_internal() {
    let (mut client, _served) = serve();
    let outcome = upload(&mut client, posts("p", 3, &[])).await;
    assert_refused(outcome, Code::Internal, reason::INTERNAL);
    let mut feed = Feed::open(&mut client).await;
    feed.join(&["a"]).await;
    assert_refused(feed.until_end().await, Code::Internal, reason::INTERNAL);
    page(&mut client, "no bug", None).await.unwrap();
}

#[tokio::test]
async fn a_panic_does_not_reach_the_other_streams_of_its_connection() {
    let (mut client, _served) = serve();
    let (requests, receiver) = mpsc::channel::<TagFeedRequest>(1);
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut feed = soon(client.tag_feed(receiver)).await.unwrap().into_inner();
    for _ in 0..10 {
        let status = listed(&mut client, ListPostsRequest::default()).await;
        assert_refused(status, Code::Internal, reason::INTERNAL);
    }
    assert!(feed.message().now_or_never().is_none(), "the feed is open");
    drop(requests);
    assert_refused(soon(feed.message()).await, Code::Internal, reason::INTERNAL);
}
