//! The guard: how often peers may ping, and what ends a flood.
//!
//! The clock is paused and the peers are pipes in memory, so a test of two hours takes no time.

use std::time::Duration;

use quartet::post::v1::post_service_client::PostServiceClient;
use quartet_channel::{CallError, keepalive::ClientParameters};
use quartet_connection::keepalive::EnforcementPolicy;
use quartet_server::settings::Settings;
use tokio::time::{Instant, sleep, timeout};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::support::{
    TestServer, follow,
    http2::{
        ACK, CANCEL, CONTINUATION, DATA, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS,
        LIST, PAGE, PING, PRIORITY, RST_STREAM, RawClient, SETTINGS, UPLOAD, call, call_to, frame,
        message, ping, reset, setting, window_update,
    },
    post, soon, upload,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A raw client with a followed list, whose first message it has read.
async fn raw_reader(server: &TestServer) -> RawClient {
    let mut client = RawClient::open(server).await;
    client.send(call(1, LIST, &[])).await;
    client.send(message(1, &follow(), END_STREAM)).await;
    client.next_of(HEADERS).await;
    client.next_of(DATA).await;
    client
}

/// Sends pings at this interval. Returns the number of the one that was refused, and the GOAWAY.
async fn pings_until_goaway(client: &mut RawClient, apart: Duration) -> (usize, Frame) {
    for count in 1..50 {
        client.send(ping()).await;
        loop {
            let Some(next) = client.next().await else {
                panic!("the connection ended without a GOAWAY")
            };
            match next.kind {
                GOAWAY => return (count, next),
                PING if next.is_ack() => break,
                _ => {}
            }
        }
        sleep(apart).await;
    }
    panic!("fifty pings were accepted");
}

#[tokio::test(start_paused = true)]
async fn a_third_ping_too_soon_gets_enhance_your_calm_and_too_many_pings() {
    let server = TestServer::in_memory().await;
    let mut client = raw_reader(&server).await;
    // The first ping is free, and three more are three strikes.
    let (count, goaway) = pings_until_goaway(&mut client, Duration::from_secs(1)).await;
    assert_eq!((count, goaway.code(), goaway.debug()), (4, ENHANCE_YOUR_CALM, "too_many_pings"));
    assert_eq!(goaway.last_stream(), 1);
    assert!(client.rest().await.is_empty(), "the connection is closed");
    server.stop().await;
}

async fn enforcing(enforcement: EnforcementPolicy) -> TestServer {
    let mut settings = Settings::default();
    settings.connections.enforcement = enforcement;
    TestServer::in_memory_with(settings).await
}

#[tokio::test(start_paused = true)]
async fn pings_are_fine_at_min_time_with_a_stream_and_every_two_hours_without_one() {
    let server =
        enforcing(EnforcementPolicy { min_time: MINUTE, permit_without_stream: false }).await;
    let ping_on = async |client: &mut RawClient, apart: Duration| {
        for _ in 0..20 {
            client.send(ping()).await;
            // The client answers the server's own pings meanwhile.
            assert!(timeout(apart, client.behave()).await.is_err(), "the connection was closed");
        }
    };
    let mut upload = RawClient::open(&server).await;
    upload.send(call(1, UPLOAD, &[])).await; // a stream on which the server sends nothing
    ping_on(&mut upload, MINUTE).await;
    let mut idle = RawClient::open(&server).await;
    ping_on(&mut idle, 2 * HOUR).await;
    let mut hasty = RawClient::open(&server).await;
    let (count, goaway) = pings_until_goaway(&mut hasty, MINUTE).await;
    assert_eq!((count, goaway.debug()), (4, "too_many_pings"));
    drop((upload, idle));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn clients_without_streams_may_ping_at_min_time_if_permitted() {
    let server =
        enforcing(EnforcementPolicy { min_time: MINUTE, permit_without_stream: true }).await;
    let mut client = RawClient::open(&server).await;
    for _ in 0..20 {
        client.send(ping()).await;
        assert!(timeout(MINUTE, client.behave()).await.is_err(), "the connection was closed");
    }
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn any_message_from_the_server_clears_all_strikes() {
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
async fn a_flood_of_useless_frames_ends_the_connection_within_a_thousand() {
    type Flood = fn(u32) -> Vec<Frame>;
    // Each flood with what ends the connection: the guard or h2 itself.
    let floods: [(&str, Flood, &str); 10] = [
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
        ("empty data", |_| vec![frame(DATA, 0, 1, vec![])], "too_many_data_frames"),
        (
            "streams that are reset",
            |n| vec![call(2 * n + 3, PAGE, &[]), reset(2 * n + 3, CANCEL)],
            "too_many_resets",
        ),
        (
            "streams that the server must reset",
            |n| {
                let id = 2 * n + 3;
                vec![call(id, PAGE, &[("content-length", "1")]), frame(DATA, 0, id, vec![0; 5])]
            },
            "too_many_resets",
        ),
        ("pings", |_| vec![ping()], "too_many_pings"),
    ];
    for (name, frames, rule) in floods {
        let server = TestServer::in_memory().await;
        // The client reads no answers meanwhile.
        let mut client =
            RawClient::open_with(&server, 1 << 20, frame(SETTINGS, 0, 0, vec![])).await;
        client.send(call(1, UPLOAD, &[])).await;
        let flood = (0..).flat_map(frames).take(1000);
        for (sent, frame) in flood.enumerate() {
            client.send(frame).await;
            // In small batches: h2 itself counts larger ones.
            if sent % 20 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let goaways = soon(client.behave()).await;
        let goaway = goaways.last().unwrap_or_else(|| panic!("{name} were accepted"));
        assert_eq!((goaway.code(), goaway.debug()), (ENHANCE_YOUR_CALM, rule), "{name}");
        server.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_reset_before_the_server_saw_them_end_the_connection_within_a_few() {
    let server = TestServer::in_memory().await;
    let mut client = RawClient::open_with(&server, 1 << 20, frame(SETTINGS, 0, 0, vec![])).await;
    client.next_of(SETTINGS).await;
    let rapid = (0..30).flat_map(|n| [call(2 * n + 1, PAGE, &[]), reset(2 * n + 1, CANCEL)]);
    // All at once: fewer frames than the guard allows.
    client.bytes(&rapid.flat_map(|frame| frame.encode()).collect::<Vec<_>>()).await;
    let goaway = client.behave().await.pop().unwrap();
    assert_eq!((goaway.code(), goaway.debug()), (ENHANCE_YOUR_CALM, "too_many_resets"));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_header_block_that_never_ends_ends_the_connection() {
    let server = TestServer::in_memory().await;
    let mut client = RawClient::open(&server).await;
    let mut headers = call(1, LIST, &[]);
    headers.flags = 0;
    client.send(headers).await;
    for _ in 0..20 {
        client.send(frame(CONTINUATION, 0, 1, vec![])).await;
    }
    let goaway = client.behave().await.pop().unwrap();
    assert_eq!((goaway.code(), goaway.debug()), (ENHANCE_YOUR_CALM, "too_many_continuations"));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_grant_window_for_every_failed_call_get_no_strikes() {
    let server = TestServer::in_memory().await;
    let mut client = RawClient::open(&server).await;
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

/// RFC 9113, section 8.3.1: `:authority` must not include userinfo; section 8.1.1: a malformed
/// request is a stream error of type PROTOCOL_ERROR.
#[tokio::test(start_paused = true)]
async fn an_authority_with_a_user_and_a_password_is_refused_and_the_connection_goes_on() {
    const PROTOCOL_ERROR: u32 = 1;
    let server = TestServer::in_memory().await;
    let mut client = RawClient::open(&server).await;
    client.send(call_to("kim:secret@test", 1, LIST, &[])).await;
    let reset = client.next_of(RST_STREAM).await;
    assert_eq!((reset.stream, reset.code()), (1, PROTOCOL_ERROR));
    client.send(call(3, LIST, &[])).await;
    client.send(message(3, &follow(), END_STREAM)).await;
    assert_eq!(client.next_of(HEADERS).await.stream, 3);
}

/// gRFC A8: the client logs it at a level that is on by default, and doubles its keepalive time for
/// new connections. Its error says what ended the stream, and not "broken pipe".
#[tokio::test(start_paused = true)]
async fn a_client_whose_pings_are_refused_says_so_and_pings_half_as_often() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(log.reopen().unwrap()).with_ansi(false);
    let subscriber = subscriber.with_max_level(tracing_subscriber::filter::LevelFilter::ERROR);
    let _guard = subscriber.finish().set_default();

    let server = TestServer::in_memory().await;
    let time = Some(Duration::from_secs(1));
    let channel = server.pinging_channel(ClientParameters { time, ..Default::default() });
    let mut lifetimes = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        let mut client = PostServiceClient::new(channel.clone());
        let mut list = client.list_posts(follow()).await.unwrap().into_inner();
        let ended = loop {
            match list.message().await {
                Ok(message) => assert!(message.is_some(), "the list follows"),
                Err(status) => break CallError::from(status),
            }
        };
        assert!(matches!(ended, CallError::Lost(_)), "{ended:?}");
        let words = "the connection was lost: GOAWAY ENHANCE_YOUR_CALM (too_many_pings)";
        assert_eq!(ended.to_string(), words);
        lifetimes.push(begun.elapsed().as_secs());
    }
    assert_eq!(lifetimes, [4, 8], "four pings each, a second apart and then two");
    let log = std::fs::read_to_string(log.path()).unwrap();
    for expected in ["too_many_pings", "is now 2s", "is now 4s"] {
        assert!(log.contains(expected), "{log}");
    }
}
