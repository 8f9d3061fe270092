//! The chain: every call has an id and ends once in the access log, however it ends, and no user
//! can use up what all users share.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::{Ready, ready},
    num::NonZeroU32,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message as _;
use quartet::{
    health::v1::{HealthCheckRequest, health_client::HealthClient},
    post::v1::{
        JoinTags, ListPostsRequest, TagFeedRequest, post_service_client::PostServiceClient,
        tag_feed_request::Payload as Asked, tag_feed_response::Payload as Told,
    },
    reason,
};
use quartet_connection::{HttpService, RequestBody, Routes};
use quartet_server::{
    auth::Caller,
    chain::Chain,
    layers::limits::{CallLimits, Limits},
    settings::{ObservabilitySettings, Settings},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, body::Body, server::NamedService};
use tonic_types::StatusExt as _;
use tower::{ServiceExt as _, service_fn};
use tracing_subscriber::filter::LevelFilter;

use crate::{
    recover,
    support::{
        Client, TestServer, after, assert_refused, follow, list, listed, log::Log, next, page,
        post_request, posts, raw, reaches, server::serve_routes, soon, strings, until_end, upload,
    },
};

const PAGE: &str = "/post.v1.PostService/ListPostsByUserId";
const LIST: &str = "/post.v1.PostService/ListPosts";
const UPLOAD: &str = "/post.v1.PostService/UploadPosts";
const UNKNOWN: &str = "/post.v1.PostService/NoSuchMethod";

#[tokio::test]
async fn every_call_is_logged_once_with_what_it_sent_and_received() {
    let (log, _guard) = Log::collect(LevelFilter::INFO);
    let server = TestServer::start().await;
    let mut client = server.posts();

    upload(&mut client, posts("p", 3, &["a"])).await.unwrap();
    let batches = listed(&mut client, ListPostsRequest::default()).await.unwrap();
    page(&mut client, "1", after(-1)).await.unwrap_err();
    raw::status_of(&server.channel(), UNKNOWN, vec![raw::framed(b"")]).await;

    let mut in_time = Request::new(follow());
    in_time.set_timeout(Duration::from_millis(50));
    let stream = soon(client.list_posts(in_time)).await.unwrap().into_inner();
    until_end(stream).await.1.unwrap_err();

    let mut abandoned = list(&mut client, follow()).await.unwrap();
    next(&mut abandoned).await;
    drop(abandoned);
    reaches(&server.gauges().streams, 0).await;

    let calls = log.reaches(6).await;
    let outcomes: Vec<_> = calls.iter().map(|call| call.outcome()).collect();
    assert_eq!(
        outcomes,
        [
            (UPLOAD, "OK", ""),
            (LIST, "OK", ""),
            (PAGE, "INVALID_ARGUMENT", reason::INVALID_REQUEST),
            (UNKNOWN, "UNIMPLEMENTED", reason::UNKNOWN_METHOD),
            (LIST, "DEADLINE_EXCEEDED", reason::DEADLINE_EXCEEDED),
            (LIST, "CANCELLED", ""),
        ]
    );
    let [uploaded, listed, ..] = &calls[..] else { unreachable!() };
    assert_eq!((uploaded.number("received"), uploaded.number("sent")), (4, 1), "{uploaded:?}");
    assert_eq!(listed.number("received"), 1);
    assert_eq!(listed.number("sent"), batches.len() as u64);
    let bytes: usize = batches.iter().map(prost::Message::encoded_len).sum();
    assert_eq!(listed.number("sent_bytes"), bytes as u64);
    for call in &calls {
        assert!(call.field("peer").starts_with("127.0.0.1:"), "{call:?}");
        assert_eq!(call.field("request_id").len(), 16, "{call:?}");
        assert!(call.field("took").ends_with('s'), "{call:?}");
    }
    server.stop().await;
}

/// Such a response has no `grpc-status`; gRPC's http-grpc-status-mapping makes UNKNOWN of it.
#[tokio::test]
async fn a_request_that_is_not_grpc_is_logged_as_unknown() {
    let (log, _guard) = Log::collect(LevelFilter::INFO);
    let server = TestServer::start().await;
    let request = http::Request::get(PAGE).header("content-type", "application/grpc");
    let request = request.body(Body::empty()).unwrap();
    let refused = soon(server.channel().oneshot(request)).await.unwrap_err();
    assert!(refused.message().contains("405"), "{refused:?}");
    let calls = log.reaches(1).await;
    assert_eq!(calls[0].outcome(), (PAGE, "UNKNOWN", ""));
    server.stop().await;
}

#[tokio::test]
async fn every_message_of_a_feed_is_counted_whichever_way_it_was_sent() {
    let (log, _guard) = Log::collect(LevelFilter::INFO);
    let server = TestServer::start().await;
    let (ask, requests) = mpsc::channel(1);
    let join = JoinTags { tags: strings(&["a"]), from_oldest: true, ..JoinTags::default() };
    ask.send(TagFeedRequest { payload: Some(Asked::Join(join)) }).await.unwrap();
    let feed = server.posts().tag_feed(ReceiverStream::new(requests)).await;
    let mut feed = feed.unwrap().into_inner();
    let (mut messages, mut bytes, mut posts_seen) = (0, 0, 0);
    let mut uploader = server.posts();
    for n in 0..5 {
        upload(&mut uploader, posts(&format!("p{n}-"), 2, &["a"])).await.unwrap();
        while posts_seen < 2 * (n + 1) {
            let message = next(&mut feed).await;
            (messages, bytes) = (messages + 1, bytes + message.encoded_len());
            posts_seen += match message.payload {
                Some(Told::Posts(batch)) => batch.post_messages.len(),
                _ => 0,
            };
        }
    }
    drop(ask);
    for message in until_end(feed).await.0 {
        (messages, bytes) = (messages + 1, bytes + message.encoded_len());
    }
    let calls = log.reaches(6).await;
    let feed = calls.iter().find(|call| call.method.ends_with("TagFeed")).unwrap();
    assert_eq!((feed.field("status"), feed.number("received")), ("OK", 1));
    assert_eq!((feed.number("sent"), feed.number("sent_bytes")), (messages, bytes as u64));
    server.stop().await;
}

/// A service that ends every call with a status: in the response headers, or in trailers.
#[derive(Clone)]
struct Says {
    status: Status,
    in_trailers: bool,
}

impl NamedService for Says {
    const NAME: &'static str = "some.Service";
}

impl tower::Service<http::Request<RequestBody>> for Says {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<RequestBody>) -> Self::Future {
        let mut trailers = HeaderMap::new();
        self.status.add_header(&mut trailers).unwrap();
        let trailers = futures::stream::iter([Ok::<_, Status>(Frame::trailers(trailers))]);
        ready(Ok(match self.in_trailers {
            true => http::Response::builder()
                .header("content-type", "application/grpc")
                .body(Body::new(StreamBody::new(trailers)))
                .unwrap(),
            false => self.status.clone().into_http(),
        }))
    }
}

/// A status belongs to the handler that made it, also if a server of this suite would use another
/// or add details.
#[tokio::test]
async fn the_chain_passes_on_what_a_handler_says() {
    for code in (1..17).map(Code::from_i32) {
        for message in ["", "the handler's own words"] {
            for in_trailers in [false, true] {
                let mut status = Status::new(code, message);
                status.metadata_mut().insert("left", "3".parse().unwrap());
                let service = Says { status, in_trailers };
                let (channel, _served) =
                    serve_routes(Chain::default().around(Routes::new(service)));
                let seen = raw::status_of(&channel, "/some.Service/Method", vec![]).await;
                assert_eq!((seen.code(), seen.message()), (code, message));
                assert_eq!(seen.metadata().get("left").unwrap(), "3", "{seen:?}");
                assert_eq!(seen.details(), b"", "{seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_abandoned_upload_is_logged() {
    let (log, _guard) = Log::collect(LevelFilter::INFO);
    let server = TestServer::start().await;
    let (messages, requests) = mpsc::channel(4);
    messages.send(post_request(posts("p", 1, &["a"]).remove(0))).await.unwrap();
    let mut client = server.posts();
    let uploading = client.upload_posts(ReceiverStream::new(requests));
    // The server has begun the call and waits for more.
    let waits = async {
        reaches(&server.gauges().streams, 1).await;
        while server.posts().list_posts(ListPostsRequest::default()).await.is_err() {}
    };
    tokio::select! {
        ended = uploading => panic!("{ended:?}"),
        () = waits => {}
    }
    reaches(&server.gauges().streams, 0).await;
    let calls = log.ended();
    let uploads: Vec<_> = calls.iter().filter(|call| call.method == UPLOAD).collect();
    let [upload] = uploads[..] else { panic!("{calls:?}") };
    assert_eq!((upload.field("status"), upload.number("sent")), ("CANCELLED", 0));
    server.stop().await;
}

#[tokio::test]
async fn a_panic_is_internal_in_the_access_log_too() {
    let (log, _guard) = Log::collect(LevelFilter::DEBUG);
    let (mut client, _served) = recover::serve();
    page(&mut client, "bug", None).await.unwrap_err();
    until_end(list(&mut client, ListPostsRequest::default()).await.unwrap()).await.1.unwrap_err();
    let calls = log.reaches(2).await;
    let outcomes: Vec<_> = calls
        .iter()
        .map(|call| (&*call.method, call.field("status"), call.number("sent")))
        .collect();
    assert_eq!(outcomes, [(PAGE, "INTERNAL", 0), (LIST, "INTERNAL", 2)]);
}

#[tokio::test]
async fn single_messages_and_internal_or_health_calls_are_logged_at_debug_only() {
    for (level, at_debug) in [(LevelFilter::INFO, false), (LevelFilter::DEBUG, true)] {
        let (log, _guard) = Log::collect(level);
        let server = TestServer::start().await;
        let mut health = HealthClient::new(server.channel());
        health.check(HealthCheckRequest::default()).await.unwrap();
        upload(&mut server.posts(), posts("p", 2, &["a"])).await.unwrap();
        log.reaches(1).await;
        server.stop().await;
        let text = log.text();
        let lines_of = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!(
            lines_of("/grpc.health.v1.Health/Check status=OK"),
            usize::from(at_debug),
            "{text}"
        );
        assert_eq!(lines_of("UploadPosts received"), if at_debug { 3 } else { 0 }, "{text}");
        assert_eq!(lines_of("UploadPosts sent"), usize::from(at_debug), "{text}");
        // The Post service calls the User service, in this process.
        assert_eq!(lines_of("UserService/GetUser status=OK") > 0, at_debug, "{text}");
    }
}

#[tokio::test]
async fn every_response_carries_a_request_id_even_after_a_panic() {
    let server = TestServer::start().await;
    let (panicking, _served) = recover::serve_channel();
    let bug = raw::framed(
        &quartet::post::v1::ListPostsByUserIdRequest {
            user_id: "bug".to_owned(),
            resume_after: None,
        }
        .encode_to_vec(),
    );
    let none = raw::framed(b"");
    for (channel, path, body) in [
        (server.channel(), LIST, &none),
        (server.channel(), PAGE, &none),
        (server.channel(), UNKNOWN, &none),
        (panicking, PAGE, &bug),
    ] {
        let id_of = async |given: Option<&str>| {
            let header = given.map(|id| ("x-request-id", HeaderValue::from_str(id).unwrap()));
            let headers: HeaderMap = header
                .into_iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value))
                .collect();
            let answered = raw::headers_of(&channel, path, headers, vec![body.clone()]).await;
            answered["x-request-id"].to_str().unwrap().to_owned()
        };
        assert_eq!(id_of(Some("job-7.retry:2")).await, "job-7.retry:2", "{path}");
        let made = [id_of(None).await, id_of(None).await, id_of(Some("two words")).await];
        for id in &made {
            assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{path}: {id}");
        }
        assert_ne!(made[0], made[1], "{path}");
    }
    server.stop().await;
}

/// A server at which every caller is authenticated as this user before the chain.
fn serve_as(user_id: &'static str, chain: &Chain) -> (Client, JoinHandle<()>) {
    let chained = chain.around(recover::routes());
    let service = HttpService::new(service_fn(move |mut request: http::Request<RequestBody>| {
        request.extensions_mut().insert(Caller {
            user_id: user_id.into(),
            scopes: Default::default(),
            expires: None,
        });
        chained.call(request)
    }));
    let (channel, served) = serve_routes(service);
    (Client::new(channel), served)
}

#[tokio::test]
async fn an_authenticated_user_is_logged_and_has_its_own_limits() {
    let (log, _guard) = Log::collect(LevelFilter::DEBUG);
    let limits = CallLimits { max_calls_per_second: NonZeroU32::new(1), ..CallLimits::default() };
    let chain = Chain { limits: Limits::new(limits), ..Chain::default() };
    let [mut ann, mut bob] = ["ann", "bob"].map(|user| serve_as(user, &chain).0);
    page(&mut ann, "1", None).await.unwrap();
    let refused = page(&mut ann, "1", None).await;
    assert_refused(refused, Code::ResourceExhausted, reason::RATE_LIMITED);
    page(&mut bob, "1", None).await.unwrap();
    let calls = log.reaches(3).await;
    let lines: Vec<_> =
        calls.iter().map(|call| (call.field("user"), call.field("status"))).collect();
    assert_eq!(lines, [("ann", "OK"), ("ann", "RESOURCE_EXHAUSTED"), ("bob", "OK")]);
}

#[tokio::test]
async fn a_client_call_carries_its_request_id_deadline_and_trace() {
    let (heads, mut called) = mpsc::channel(8);
    let refuse = move |request: http::Request<RequestBody>| {
        let heads = heads.clone();
        async move {
            heads.send(request.headers().clone()).await.unwrap();
            Ok::<_, std::convert::Infallible>(
                Status::invalid_argument("no").into_http::<tonic::body::Body>(),
            )
        }
    };
    let (plain, _served) = serve_routes(HttpService::new(service_fn(refuse)));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let marked = plain.clone().with_trace_context(trace.parse().unwrap());
    let bounded = plain.clone().with_deadline(Instant::now() + Duration::from_secs(5));
    let mut carried = Vec::new();
    for channel in [plain.clone(), plain, marked, bounded] {
        PostServiceClient::new(channel).list_posts(ListPostsRequest::default()).await.unwrap_err();
        carried.push(soon(called.recv()).await.unwrap());
    }
    let of = |name: &str| -> Vec<String> {
        let value =
            |headers: &HeaderMap| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        carried.iter().map(|headers| value(headers).unwrap_or_default()).collect()
    };
    let names = of("x-request-id");
    assert!(names.iter().all(|name| name.len() == 16), "{names:?}");
    assert_eq!(BTreeSet::from_iter(&names).len(), 4, "{names:?}");
    let traces = of("traceparent");
    assert_eq!(traces[2], trace);
    let [one, again, ..] = &traces[..] else { unreachable!() };
    assert_eq!(one[..35], again[..35], "calls of one channel are of one trace");
    assert_ne!(one[35..52], again[35..52], "each call has its own parent id");
    let timeouts = of("grpc-timeout");
    assert_eq!(timeouts[..3], ["", "", ""]);
    let left: u64 = timeouts[3].strip_suffix('m').unwrap().parse().unwrap();
    assert!((1..=5000).contains(&left), "{left}");
}

fn limited(limits: CallLimits) -> Settings {
    Settings { call_limits: limits, ..Settings::default() }
}

fn retry_delay(status: &Status) -> Duration {
    status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay)
        .expect("the call may be retried")
}

#[tokio::test]
async fn open_calls_are_limited_per_user_and_a_stream_counts_until_it_ends() {
    let most = NonZeroU32::new(2);
    let limits = CallLimits { max_open_calls: most, ..CallLimits::default() };
    let server = TestServer::with(limited(limits)).await;
    // The limit applies to the user, not to the connection.
    let mut clients = [server.posts(), server.posts(), server.posts()];
    let mut open = Vec::new();
    for client in &mut clients[..2] {
        let mut stream = list(client, follow()).await.unwrap();
        next(&mut stream).await;
        open.push(stream);
    }
    for _ in 0..3 {
        let refused = page(&mut clients[2], "1", None).await;
        let status = assert_refused(refused, Code::ResourceExhausted, reason::TOO_MANY_CALLS);
        assert!(retry_delay(&status) > Duration::ZERO);
    }
    let mut health = HealthClient::new(server.channel());
    health.check(HealthCheckRequest::default()).await.unwrap();

    open.pop();
    reaches(&server.gauges().streams, 1).await;
    page(&mut clients[2], "1", None).await.unwrap();
    open.clear();
    reaches(&server.gauges().streams, 0).await;
    for client in &mut clients[..2] {
        open.push(list(client, follow()).await.unwrap());
    }
    server.stop().await;
}

#[tokio::test]
async fn calls_per_second_are_limited_per_user_and_the_status_says_how_long_to_wait() {
    let most = NonZeroU32::new(2);
    let limits = CallLimits { max_calls_per_second: most, ..CallLimits::default() };
    let server = TestServer::with(limited(limits)).await;
    let mut client = server.posts();
    let refused = soon(async {
        loop {
            if let Err(status) = page(&mut client, "1", None).await {
                break status;
            }
        }
    })
    .await;
    let status =
        assert_refused(Err::<(), _>(refused), Code::ResourceExhausted, reason::RATE_LIMITED);
    let wait = retry_delay(&status);
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500), "{wait:?}");
    sleep(wait).await;
    page(&mut client, "1", None).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_the_chain_answers_like_one_with_it() {
    let (log, _guard) = Log::collect(LevelFilter::DEBUG);
    let observability = ObservabilitySettings { bare: true, ..Default::default() };
    let server = TestServer::with(Settings { observability, ..Settings::default() }).await;
    let mut client: Client = server.posts();
    upload(&mut client, posts("p", 3, &["a"])).await.unwrap();
    assert_eq!(listed(&mut client, ListPostsRequest::default()).await.unwrap().len(), 1);
    let status = raw::status_of(&server.channel(), UNKNOWN, vec![raw::framed(b"")]).await;
    assert_refused(Err::<(), _>(status), Code::Unimplemented, reason::UNKNOWN_METHOD);
    let mut in_time = Request::new(follow());
    in_time.set_timeout(Duration::from_millis(50));
    let stream = client.list_posts(in_time).await.unwrap().into_inner();
    let ended = timeout(Duration::from_secs(5), until_end(stream)).await.unwrap().1;
    assert_refused(ended, Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED);
    assert_eq!(log.text(), "");
    server.stop().await;
}
