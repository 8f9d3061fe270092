//! Serves ordinary tonic services: with interceptors, layers of tower, deadlines and a drain, over
//! memory and unix sockets.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)] // test code

use std::{io, os::unix::fs::MetadataExt as _, time::Duration};

use futures::{TryStreamExt as _, stream};
use http::Uri;
use hyper_util::rt::TokioIo;
use quartet_connection::{
    ConnectionGauges, Generated, HttpService, Peer, PeerAddress, RequestBody, Routes, Settings,
    Stop,
    listener::{
        memory::{self, Connector},
        unix,
    },
    serve,
};
use quartet_runtime::gauge::Gauge;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Code, Request, Status,
    body::Body,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use tower::{Layer as _, ServiceBuilder, service_fn, util::MapRequestLayer};

use echo::{Echo, EchoClient, Word};

#[path = "../examples/plain_tonic/echo.rs"]
mod echo;

const SOON: Duration = Duration::from_secs(20);

/// A server in memory. It drains when the guard is dropped.
struct Server {
    connector: Connector,
    drain: DropGuard,
    served: JoinHandle<()>,
}

impl Server {
    fn of(service: HttpService) -> Self {
        Self::with(service, Settings::default())
    }

    fn with(service: HttpService, settings: Settings) -> Self {
        let (connector, listener) = memory::listen();
        let drain = CancellationToken::new();
        let served = tokio::spawn(serve(listener, service, settings, drain.clone()));
        Self { connector, drain: drain.drop_guard(), served }
    }

    async fn client(&self) -> EchoClient {
        let connector = self.connector.clone();
        EchoClient::new(
            channel(move || {
                let connector = connector.clone();
                async move { connector.connect().await }
            })
            .await,
        )
    }

    async fn stop(self) {
        drop(self.drain);
        timeout(SOON, self.served).await.unwrap().unwrap();
    }
}

/// A channel of tonic over connections that are opened like this.
async fn channel<F, IO>(open: impl Fn() -> F + Send + 'static) -> Channel
where
    F: Future<Output = io::Result<IO>> + Send + 'static,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connect = service_fn(move |_: Uri| {
        let opening = open();
        async move { Ok::<_, io::Error>(TokioIo::new(opening.await?)) }
    });
    Endpoint::from_static("http://in.memory").connect_with_connector(connect).await.unwrap()
}

/// The settings, and the counts of what is open with them.
fn counted(settings: Settings) -> (Settings, ConnectionGauges) {
    let gauges = settings.gauges.clone();
    (settings, gauges)
}

async fn reaches(gauge: &Gauge, count: usize) {
    let reached = async {
        while gauge.get() != count {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, reached).await.unwrap();
}

fn word(text: &str) -> Request<Word> {
    Request::new(Word::new(text))
}

fn code<T>(result: Result<T, Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn a_service_with_an_interceptor_is_served_behind_it() {
    let named = |request: Request<()>| match request.metadata().contains_key("name") {
        true => Ok(request),
        false => Err(Status::unauthenticated("who are you?")),
    };
    let server = Server::of(HttpService::new(Routes::new(InterceptedService::new(Echo, named))));
    let mut client = server.client().await;
    assert_eq!(code(client.once(word("a")).await), Code::Unauthenticated);
    let mut request = word("a");
    request.metadata_mut().insert("name", "ann".parse().unwrap());
    assert_eq!(client.once(request).await.unwrap().into_inner().text, "a");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn layers_of_tower_fit_around_routes_and_around_the_whole_service() {
    let add = |name: &'static str| {
        MapRequestLayer::new(move |mut request: http::Request<RequestBody>| {
            request.headers_mut().insert(name, "1".parse().unwrap());
            request
        })
    };
    let both = |request: Request<()>| {
        let metadata = request.metadata();
        match metadata.contains_key("inner") && metadata.contains_key("outer") {
            true => Ok(request),
            false => Err(Status::internal("a layer is missing")),
        }
    };
    let routes = Routes::new(InterceptedService::new(Echo, both));
    let service = HttpService::new(add("inner").layer(routes));
    let service = HttpService::new(ServiceBuilder::new().layer(add("outer")).service(service));
    let server = Server::of(service);
    let mut client = server.client().await;
    assert_eq!(code(client.once(word("a")).await), Code::Ok);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented() {
    let server = Server::of(HttpService::new(Routes::default()));
    let mut client = server.client().await;
    assert_eq!(code(client.once(word("a")).await), Code::Unimplemented);
    drop(client);
    server.stop().await;
}

/// PROTOCOL-HTTP2, "Requests": a page in a browser may send such requests to any server.
#[tokio::test]
async fn what_is_not_a_grpc_request_is_refused_and_reaches_no_handler() {
    let server = Server::of(HttpService::new(Routes::new(InterceptedService::new(Echo, |_| {
        panic!("it runs")
    }))));
    let io = server.connector.connect().await.unwrap();
    let (mut requests, connection) = h2::client::handshake(io).await.unwrap();
    let calling = async {
        for (method, kind, status) in [
            ("GET", "application/grpc", 405),
            ("OPTIONS", "application/grpc", 405),
            ("DELETE", "application/grpc", 405),
            ("POST", "text/plain", 415),
            ("POST", "application/grpc-web+proto", 415),
        ] {
            let request = http::Request::builder()
                .method(method)
                .uri("http://in.memory/plain.Echo/Once")
                .header("content-type", kind)
                .body(())
                .unwrap();
            let (response, _) = requests.send_request(request, true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), status, "{method} {kind}");
            assert!(!response.headers().contains_key("grpc-status"));
        }
    };
    tokio::select! {
        () = calling => {}
        ended = connection => panic!("{ended:?}"),
    }
    drop(requests);
    server.stop().await;
}

/// The status of a call with these headers and this body. Not by tonic's client, which ends calls
/// at their deadlines itself, and sends one message where a method takes one.
async fn status_of(
    connector: &Connector,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &[u8],
) -> Status {
    let (mut requests, connection) =
        h2::client::handshake(connector.connect().await.unwrap()).await.unwrap();
    let request = http::Request::post(format!("http://in.memory{path}"))
        .header("content-type", "application/grpc");
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let calling = async {
        let (response, mut sending) =
            requests.send_request(request.body(()).unwrap(), false).unwrap();
        sending.send_data(body.to_vec().into(), true).unwrap();
        let (head, mut body) = response.await.unwrap().into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return status;
        }
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
        Status::from_header_map(&body.trailers().await.unwrap().unwrap()).unwrap()
    };
    tokio::select! {
        status = calling => status,
        ended = connection => panic!("{ended:?}"),
    }
}

/// gRPC's statuscodes: cardinality violations are UNIMPLEMENTED. tonic alone says INTERNAL to none,
/// and takes the first of two.
#[tokio::test]
async fn a_generated_method_that_takes_one_message_refuses_none_and_two() {
    const ONCE: &str = "/plain.Echo/Once";
    let echo = Generated::new(Echo).single_requests([ONCE, "/plain.Echo/Letters"]);
    let server = Server::of(HttpService::new(Routes::new(echo)));
    let message = b"\0\0\0\0\x03\x0a\x01a";
    for path in [ONCE, "/plain.Echo/Letters", "/plain.Echo/Joined", "/plain.Echo/Each"] {
        let takes_one = [ONCE, "/plain.Echo/Letters"].contains(&path);
        for (count, expected) in [(0, Code::Unimplemented), (1, Code::Ok), (2, Code::Unimplemented)]
        {
            let expected = if takes_one { expected } else { Code::Ok };
            let status = status_of(&server.connector, path, &[], &message.repeat(count)).await;
            assert_eq!(status.code(), expected, "{path} with {count}: {status:?}");
        }
    }
    server.stop().await;
}

/// gRPC's statuscodes: a message over the limit is RESOURCE_EXHAUSTED. tonic alone says
/// OUT_OF_RANGE, in a head or in trailers.
#[tokio::test]
async fn a_message_over_the_limit_of_a_generated_service_is_resource_exhausted_in_every_kind() {
    let server = Server::of(HttpService::new(Routes::new(Generated::new(Echo))));
    let head_of_5_mib = b"\0\0\x50\0\0";
    for method in ["Once", "Letters", "Joined", "Each"] {
        let path = format!("/plain.Echo/{method}");
        let status = status_of(&server.connector, &path, &[], head_of_5_mib).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{method}: {status:?}");
    }
    server.stop().await;
}

/// A handler that refuses by itself.
#[derive(Clone)]
struct Ranged;

impl tonic::server::NamedService for Ranged {
    const NAME: &'static str = "plain.Ranged";
}

impl tower::Service<http::Request<RequestBody>> for Ranged {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<RequestBody>) -> Self::Future {
        std::future::ready(Ok(Status::out_of_range("the handler's own words").into_http()))
    }
}

#[tokio::test]
async fn a_status_of_a_generated_services_handler_is_not_replaced() {
    let server = Server::of(HttpService::new(Routes::new(Generated::new(Ranged))));
    let status = status_of(&server.connector, "/plain.Ranged/Any", &[], b"").await;
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, "the handler's own words"));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_before_its_response_and_within_its_stream() {
    let server = Server::of(HttpService::new(Routes::new(Echo)));
    for path in ["/plain.Echo/Once", "/plain.Echo/Letters"] {
        let since = Instant::now();
        let code = async |timeout| {
            let wait = b"\0\0\0\0\x06\x0a\x04wait";
            let headers = [("grpc-timeout", timeout)];
            status_of(&server.connector, path, &headers, wait).await.code()
        };
        assert_eq!(code("60S").await, Code::DeadlineExceeded);
        assert_eq!(since.elapsed().as_secs(), 60, "{path}");
        assert_eq!(code("soon").await, Code::InvalidArgument);
    }
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_outlives_the_drain_timeout_is_cut() {
    let drain_timeout = Duration::from_secs(60);
    let (settings, gauges) = counted(Settings { drain_timeout, ..Settings::default() });
    let server = Server::with(HttpService::new(Routes::new(Echo)), settings);
    let mut client = server.client().await;
    let mut letters = client.letters(word("wait")).await.unwrap().into_inner();
    let once = tokio::spawn(async move { client.once(word("wait")).await });
    reaches(&gauges.streams, 2).await;
    let since = Instant::now();
    let Server { drain, served, connector: _ } = server;
    drop(drain);
    served.await.unwrap();
    assert_eq!(since.elapsed().as_secs(), 61, "the drain timeout, and a second to say so");
    assert_ne!(code(letters.message().await), Code::Ok);
    let refused = once.await.unwrap().unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "the server is shutting down")
    );
}

#[tokio::test]
async fn a_stream_that_listens_to_its_stop_ends_with_its_status_when_the_server_drains() {
    let until_stopped = service_fn(|request: http::Request<RequestBody>| async move {
        let stop = Stop::of(request.extensions());
        stop.due().await;
        Ok::<_, Status>(stop.status().into_http::<Body>())
    });
    let (settings, gauges) = counted(Settings::default());
    let server = Server::with(HttpService::new(until_stopped), settings);
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.once(word("a")).await });
    reaches(&gauges.streams, 1).await;
    drop(server.drain);
    assert_eq!(code(call.await.unwrap()), Code::Unavailable);
    timeout(SOON, server.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_of_a_listener_that_ends_go_on() {
    let server = Server::of(HttpService::new(Routes::new(Echo)));
    let mut client = {
        let io = std::sync::Mutex::new(Some(server.connector.connect().await.unwrap()));
        EchoClient::new(
            channel(move || {
                let io = io.lock().unwrap().take();
                async move { io.ok_or(io::ErrorKind::ConnectionRefused.into()) }
            })
            .await,
        )
    };
    let Server { connector, drain, served } = server;
    drop(connector);
    let words = ["a", "b"].map(Word::new);
    let joined = client.joined(stream::iter(words.clone())).await.unwrap();
    assert_eq!(joined.into_inner().text, "a b");
    let each = client.each(stream::iter(words.clone())).await.unwrap().into_inner();
    assert_eq!(each.try_collect::<Vec<_>>().await.unwrap(), words);
    drop(client);
    timeout(SOON, served).await.expect("it ends with its last connection").unwrap();
    drop(drain);
}

#[tokio::test]
async fn a_unix_socket_is_served_and_removed_and_its_peer_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = unix::bind(&path).await.unwrap();
    let uid_only = service_fn(|request: http::Request<RequestBody>| async move {
        let PeerAddress::Unix { uid: Some(uid) } = Peer::of(request.extensions()).address else {
            return Err(Status::internal("no user"));
        };
        Ok(Status::aborted(uid.to_string()).into_http::<Body>())
    });
    let drain = CancellationToken::new();
    let service = HttpService::new(uid_only);
    let served = tokio::spawn(serve(listener, service, Settings::default(), drain.clone()));
    let socket = path.clone();
    let mut client = EchoClient::new(channel(move || UnixStream::connect(socket.clone())).await);
    let status = client.once(word("a")).await.unwrap_err();
    let owner = std::fs::metadata(&path).unwrap().uid();
    assert_eq!((status.code(), status.message()), (Code::Aborted, &*owner.to_string()));
    drop(client);
    drain.cancel();
    timeout(SOON, served).await.unwrap().unwrap();
    assert!(!path.exists());
}
