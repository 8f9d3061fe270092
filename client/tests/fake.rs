//! A scripted server: the test accepts each call and answers it.
//!
//! A proxy between the server and its clients can cut every connection.

use std::{net::SocketAddr, time::Duration};

use async_stream::stream;
use futures::{Stream, stream::BoxStream};
use prost::Message as _;
use quartet::{
    encoded::{PostRef, append_create_time, encode_content},
    page::{FeedMessage, OutgoingPosts, Page, UploadMessage},
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, LogPosition, PostMessage, TagFeedRequest,
        TagFeedResponse, UploadPostsResponse,
        post_service_server::{PostService, PostServiceServer},
        tag_feed_request, tag_feed_response,
    },
    serve::Streaming,
};
use quartet_client::Channel;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// The id of the log that the fake claims to have.
pub const LOG_ID: &str = "log";

/// Fails the test if `work` takes longer than 20 s.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("the work ends within 20 s")
}

pub struct Fake {
    pub address: SocketAddr,
    calls: mpsc::Receiver<Call>,
    cut: broadcast::Sender<()>,
    _tasks: JoinSet<()>,
}

pub enum Call {
    Unary(UnaryCall),
    List(ListCall),
    Upload(UploadCall),
    Feed(FeedCall),
}

impl Fake {
    pub async fn start() -> Self {
        let (service, calls) = mpsc::channel(16);
        let (cut, _) = broadcast::channel(1);
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, server_address) = (proxy.local_addr().unwrap(), server.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let service = PostServiceServer::new(Service(service));
            let incoming = TcpIncoming::from(server);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        tasks.spawn(forward(proxy, server_address, cut.clone()));
        Self { address, calls, cut, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn channel(&self) -> Channel {
        quartet_client::connect(&self.url()).unwrap()
    }

    /// Cuts every connection. Messages sent just before may not have arrived.
    pub fn cut(&self) {
        self.cut.send(()).expect("a connection to cut");
    }

    async fn accept(&mut self) -> Call {
        within(self.calls.recv()).await.expect("the fake runs")
    }

    pub async fn accept_unary(&mut self) -> UnaryCall {
        let Call::Unary(call) = self.accept().await else { panic!("another call") };
        call
    }

    pub async fn accept_list(&mut self) -> ListCall {
        let Call::List(call) = self.accept().await else { panic!("another call") };
        call
    }

    pub async fn accept_upload(&mut self) -> UploadCall {
        let Call::Upload(call) = self.accept().await else { panic!("another call") };
        call
    }

    /// Accepts a feed and sends its headers.
    pub async fn accept_feed(&mut self) -> FeedCall {
        let mut call = self.accept_feed_without_headers().await;
        call.send_headers();
        call
    }

    pub async fn accept_feed_without_headers(&mut self) -> FeedCall {
        let Call::Feed(call) = self.accept().await else { panic!("another call") };
        call
    }
}

async fn forward(proxy: TcpListener, server: SocketAddr, cut: broadcast::Sender<()>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut client, _) = proxy.accept().await.unwrap();
        let mut cut = cut.subscribe();
        connections.spawn(async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = cut.recv() => {}
            }
        });
    }
}

pub struct UnaryCall {
    pub request: ListPostsByUserIdRequest,
    pub answer: oneshot::Sender<Result<Page, Status>>,
}

pub struct ListCall {
    pub request: ListPostsRequest,
    answers: mpsc::Sender<Result<Page, Status>>,
}

impl ListCall {
    pub async fn send(&self, sequences: &[i64], position: i64, complete: bool) {
        self.answers.send(Ok(page(sequences, position, complete))).await.unwrap();
    }

    /// Ends with a status. Dropping the call ends it OK.
    pub async fn fail(self, status: Status) {
        self.answers.send(Err(status)).await.unwrap();
    }
}

pub struct UploadCall {
    pub requests: Streaming<UploadMessage>,
    pub answer: oneshot::Sender<Result<UploadPostsResponse, Status>>,
}

impl UploadCall {
    /// The ids of the next posts.
    pub async fn posts(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            match self.next().await {
                UploadMessage::Post(post) => {
                    ids.push(PostRef::decode(&post).unwrap().post_id.to_owned());
                }
                other => panic!("{other:?} after {ids:?}"),
            }
        }
        ids
    }

    /// The count in the finish, which must be the next and the last message.
    pub async fn finish(&mut self) -> i64 {
        let UploadMessage::Finish(finish) = self.next().await else { panic!("another post") };
        assert!(self.requests.message().await.unwrap().is_none());
        finish.post_count
    }

    async fn next(&mut self) -> UploadMessage {
        within(self.requests.message()).await.unwrap().expect("another message")
    }
}

pub struct FeedCall {
    requests: Streaming<TagFeedRequest>,
    answers: mpsc::Sender<Result<FeedMessage, Status>>,
    headers: Option<oneshot::Sender<()>>,
}

impl FeedCall {
    pub fn send_headers(&mut self) {
        self.headers.take().unwrap().send(()).unwrap();
    }

    pub async fn next(&mut self) -> tag_feed_request::Payload {
        let message = within(self.requests.message()).await.unwrap();
        message.expect("another request").payload.unwrap()
    }

    pub async fn is_half_closed(&mut self) -> bool {
        within(self.requests.message()).await.unwrap().is_none()
    }

    /// Whether the client sends nothing for now.
    pub async fn is_silent(&mut self) -> bool {
        let silence = Duration::from_millis(200);
        tokio::time::timeout(silence, self.requests.message()).await.is_err()
    }

    pub async fn send(&self, payload: tag_feed_response::Payload) {
        let message = FeedMessage::Other(TagFeedResponse { payload: Some(payload) });
        self.answers.send(Ok(message)).await.unwrap();
    }

    pub async fn send_posts(&self, sequences: &[i64], position: i64) {
        let posts = FeedMessage::Posts(page(sequences, position, false));
        self.answers.send(Ok(posts)).await.unwrap();
    }

    /// Sends a post as it was published, with its sequence.
    pub async fn send_own_post(&self, post: PostMessage, sequence: i64) {
        let mut posts = OutgoingPosts::default();
        add(&mut posts, &post, sequence);
        let page = Page { posts, position: position(sequence), flag: false };
        self.answers.send(Ok(FeedMessage::Posts(page))).await.unwrap();
    }

    /// Waits until the client has reset the call.
    pub async fn is_abandoned(&self) {
        self.answers.closed().await;
    }

    pub async fn fail(self, status: Status) {
        self.answers.send(Err(status)).await.unwrap();
    }
}

pub fn position(sequence: i64) -> LogPosition {
    LogPosition { log_id: LOG_ID.into(), sequence, chain: 0 }
}

/// Posts of user 1 with the title "post N" and the tag go.
pub fn page(sequences: &[i64], end: i64, flag: bool) -> Page {
    let mut posts = OutgoingPosts::default();
    sequences.iter().for_each(|sequence| add(&mut posts, &post(*sequence), *sequence));
    Page { posts, position: position(end), flag }
}

pub fn post(number: i64) -> PostMessage {
    PostMessage {
        post_id: format!("p{number}"),
        user_id: "1".into(),
        title: format!("post {number}"),
        tags: vec!["go".into()],
        ..Default::default()
    }
}

fn add(posts: &mut OutgoingPosts, post: &PostMessage, sequence: i64) {
    let (message, mut stored) = (post.encode_to_vec(), Vec::new());
    encode_content(&PostRef::decode(&message).unwrap(), &mut stored);
    append_create_time(&mut stored, &Default::default());
    posts.push(&stored, "Kim", sequence);
}

struct Service(mpsc::Sender<Call>);

impl Service {
    async fn pass_on(&self, call: Call) -> Result<(), Status> {
        self.0.send(call).await.map_err(|_| Status::internal("the test is over"))
    }
}

const UNANSWERED: &str = "the test dropped the call";

impl PostService for Service {
    type ListPostsStream = ReceiverStream<Result<Page, Status>>;
    type TagFeedStream = BoxStream<'static, Result<FeedMessage, Status>>;

    async fn list_posts_by_user_id(
        &self,
        request: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<Page>, Status> {
        let (answer, answered) = oneshot::channel();
        self.pass_on(Call::Unary(UnaryCall { request: request.into_inner(), answer })).await?;
        answered.await.map_err(|_| Status::internal(UNANSWERED))?.map(Response::new)
    }

    async fn list_posts(
        &self,
        request: Request<ListPostsRequest>,
    ) -> Result<Response<Self::ListPostsStream>, Status> {
        let (answers, stream) = mpsc::channel(16);
        self.pass_on(Call::List(ListCall { request: request.into_inner(), answers })).await?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn upload_posts(
        &self,
        request: Request<Streaming<UploadMessage>>,
    ) -> Result<Response<UploadPostsResponse>, Status> {
        let (answer, answered) = oneshot::channel();
        self.pass_on(Call::Upload(UploadCall { requests: request.into_inner(), answer })).await?;
        answered.await.map_err(|_| Status::internal(UNANSWERED))?.map(Response::new)
    }

    async fn tag_feed(
        &self,
        request: Request<Streaming<TagFeedRequest>>,
    ) -> Result<Response<Self::TagFeedStream>, Status> {
        let (answers, stream) = mpsc::channel(16);
        let (headers, send_headers) = oneshot::channel();
        let call = FeedCall { requests: request.into_inner(), answers, headers: Some(headers) };
        self.pass_on(Call::Feed(call)).await?;
        send_headers.await.map_err(|_| Status::internal(UNANSWERED))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// A stream of `items` that stays open after them.
pub fn and_then_silence<T: Send + 'static>(items: Vec<T>) -> impl Stream<Item = T> + Send {
    stream! {
        for item in items {
            yield item;
        }
        std::future::pending::<()>().await;
    }
}
