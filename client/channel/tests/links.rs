//! The life of a stream and of its connection: what a dropped response ends, what a dropped channel
//! does not, and how a dead link is noticed.

use std::{
    future::{pending, poll_fn},
    net::Ipv6Addr,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use h2::{Reason, RecvStream, server::SendResponse};
use http::{Request, Response, uri::PathAndQuery};
use quartet_channel::{Address, BoxedIo, CallError, Cause, Channel, keepalive::ClientParameters};
use quartet_wire::host_port::socket_address;
use tokio::{
    io::DuplexStream,
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;

use crate::world::{PATH, Text, unary};

/// A server behind a link that a test can freeze: nothing passes any more, and nothing closes.
struct Server {
    frozen: CancellationToken,
    /// Asks the server for a GOAWAY.
    drain: CancellationToken,
    /// The calls, whose heads were answered.
    calls: mpsc::Receiver<Call>,
    /// A message for each connection that has ended.
    ended: mpsc::Receiver<()>,
    channel: Option<Channel>,
}

struct Call {
    request: RecvStream,
    response: h2::SendStream<Bytes>,
}

impl Call {
    /// Waits for the client's RST_STREAM.
    async fn reset(&mut self) -> Reason {
        let reset = poll_fn(|cx| self.response.poll_reset(cx));
        timeout(Duration::from_secs(5), reset).await.expect("the client resets").unwrap()
    }
}

impl Server {
    fn start(keepalive: ClientParameters) -> Self {
        let (frozen, drain) = (CancellationToken::new(), CancellationToken::new());
        let (call_sender, calls) = mpsc::channel(8);
        let (end_sender, ended) = mpsc::channel(8);
        let (freeze, drained) = (frozen.clone(), drain.clone());
        let dial = move |_: Address| {
            let (client, near) = tokio::io::duplex(64 * 1024);
            let (far, io) = tokio::io::duplex(64 * 1024);
            let (calls, ended, drained) =
                (call_sender.clone(), end_sender.clone(), drained.clone());
            let freeze = freeze.clone();
            let mut tasks = JoinSet::new();
            tasks.spawn(link(near, far, freeze));
            tasks.spawn(async move {
                let _ = serve(io, calls, drained).await;
                let _ = ended.send(()).await;
            });
            tasks.detach_all();
            async move { Ok(Box::new(client) as BoxedIo) }
        };
        let target = "passthrough:///server".parse().unwrap();
        let channel = Some(Channel::builder(target).dialer(dial).keepalive(keepalive).build());
        Self { frozen, drain, calls, ended, channel }
    }

    /// Opens a bidirectional call.
    async fn open(
        &mut self,
        requests: impl futures::Stream<Item = Text> + Send + 'static,
    ) -> (Streaming<Text>, Call) {
        let mut client = Grpc::new(self.channel.clone().unwrap());
        client.ready().await.unwrap();
        let codec = ProstCodec::<Text, Text>::default();
        let path = PathAndQuery::from_static(PATH);
        let call = client.streaming(tonic::Request::new(requests), path, codec);
        let (response, call) = tokio::join!(call, self.calls.recv());
        (response.unwrap().into_inner(), call.unwrap())
    }
}

/// Forwards bytes until it is frozen.
async fn link(mut near: DuplexStream, mut far: DuplexStream, frozen: CancellationToken) {
    let forward = tokio::io::copy_bidirectional(&mut near, &mut far);
    if frozen.run_until_cancelled(forward).await.is_none() {
        pending().await // both ends stay open
    }
}

async fn serve(
    io: DuplexStream,
    calls: mpsc::Sender<Call>,
    drain: CancellationToken,
) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(io).await?;
    let mut is_draining = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = drain.cancelled(), if !is_draining => {
                is_draining = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        let _ = calls.send(begin(request, respond)).await;
    }
}

fn begin(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Call {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    Call { request: request.into_body(), response: respond.send_response(head, false).unwrap() }
}

fn pings(seconds: u64) -> ClientParameters {
    ClientParameters {
        time: Some(Duration::from_secs(seconds)),
        timeout: Duration::from_secs(20),
        permit_without_stream: false,
    }
}

/// hyper's client kept the stream for as long as the sender of requests lived.
#[tokio::test(start_paused = true)]
async fn dropping_a_response_resets_its_call_at_once_while_its_requests_go_on_elsewhere() {
    let mut server = Server::start(ClientParameters::default());
    let (sender, requests) = mpsc::channel::<Text>(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let (response, mut call) = server.open(requests).await;
    let begun = Instant::now();
    drop(response);
    assert_eq!(call.reset().await, Reason::CANCEL);
    assert!(begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
    timeout(Duration::from_secs(5), sender.closed()).await.expect("the requests end as well");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_response_resets_its_call_at_once_while_its_requests_wait_for_window() {
    let mut server = Server::start(ClientParameters::default());
    // The server grants 65,535 bytes and never more.
    let (response, mut call) = server.open(stream::repeat(Text { text: "x".repeat(10_000) })).await;
    let mut received = 0;
    while received < 65_535 {
        received += call.request.data().await.unwrap().unwrap().len();
    }
    drop(response);
    assert_eq!(call.reset().await, Reason::CANCEL);
}

async fn end_of(mut response: Streaming<Text>) -> Status {
    response.next().await.unwrap().unwrap_err()
}

/// grpc-go keeps a connection, and its keepalive, for as long as a stream is open on it.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_channel_was_dropped_notices_a_dead_link() {
    let mut server = Server::start(pings(10));
    let (response, _call) = server.open(stream::pending()).await;
    server.channel = None;
    let begun = Instant::now();
    let mut end = Box::pin(end_of(response));
    let quiet = timeout(Duration::from_secs(300), &mut end).await;
    assert!(quiet.is_err(), "pings are answered: {quiet:?}");
    server.frozen.cancel();
    let frozen = Instant::now();
    let status = timeout(Duration::from_secs(60), end).await.expect("the dead link is noticed");
    assert!(frozen.elapsed() <= Duration::from_secs(31), "{:?}", frozen.elapsed());
    assert!(matches!(Cause::of(&status), Some(Cause::Silent(_))), "{status:?}");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(matches!(CallError::from(status), CallError::Lost(_)));
    assert!(begun.elapsed() > Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn the_last_stream_of_a_connection_that_drains_notices_a_dead_link() {
    let mut server = Server::start(pings(10));
    let (response, _call) = server.open(stream::pending()).await;
    server.drain.cancel();
    let mut end = Box::pin(end_of(response));
    timeout(Duration::from_secs(5), &mut end).await.expect_err("the stream goes on");
    server.frozen.cancel();
    let status = timeout(Duration::from_secs(60), end).await.expect("the dead link is noticed");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_connection_closes_once_its_channel_and_its_streams_are_gone() {
    let mut server = Server::start(ClientParameters::default());
    let (response, _call) = server.open(stream::pending()).await;
    server.channel = None;
    let quiet = timeout(Duration::from_secs(5), server.ended.recv()).await;
    quiet.expect_err("a stream is open");
    drop(response);
    timeout(Duration::from_secs(5), server.ended.recv()).await.expect("the connection closes");

    let mut server = Server::start(ClientParameters::default());
    drop(server.open(stream::pending()).await);
    let quiet = timeout(Duration::from_secs(5), server.ended.recv()).await;
    quiet.expect_err("the channel keeps it");
    server.channel = None;
    timeout(Duration::from_secs(5), server.ended.recv()).await.expect("the connection closes");
}

/// A link-local address of this machine, and its interface.
fn link_local() -> Option<(Ipv6Addr, String)> {
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    interfaces.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let address = Ipv6Addr::from(u128::from_str_radix(fields[0], 16).ok()?);
        address.is_unicast_link_local().then(|| (address, fields[5].to_owned()))
    })
}

/// RFC 6874, section 4: a zone has no meaning outside of its machine. A server would find no such
/// host in `:authority`.
#[tokio::test]
async fn an_address_in_a_zone_is_reached_by_every_notation_and_the_zone_is_not_sent() {
    let Some((address, zone)) = link_local() else {
        return eprintln!("skipped: this machine has no link-local IPv6 address");
    };
    let listen = socket_address(&format!("[{address}%{zone}]:0")).unwrap();
    let listener = TcpListener::bind(listen).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let io = listener.accept().await.unwrap().0;
            let mut connection = h2::server::handshake(io).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let authority = request.uri().authority().unwrap().as_str();
                let head = Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "10")
                    .header("grpc-message", authority);
                respond.send_response(head.body(()).unwrap(), true).unwrap();
            }
        }
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("[{address}%{zone}]:{port}\n")).unwrap();
    for (target, authority) in [
        (format!("http://[{address}%25{zone}]:{port}"), format!("[{address}]:{port}")),
        (format!("http://[{address}%{zone}]:{port}"), format!("[{address}]:{port}")),
        (format!("dns:///[{address}%{zone}]:{port}"), format!("[{address}]:{port}")),
        (format!("ipv6:[{address}%25{zone}]:{port}"), format!("[{address}]:{port}")),
        (format!("file:{}", file.path().display()), "localhost".to_owned()),
    ] {
        let channel = Channel::builder(target.parse().unwrap()).build();
        let status = unary(&channel).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Aborted, &*authority), "{target}");
    }
}
