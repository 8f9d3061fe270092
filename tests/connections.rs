//! Connections: how long they live, how many may be open, and what ends them.
//!
//! The clock is paused and the peers are pipes in memory, so a test of two hours takes no time.

use std::{io, time::Duration};

use futures::StreamExt as _;
use quartet::{post::v1::ListPostsByUserIdRequest, reason};
use quartet_channel::keepalive::ClientParameters;
use quartet_client::{ListEvent, list_posts};
use quartet_connection::{Listener, keepalive::ServerParameters};
use quartet_server::settings::Settings;
use tokio::{
    io::{AsyncReadExt as _, DuplexStream},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tonic::Code;

use crate::support::{
    Feed, TestServer, assert_refused, follow,
    http2::{
        ACK, CANCEL, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, LIST, PING, RST_STREAM,
        RawClient, SETTINGS, UPLOAD, call, frame, message, reset, setting,
    },
    list, next, post, posts, reaches, sequence, soon, upload,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn with_parameters(keepalive: ServerParameters) -> TestServer {
    let mut settings = Settings::default();
    settings.connections.keepalive = keepalive;
    TestServer::in_memory_with(settings).await
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_streams_gets_a_goaway_after_max_connection_idle() {
    let idle = Some(10 * MINUTE);
    let server = with_parameters(ServerParameters {
        max_connection_idle: idle,
        ..ServerParameters::default()
    })
    .await;
    let since = Instant::now();
    let goaways = RawClient::open(&server).await.behave().await;
    assert_eq!(goaways.last().unwrap().code(), 0);
    assert!(since.elapsed() >= 10 * MINUTE && since.elapsed() < 11 * MINUTE);

    // With a stream the connection is not idle, however silent; without a stream it is.
    let mut client = server.posts();
    let stream = list(&mut client, follow()).await.unwrap();
    sleep(30 * MINUTE).await;
    assert_eq!(server.gauges().connections.get(), 1);
    drop(stream);
    sleep(11 * MINUTE).await;
    assert_eq!(server.gauges().connections.get(), 0);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_gets_a_goaway_within_ten_percent_of_its_max_age() {
    let server = with_parameters(ServerParameters {
        max_connection_age: Some(HOUR),
        ..ServerParameters::default()
    })
    .await;
    let mut ages = Vec::new();
    for _ in 0..20 {
        let since = Instant::now();
        let goaways = RawClient::open(&server).await.behave().await;
        assert_eq!(goaways[0].code(), 0);
        ages.push(since.elapsed());
    }
    assert!(ages.iter().all(|age| *age >= 54 * MINUTE && *age <= 66 * MINUTE + MINUTE), "{ages:?}");
    assert!(ages.iter().any(|age| age.abs_diff(ages[0]) > MINUTE), "{ages:?}");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_grace_an_old_connection_lives_until_its_streams_end() {
    let server = with_parameters(ServerParameters {
        max_connection_age: Some(HOUR),
        ..ServerParameters::default()
    })
    .await;
    let mut client = server.posts();
    let mut stream = list(&mut client, follow()).await.unwrap();
    next(&mut stream).await;
    sleep(3 * HOUR).await;
    // The old connection takes no new call, which goes to a new connection, while the stream
    // continues.
    upload(&mut client, [post("p", &[])]).await.unwrap();
    while next(&mut stream).await.post_messages.is_empty() {}
    assert_eq!(server.gauges().connections.get(), 2);
    drop(stream);
    sleep(MINUTE).await;
    assert_eq!(server.gauges().connections.get(), 1);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_grace_is_over_streams_end_resumable_with_max_age_and_the_connection_closes() {
    let server = with_parameters(ServerParameters {
        max_connection_age: Some(HOUR),
        max_connection_age_grace: Some(10 * MINUTE),
        ..ServerParameters::default()
    })
    .await;
    let since = Instant::now();
    let mut client = server.posts();
    let mut feed = Feed::joined_to(&mut client, &["a"]).await;
    let stream = list(&mut client, follow()).await.unwrap();
    let (messages, end) = timeout(2 * HOUR, until_end_slowly(stream)).await.unwrap();
    let status = assert_refused(end, Code::Unavailable, reason::MAX_AGE);
    assert!(status.message().contains("resume"));
    assert_eq!(sequence(&messages.last().unwrap().position), 0);
    assert_refused(feed.until_end().await, Code::Unavailable, reason::MAX_AGE);
    assert!(since.elapsed() >= 64 * MINUTE && since.elapsed() <= 77 * MINUTE);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(server.gauges().connections.get(), 0);
    server.stop().await;
}

/// Like `until_end`, but without its short timeout.
async fn until_end_slowly<T>(
    mut stream: tonic::Streaming<T>,
) -> (Vec<T>, Result<(), tonic::Status>) {
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(status) => return (messages, Err(status)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_after_time_and_closed_after_timeout() {
    let server = with_parameters(ServerParameters {
        time: HOUR,
        timeout: MINUTE,
        ..ServerParameters::default()
    })
    .await;
    let mut client = RawClient::open(&server).await;
    let since = Instant::now();
    let pinged = client.next_of(PING).await;
    assert!(!pinged.is_ack() && since.elapsed() >= HOUR);
    client.rest().await;
    let elapsed = since.elapsed();
    assert!(elapsed >= HOUR + MINUTE && elapsed < HOUR + 2 * MINUTE, "{elapsed:?}");

    // A peer that answers stays connected.
    let mut honest = RawClient::open(&server).await;
    for _ in 0..3 {
        let pinged = honest.next_of(PING).await;
        honest.send(frame(PING, ACK, 0, pinged.payload)).await;
    }
    assert_eq!(server.gauges().connections.get(), 1);
    drop(honest);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_preface_or_settings_a_connection_is_closed_after_ten_seconds() {
    let server = TestServer::in_memory().await;
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for sent in [b"".as_slice(), &preface[..11], preface] {
        let mut client = RawClient::silent(server.pipe(1024).await);
        client.bytes(sent).await;
        let since = Instant::now();
        client.rest().await;
        assert_eq!(since.elapsed().as_secs(), 10, "{sent:?}");
    }
    // The ten seconds cover both together.
    let mut slow = RawClient::silent(server.pipe(1024).await);
    let since = Instant::now();
    sleep(Duration::from_secs(9)).await;
    slow.bytes(preface).await;
    slow.rest().await;
    assert_eq!(since.elapsed().as_secs(), 10);
    server.stop().await;
}

#[tokio::test]
async fn one_address_may_have_64_unfinished_connections_and_any_number_of_finished_ones() {
    let server = TestServer::start().await;
    let mut finished = Vec::new();
    for _ in 0..80 {
        let mut client = server.posts();
        soon(client.list_posts_by_user_id(ListPostsByUserIdRequest {
            user_id: "1".to_owned(),
            ..ListPostsByUserIdRequest::default()
        }))
        .await
        .unwrap();
        finished.push(client);
    }
    let mut silent = Vec::new();
    for _ in 0..65 {
        silent.push(TcpStream::connect(server.address()).await.unwrap());
    }
    // The server sends no SETTINGS before a peer's preface, so a rejected connection shows as
    // closed.
    let mut last = silent.pop().unwrap();
    let end = soon(last.read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert_eq!(server.gauges().connections.get(), 80 + 64);
    drop(silent);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_beyond_max_connections_is_closed_at_once_and_one_that_ends_makes_room() {
    let mut settings = Settings::default();
    settings.connections.max_connections = 2;
    let server = TestServer::in_memory_with(settings).await;
    let mut first = RawClient::open(&server).await;
    first.next_of(SETTINGS).await;
    let mut second = RawClient::open(&server).await;
    second.next_of(SETTINGS).await;
    let mut third = RawClient::silent(server.pipe(1024).await);
    let since = Instant::now();
    assert!(third.rest().await.is_empty());
    assert_eq!(since.elapsed(), Duration::ZERO);
    drop(first);
    reaches(&server.gauges().connections, 1).await;
    RawClient::open(&server).await.next_of(SETTINGS).await;
    drop(second);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_257th_stream_is_refused_and_the_256_before_it_continue() {
    const REFUSED_STREAM: u32 = 7;
    let server = TestServer::in_memory().await;
    let mut client = RawClient::open(&server).await;
    let ids = (0..256).map(|n| 2 * n + 1);
    for id in ids {
        client.send(call(id, UPLOAD, &[])).await;
    }
    client.send(call(513, UPLOAD, &[])).await;
    let refused = client.next_of(RST_STREAM).await;
    assert_eq!((refused.stream, refused.code()), (513, REFUSED_STREAM));
    assert_eq!(server.gauges().streams.get(), 256);
    // One stream ends, and another may begin.
    client.send(reset(1, CANCEL)).await;
    reaches(&server.gauges().streams, 255).await;
    client.send(call(515, UPLOAD, &[])).await;
    reaches(&server.gauges().streams, 256).await;
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn request_headers_beyond_16_kib_are_refused_and_the_connection_survives() {
    let server = TestServer::in_memory().await;
    let mut client = RawClient::open(&server).await;
    let value = "v".repeat(126);
    let more: Vec<_> = (0..130).map(|_| ("x", &*value)).collect();
    // A frame holds no more than that, so the block continues in another.
    let mut block = call(1, UPLOAD, &more).payload;
    let rest = block.split_off(16_000);
    client.send(frame(HEADERS, END_STREAM, 1, block)).await;
    client.send(frame(CONTINUATION, END_HEADERS, 1, rest)).await;
    let answer = client.next_of(HEADERS).await;
    assert_eq!(answer.stream, 1);
    // `:status` with a Huffman-coded "431": request header fields too large.
    assert_eq!(answer.payload[..5], [0x48, 0x83, 0x69, 0x90, 0xff]);
    client.send(call(3, UPLOAD, &[])).await;
    reaches(&server.gauges().streams, 1).await;
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_drains_in_time_despite_silent_half_open_and_unread_connections() {
    let server = TestServer::in_memory().await; // its drain timeout is 10 s
    let mut attached = Vec::new();
    for _ in 0..20 {
        attached.push(RawClient::silent(server.pipe(1024).await));
        attached.push(RawClient::open(&server).await); // never answers a GOAWAY
        let mut reader = RawClient::open_with(&server, 1024, setting(4, 10)).await;
        reader.send(call(1, LIST, &[])).await;
        reader.send(message(1, &follow(), END_STREAM)).await;
        attached.push(reader); // reads nothing
    }
    let since = Instant::now();
    server.stop().await;
    assert!(since.elapsed() <= Duration::from_secs(11), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_notices_a_dead_link_within_time_plus_timeout_and_its_stream_resumes() {
    let server = TestServer::in_memory().await;
    upload(&mut server.posts(), posts("p", 3, &[])).await.unwrap();
    let keepalive = ClientParameters {
        time: Some(15 * SECOND),
        timeout: 5 * SECOND,
        ..ClientParameters::default()
    };
    let (channel, link) = server.fragile_channel(keepalive);
    let mut events = std::pin::pin!(list_posts(channel, follow()));
    let mut received = 0;
    while received < 3 {
        if let ListEvent::Batch(batch) = events.next().await.unwrap().unwrap() {
            received += batch.post_messages.len();
        }
    }
    link.break_silently();
    let since = Instant::now();
    loop {
        match events.next().await.unwrap().unwrap() {
            ListEvent::Disconnected(_) => break,
            other => assert!(matches!(other, ListEvent::Batch(_)), "{other:?}"),
        }
    }
    let elapsed = since.elapsed();
    assert!(elapsed >= 15 * SECOND && elapsed <= 25 * SECOND, "{elapsed:?}");
    upload(&mut server.posts(), [post("q", &[])]).await.unwrap();
    while received < 4 {
        if let ListEvent::Batch(batch) = events.next().await.unwrap().unwrap() {
            received += batch.post_messages.len();
        }
    }
    server.stop().await;
}

/// A listener whose accept fails for a while, as when file descriptors have run out.
struct Exhausted(mpsc::Sender<Instant>);

impl Listener for Exhausted {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Option<DuplexStream>> {
        self.0.send(Instant::now()).await.unwrap();
        Err(io::Error::other("too many open files"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_accept_is_retried_after_a_pause_that_grows_to_a_second() {
    let (sender, mut tries) = mpsc::channel(1);
    let served = quartet_server::server::serve(
        Exhausted(sender),
        Settings::default(),
        std::future::pending(),
    );
    let trying = async {
        let mut last = tries.recv().await.unwrap();
        for expected in [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            let next = tries.recv().await.unwrap();
            let pause = (next - last).as_millis();
            // The resolution of the test clock is a millisecond.
            assert!(pause.abs_diff(expected) <= 1, "{pause} ms instead of {expected}");
            last = next;
        }
    };
    tokio::select! {
        _ = served => panic!("the server ended"),
        () = trying => {}
    }
}
