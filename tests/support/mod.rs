//! What the tests share: a server on a port of its own, and short words for what they do with it.

use std::{net::SocketAddr, time::Duration};

use futures::Stream;
use quartet::post::v1::{
    ListPostsRequest, ListPostsResponse, PostMessage, UploadFinish, UploadPostsRequest,
    UploadPostsResponse, post_service_client::PostServiceClient, upload_posts_request::Payload,
};
use quartet_server::{
    config::Config,
    server::{Server, ServerError},
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

/// Longer than anything here takes: a test that waits for so long has failed.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("this should have happened by now")
}

/// A server in this process, on a port of its own. It stops when it is dropped.
pub struct TestServer {
    pub address: SocketAddr,
    stop: DropGuard,
    served: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    /// A server with its log in memory and nothing in it.
    pub async fn start() -> Self {
        Self::with(Config::ephemeral()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::on("127.0.0.1:0", config).await
    }

    pub async fn on(address: &str, config: Config) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = Server::open(config).await.unwrap();
        let served = tokio::task::spawn(server.serve(listener, stop.clone().cancelled_owned()));
        Self { address, stop: stop.drop_guard(), served }
    }

    /// A new connection.
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    /// A client on a new connection.
    pub fn posts(&self) -> PostServiceClient<Channel> {
        PostServiceClient::new(self.channel())
    }

    /// Stops the server as a signal would, and waits until nothing of it runs.
    pub async fn stop(self) -> Result<(), ServerError> {
        drop(self.stop);
        soon(self.served).await.unwrap()
    }
}

/// A post of sample user 1.
pub fn post(post_id: impl Into<String>, tags: &[&str]) -> PostMessage {
    let post_id = post_id.into();
    PostMessage {
        title: format!("title of {post_id}"),
        body: "body".to_owned(),
        tags: tags.iter().map(ToString::to_string).collect(),
        user_id: "1".to_owned(),
        post_id,
        ..PostMessage::default()
    }
}

/// An upload of these posts, with its finish.
pub fn upload_of(
    posts: impl IntoIterator<Item = PostMessage>,
) -> impl Stream<Item = UploadPostsRequest> {
    let mut messages: Vec<Payload> = posts.into_iter().map(Payload::PostMessage).collect();
    messages.push(Payload::Finish(UploadFinish { post_count: messages.len() as i64 }));
    tokio_stream::iter(
        messages.into_iter().map(|payload| UploadPostsRequest { payload: Some(payload) }),
    )
}

pub async fn upload(
    client: &mut PostServiceClient<Channel>,
    posts: impl IntoIterator<Item = PostMessage, IntoIter: Send + 'static>,
) -> Result<UploadPostsResponse, Status> {
    let messages = upload_of(posts.into_iter().collect::<Vec<_>>());
    soon(client.upload_posts(messages)).await.map(tonic::Response::into_inner)
}

pub async fn list(
    client: &mut PostServiceClient<Channel>,
    request: ListPostsRequest,
) -> Result<Streaming<ListPostsResponse>, Status> {
    soon(client.list_posts(request)).await.map(tonic::Response::into_inner)
}

/// Everything that a stream sends until it ends.
pub async fn all<T>(mut stream: Streaming<T>) -> Result<Vec<T>, Status> {
    let mut messages = Vec::new();
    while let Some(message) = soon(stream.message()).await? {
        messages.push(message);
    }
    Ok(messages)
}
