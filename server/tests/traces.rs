//! Traces: a collector gets one trace for a client's call, through the Post service to the User
//! service.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)] // test code

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::{Span, status::StatusCode},
};
use quartet::post::v1::{
    ListPostsByUserIdRequest, PostMessage, UploadFinish, UploadPostsRequest,
    post_service_client::PostServiceClient, upload_posts_request::Payload,
};
use quartet_client::{Channel, connect};
use quartet_connection::{self as connection, Routes};
use quartet_server::{chain::Chain, settings::Settings};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

/// A collector that forwards the spans that it receives.
struct Collector(mpsc::Sender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        for span in resources.flat_map(|all| all.scope_spans).flat_map(|scope| scope.spans) {
            self.0.send(span).await.unwrap();
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Starts a collector. Returns its URL and its spans.
async fn collector() -> (String, mpsc::Receiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (spans, sent) = mpsc::channel(1024);
    let service = Chain::default().around(Routes::new(TraceServiceServer::new(Collector(spans))));
    tokio::task::spawn(connection::serve(
        listener,
        service,
        Settings::default().connections,
        CancellationToken::new(),
    ));
    (url, sent)
}

/// A server process. It is killed when it is dropped.
struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.args(args).args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let endpoint = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, endpoint }
    }

    /// Sends SIGINT and returns how long the server takes to end.
    async fn stop(mut self) -> Duration {
        let began = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let ended = async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, ended).await.unwrap();
        began.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Uploads a post of sample user 1, which the Post service looks up at the User service.
async fn upload(channel: Channel) {
    let post = PostMessage {
        post_id: "p1".to_owned(),
        user_id: "1".to_owned(),
        title: "title".to_owned(),
        body: "body".to_owned(),
        ..PostMessage::default()
    };
    let messages = [Payload::PostMessage(post), Payload::Finish(UploadFinish { post_count: 1 })];
    let messages = messages.map(|payload| UploadPostsRequest { payload: Some(payload) });
    let mut client = PostServiceClient::new(channel);
    client.upload_posts(tokio_stream::iter(messages)).await.unwrap();
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(flavor = "multi_thread")]
async fn one_call_is_one_trace_from_its_client_through_post_to_user() {
    let (url, mut sent) = collector().await;
    let users = Server::start(&["--serve", "user", "--otlp", &url]);
    let post = ["--serve", "post", "--ephemeral", "--otlp", &url, "--user-endpoint"];
    let posts = Server::start(&[&post[..], &[&users.endpoint]].concat());

    let channel = connect(&posts.endpoint).unwrap();
    upload(channel.clone().with_trace_context(PARENT.parse().unwrap())).await;
    let mut client = PostServiceClient::new(channel);
    let no_user = ListPostsByUserIdRequest::default();
    client.list_posts_by_user_id(no_user).await.unwrap_err();
    // Remaining spans are sent at the end.
    posts.stop().await;
    users.stop().await;

    let mut spans = Vec::new();
    sent.close();
    while let Some(span) = timeout(SOON, sent.recv()).await.unwrap() {
        spans.push(span);
    }
    let find = |name: &str, kind: i32| {
        let found = spans.iter().find(|span| span.name == name && span.kind == kind);
        found.unwrap_or_else(|| panic!("no {name}: {spans:#?}"))
    };
    let (server, client) = (2, 3);
    let upload = find("post.v1.PostService/UploadPosts", server);
    let asks = find("user.v1.UserService/GetUser", client);
    let answers = find("user.v1.UserService/GetUser", server);
    assert_eq!(hex(&upload.parent_span_id), "b7ad6b7169203331");
    assert_eq!(asks.parent_span_id, upload.span_id);
    assert_eq!(answers.parent_span_id, asks.span_id);
    for span in [upload, asks, answers] {
        assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        let mut keys: Vec<_> = span.attributes.iter().map(|one| &*one.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["rpc.grpc.status_code", "rpc.method", "rpc.system"], "{}", span.name);
    }
    // A call without a trace context begins a new trace. The caller's mistake is not an error of
    // the server's span.
    let refused = find("post.v1.PostService/ListPostsByUserId", server);
    assert_ne!(refused.trace_id, upload.trace_id);
    let status = refused.status.clone().unwrap_or_default();
    assert_ne!(status.code, StatusCode::Error as i32);
    let code = refused.attributes.iter().find(|one| one.key == "rpc.grpc.status_code");
    assert!(format!("{code:?}").contains("IntValue(3)"), "{code:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_delays_neither_calls_nor_shutdown() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    // It takes connections and never answers.
    let server = Server::start(&["--ephemeral", "--otlp", &url]);
    upload(connect(&server.endpoint).unwrap()).await;
    let took = server.stop().await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn an_invalid_collector_url_is_an_error_at_the_start() {
    let output = Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["--ephemeral", "--listen", "127.0.0.1:0", "--otlp", "not a url"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.starts_with("error: --otlp: "), "{error}");
}
