//! Connections: how long they live, how often peers may ping, what a flood gets, and what a stalled stream costs.
//!
//! The clock is paused and the peers are pipes in memory, so a test of two hours takes none.

use std::{io, time::Duration};

use quartet::{
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, post_service_client::PostServiceClient,
    },
    reason,
};
use quartet_server::{
    config::Config,
    connection::Listener,
    keepalive::{EnforcementPolicy, ServerParameters},
};
use tokio::{
    io::DuplexStream,
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Request};

use crate::support::{
    Feed, TestServer, assert_refused,
    http2::{
        ACK, CANCEL, DATA, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS, PING, PRIORITY,
        RST_STREAM, RawClient, SETTINGS, call, frame, message, ping, reset, setting, window_update,
    },
    large_post, list, next, post, posts, sequence, soon, until_end, upload,
};

const LIST: &str = "/post.v1.PostService/ListPosts";
const PAGE: &str = "/post.v1.PostService/ListPostsByUserId";
const UPLOAD: &str = "/post.v1.PostService/UploadPosts";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn with_parameters(keepalive: ServerParameters) -> TestServer {
    TestServer::in_memory_with(Config { keepalive, ..Config::ephemeral() }).await
}

async fn raw(server: &TestServer) -> RawClient {
    RawClient::connect(server.pipe(64 * 1024).await, frame(SETTINGS, 0, 0, vec![])).await
}

/// A raw client with a followed list, whose first answer it has read.
async fn raw_reader(server: &TestServer) -> RawClient {
    let mut client = raw(server).await;
    client.send(call(1, LIST, &[])).await;
    let follow = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    client.send(message(1, &follow, END_STREAM)).await;
    client.next_of(HEADERS).await;
    client.next_of(DATA).await;
    client
}

fn follow() -> ListPostsRequest {
    ListPostsRequest { follow: true, ..ListPostsRequest::default() }
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
    let goaways = raw(&server).await.behave().await;
    assert_eq!(goaways.last().unwrap().code(), 0);
    assert!(since.elapsed() >= 10 * MINUTE && since.elapsed() < 11 * MINUTE);

    // With a stream it is not idle, however silent; without it, it is.
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
async fn a_connection_gets_a_goaway_at_its_age_give_or_take_a_tenth() {
    let server = with_parameters(ServerParameters {
        max_connection_age: Some(HOUR),
        ..ServerParameters::default()
    })
    .await;
    let mut ages = Vec::new();
    for _ in 0..20 {
        let since = Instant::now();
        let goaways = raw(&server).await.behave().await;
        assert_eq!(goaways[0].code(), 0);
        ages.push(since.elapsed());
    }
    assert!(ages.iter().all(|age| *age >= 54 * MINUTE && *age <= 66 * MINUTE + MINUTE), "{ages:?}");
    assert!(ages.iter().any(|age| age.abs_diff(ages[0]) > MINUTE), "{ages:?}");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_without_a_grace_lives_until_its_streams_end() {
    let server = with_parameters(ServerParameters {
        max_connection_age: Some(HOUR),
        ..ServerParameters::default()
    })
    .await;
    let mut client = server.posts();
    let mut stream = list(&mut client, follow()).await.unwrap();
    next(&mut stream).await;
    sleep(3 * HOUR).await;
    // It takes no new call, and the stream goes on.
    upload(&mut client, [post("p", &[])]).await.unwrap_err();
    let mut writer = server.posts();
    upload(&mut writer, [post("p", &[])]).await.unwrap();
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

/// Like `until_end`, which is for what happens soon.
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
async fn a_peer_that_was_silent_for_time_is_pinged_and_closed_after_timeout() {
    let server = with_parameters(ServerParameters {
        time: HOUR,
        timeout: MINUTE,
        ..ServerParameters::default()
    })
    .await;
    let mut client = raw(&server).await;
    let since = Instant::now();
    let pinged = client.next_of(PING).await;
    assert!(!pinged.is_ack() && since.elapsed() >= HOUR);
    client.rest().await;
    let elapsed = since.elapsed();
    assert!(elapsed >= HOUR + MINUTE && elapsed < HOUR + 2 * MINUTE, "{elapsed:?}");

    // One that answers stays.
    let mut honest = raw(&server).await;
    for _ in 0..3 {
        let pinged = honest.next_of(PING).await;
        honest.send(frame(PING, ACK, 0, pinged.payload)).await;
    }
    assert_eq!(server.gauges().connections.get(), 1);
    drop(honest);
    server.stop().await;
}

/// Sends pings, this far apart, and returns which of them was one too many, with the GOAWAY.
async fn pings_until_goaway(client: &mut RawClient, apart: Duration) -> (usize, Frame) {
    for count in 1..50 {
        client.send(ping()).await;
        loop {
            let Some(next) = client.next().await else { panic!("it ended without a GOAWAY") };
            match next.kind {
                GOAWAY => return (count, next),
                PING if next.is_ack() => break,
                _ => {}
            }
        }
        sleep(apart).await;
    }
    panic!("fifty pings were taken");
}

#[tokio::test(start_paused = true)]
async fn a_third_ping_too_soon_gets_enhance_your_calm_and_too_many_pings() {
    let server = TestServer::in_memory().await;
    let mut client = raw_reader(&server).await;
    // The first is free, and three more are three strikes.
    let (count, goaway) = pings_until_goaway(&mut client, Duration::from_secs(1)).await;
    assert_eq!((count, goaway.code(), goaway.debug()), (4, ENHANCE_YOUR_CALM, "too_many_pings"));
    assert_eq!(goaway.last_stream(), 1);
    assert!(client.rest().await.is_empty(), "it is closed");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pings_are_fine_at_min_time_with_a_stream_and_every_two_hours_without_one() {
    let enforcement = EnforcementPolicy { min_time: MINUTE, permit_without_stream: false };
    let config = Config { enforcement, ..Config::ephemeral() };
    let server = TestServer::in_memory_with(config).await;
    let ping_on = async |client: &mut RawClient, apart: Duration| {
        for _ in 0..20 {
            client.send(ping()).await;
            // It answers the server's own pings meanwhile.
            assert!(timeout(apart, client.behave()).await.is_err(), "it was closed");
        }
    };
    let mut upload = raw(&server).await;
    upload.send(call(1, UPLOAD, &[])).await; // a stream on which the server sends nothing
    ping_on(&mut upload, MINUTE).await;
    let mut idle = raw(&server).await;
    ping_on(&mut idle, 2 * HOUR).await;
    let mut hasty = raw(&server).await;
    let (count, goaway) = pings_until_goaway(&mut hasty, MINUTE).await;
    assert_eq!((count, goaway.debug()), (4, "too_many_pings"));
    drop((upload, idle));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn clients_without_streams_may_ping_at_min_time_if_they_are_permitted_to() {
    let enforcement = EnforcementPolicy { min_time: MINUTE, permit_without_stream: true };
    let server = TestServer::in_memory_with(Config { enforcement, ..Config::ephemeral() }).await;
    let mut client = raw(&server).await;
    for _ in 0..20 {
        client.send(ping()).await;
        assert!(timeout(MINUTE, client.behave()).await.is_err(), "it was closed");
    }
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_the_server_sends_on_a_stream_forgives_all_strikes() {
    let server = TestServer::in_memory().await;
    let mut client = raw_reader(&server).await;
    let mut writer = server.posts();
    for n in 0..30 {
        client.send(ping()).await;
        while !client.next_of(PING).await.is_ack() {}
        upload(&mut writer, [post(format!("p{n}"), &[])]).await.unwrap();
        client.next_of(DATA).await;
    }
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_frames_that_do_nothing_ends_within_a_thousand() {
    type Flood = fn(u32) -> Vec<Frame>;
    // By what it is ended: by the guard, or by h2 itself.
    let floods: [(&str, Flood, &str); 9] = [
        ("settings", |_| vec![frame(SETTINGS, 0, 0, vec![])], "too_many_control_frames"),
        ("window sizes", |n| vec![setting(4, 65_535 + n % 2)], "too_many_control_frames"),
        (
            "priorities",
            |_| vec![frame(PRIORITY, 0, 1, vec![0, 0, 0, 3, 9])],
            "too_many_control_frames",
        ),
        ("window updates", |_| vec![window_update(0, 1)], "too_many_window_updates"),
        ("unknown", |_| vec![frame(0xbe, 0, 0, vec![1, 2, 3])], "too_many_control_frames"),
        ("acks of pings", |_| vec![frame(PING, ACK, 0, vec![1; 8])], "too_many_control_frames"),
        ("empty data", |_| vec![frame(DATA, 0, 1, vec![])], ""),
        (
            "streams that are reset",
            |n| vec![call(2 * n + 3, PAGE, &[]), reset(2 * n + 3, CANCEL)],
            "too_many_resets",
        ),
        ("pings", |_| vec![ping()], "too_many_pings"),
    ];
    for (name, frames, rule) in floods {
        let server = TestServer::in_memory().await;
        let mut client = RawClient::connect(
            server.pipe(1 << 20).await, // nobody reads the answers meanwhile
            frame(SETTINGS, 0, 0, vec![]),
        )
        .await;
        client.send(call(1, UPLOAD, &[])).await;
        let flood = (0..).flat_map(frames).take(1000);
        for (sent, frame) in flood.enumerate() {
            client.send(frame).await;
            // In small batches: more at once is what h2 counts by itself.
            if sent % 20 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let goaways = soon(client.behave()).await;
        let goaway = goaways.last().unwrap_or_else(|| panic!("{name} were taken"));
        assert_eq!(goaway.code(), ENHANCE_YOUR_CALM, "{name}");
        assert!(goaway.debug().contains(rule), "{name}: {}", goaway.debug());
        server.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_preface_or_settings_a_connection_is_closed_after_ten_seconds() {
    let server = TestServer::in_memory().await;
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for said in [b"".as_slice(), &preface[..11], preface] {
        let mut client = RawClient::silent(server.pipe(1024).await);
        client.bytes(said).await;
        let since = Instant::now();
        client.rest().await;
        assert_eq!(since.elapsed().as_secs(), 10, "{said:?}");
    }
    // Ten seconds for both together.
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
    // The server says its SETTINGS to nobody before their preface; it closes what it does not take.
    let mut last = silent.pop().unwrap();
    let end = soon(tokio::io::AsyncReadExt::read(&mut last, &mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert_eq!(server.gauges().connections.get(), 80 + 64);
    drop(silent);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_grants_no_window_for_30_s_is_reset_and_resumes_from_its_position() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    upload(&mut client, (0..200).map(|n| large_post(format!("p{n}"), &[], 2000))).await.unwrap();
    let mut narrow = PostServiceClient::new(server.narrow_channel());
    let mut stalled = list(&mut narrow, follow()).await.unwrap();
    let first = next(&mut stalled).await;
    let mut other = list(&mut narrow, ListPostsRequest::default()).await.unwrap();
    next(&mut other).await;
    let since = Instant::now();
    while server.gauges().cursors.get() > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(
        since.elapsed() >= Duration::from_secs(30) && since.elapsed() < Duration::from_secs(31)
    );
    let (_, end) = until_end(stalled).await;
    assert_eq!(end.unwrap_err().code(), Code::ResourceExhausted);
    let resume_after = first.position;
    let request = ListPostsRequest { resume_after, ..ListPostsRequest::default() };
    assert!(!next(&mut list(&mut client, request).await.unwrap()).await.post_messages.is_empty());
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_is_reset_with_enhance_your_calm_on_its_own_stream_alone() {
    let server = TestServer::in_memory().await;
    upload(&mut server.posts(), posts("p", 200, &[])).await.unwrap();
    let mut client = RawClient::connect(server.pipe(1 << 20).await, setting(4, 10)).await; // a window of 10 bytes
    client.send(call(1, LIST, &[])).await;
    client.send(message(1, &follow(), END_STREAM)).await;
    client.send(call(3, UPLOAD, &[])).await;
    let since = Instant::now();
    let ended = client.next_of(RST_STREAM).await;
    assert_eq!((ended.stream, ended.code()), (1, ENHANCE_YOUR_CALM));
    assert_eq!(since.elapsed().as_secs(), 30);
    assert_eq!((server.gauges().streams.get(), server.gauges().cursors.get()), (1, 0));
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_grants_window_and_reads_nothing_is_cut_after_30_s_to_a_minute() {
    let server = TestServer::in_memory().await;
    upload(&mut server.posts(), (0..20).map(|n| large_post(format!("p{n}"), &[], 2000)))
        .await
        .unwrap();
    // The pipe holds 4 KiB of 40: the answer is complete for its handler, and waits.
    let mut client = RawClient::connect(server.pipe(4096).await, setting(4, 1 << 20)).await;
    client.send(call(1, LIST, &[])).await;
    client.send(message(1, &ListPostsRequest::default(), END_STREAM)).await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!((server.gauges().streams.get(), server.gauges().connections.get()), (0, 1));
    sleep(Duration::from_secs(41)).await;
    assert_eq!(server.gauges().connections.get(), 0);
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_grant_window_for_every_call_that_fails_are_never_struck() {
    let server = TestServer::in_memory().await;
    let mut client = raw(&server).await;
    for n in 0..1000 {
        let stream = 2 * n + 1;
        client.send(call(stream, "/post.v1.PostService/Unheard", &[])).await;
        client.send(window_update(stream, 5)).await;
        client.send(frame(DATA, END_STREAM, stream, vec![])).await;
        client.next_of(HEADERS).await;
    }
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_whose_deadline_passes_is_reset_then() {
    let server = TestServer::in_memory().await;
    upload(&mut server.posts(), posts("p", 200, &[])).await.unwrap();
    let mut client = RawClient::connect(server.pipe(1 << 20).await, setting(4, 10)).await;
    client.send(call(1, LIST, &[("grpc-timeout", "5S")])).await;
    client.send(message(1, &follow(), END_STREAM)).await;
    let since = Instant::now();
    let ended = client.next_of(RST_STREAM).await;
    assert_eq!((ended.stream, ended.code(), since.elapsed().as_secs()), (1, CANCEL, 5));
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_every_kind_of_call_on_both_sides_and_frees_all_it_held() {
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
    // tonic's client looks at the clock too, and calls it CANCELLED.
    assert!(matches!(end, Code::DeadlineExceeded | Code::Cancelled), "{end:?}");
    let mut request = Request::new(tokio_stream::pending());
    request.set_timeout(Duration::from_secs(5));
    let mut feed = client.tag_feed(request).await.unwrap().into_inner();
    let end = soon(feed.message()).await;
    assert_eq!(end.unwrap_err().code(), Code::DeadlineExceeded);
    all_is_free(&server).await;
    server.stop().await;
}

/// Waits until nothing is open but connections.
async fn all_is_free(server: &TestServer) {
    soon(async {
        while server.gauges().streams.get() + server.gauges().cursors.get() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_call_of_any_kind_frees_all_it_held() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let stream = list(&mut client, follow()).await.unwrap();
    let feed = Feed::joined_to(&mut client, &["a"]).await;
    let (sender, receiver) = mpsc::channel(1);
    let mut uploader = client.clone();
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let uploading = tokio::task::spawn(async move { uploader.upload_posts(receiver).await });
    sender.send(crate::support::post_request(post("p", &[]))).await.unwrap();
    soon(async {
        while server.gauges().streams.get() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.gauges().cursors.get(), 2);
    uploading.abort();
    drop((stream, feed));
    all_is_free(&server).await;
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_drains_in_time_with_silent_half_open_and_deaf_connections_attached() {
    let server = TestServer::in_memory().await; // its drain timeout is 10 s
    let mut attached = Vec::new();
    for _ in 0..20 {
        attached.push(RawClient::silent(server.pipe(1024).await));
        attached.push(raw(&server).await); // never answers a GOAWAY
        let mut reader = RawClient::connect(server.pipe(1024).await, setting(4, 10)).await;
        reader.send(call(1, LIST, &[])).await;
        reader.send(message(1, &follow(), END_STREAM)).await;
        attached.push(reader); // reads nothing
    }
    let since = Instant::now();
    server.stop().await;
    assert!(since.elapsed() <= Duration::from_secs(11), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_notices_a_dead_link_in_time_plus_timeout_and_its_stream_resumes() {
    use futures::StreamExt as _;
    use quartet_client::{ListEvent, connect::ClientParameters, list_posts};

    let server = TestServer::in_memory().await;
    upload(&mut server.posts(), posts("p", 3, &[])).await.unwrap();
    let keepalive = ClientParameters {
        time: Some(10 * MINUTE),
        timeout: MINUTE,
        ..ClientParameters::default()
    };
    let (channel, link) = server.fragile_channel(|endpoint| keepalive.apply(endpoint));
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
    assert!(elapsed >= 10 * MINUTE && elapsed <= 12 * MINUTE, "{elapsed:?}");
    upload(&mut server.posts(), [post("q", &[])]).await.unwrap();
    while received < 4 {
        if let ListEvent::Batch(batch) = events.next().await.unwrap().unwrap() {
            received += batch.post_messages.len();
        }
    }
    server.stop().await;
}

/// A listener that cannot accept for a while, as when file descriptors have run out.
struct Exhausted(mpsc::Sender<Instant>);

impl Listener for Exhausted {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Option<DuplexStream>> {
        self.0.send(Instant::now()).await.unwrap();
        Err(io::Error::other("too many open files"))
    }
}

#[tokio::test(start_paused = true)]
async fn an_accept_that_fails_is_tried_again_after_a_pause_that_grows_to_a_second() {
    let (sender, mut tries) = mpsc::channel(1);
    let served = quartet_server::server::serve(
        Exhausted(sender),
        Config::ephemeral(),
        std::future::pending(),
    );
    let trying = async {
        let mut last = tries.recv().await.unwrap();
        for expected in [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            let next = tries.recv().await.unwrap();
            let pause = (next - last).as_millis();
            // The clock of tests has a grain of a millisecond.
            assert!(pause.abs_diff(expected) <= 1, "{pause} ms instead of {expected}");
            last = next;
        }
    };
    tokio::select! {
        _ = served => panic!("it ended"),
        () = trying => {}
    }
}
