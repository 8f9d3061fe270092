//! Stalled peers: what an unread stream costs, and when it ends.
//!
//! The clock is paused and the peers are pipes in memory.

use std::time::Duration;

use quartet::post::v1::{ListPostsRequest, post_service_client::PostServiceClient};
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::support::{
    TestServer, follow,
    http2::{
        CANCEL, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, LIST, RST_STREAM, RawClient, SETTINGS,
        UPLOAD, call, frame, message, setting,
    },
    large_post, list, next, posts, reaches, until_end, upload,
};

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
    // More than the 20 s that other waits are allowed.
    sleep(Duration::from_secs(29)).await;
    assert_eq!(server.gauges().cursors.get(), 2);
    reaches(&server.gauges().cursors, 0).await;
    assert_eq!(since.elapsed().as_secs(), 30);
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
    let window = setting(4, 10); // bytes
    let mut client = RawClient::open_with(&server, 1 << 20, window).await;
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
    // The pipe holds 4 KiB of 40: the handler has finished, but its response waits.
    let mut client = RawClient::open_with(&server, 4096, setting(4, 1 << 20)).await;
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
async fn a_stalled_reader_is_reset_at_its_deadline() {
    let server = TestServer::in_memory().await;
    upload(&mut server.posts(), posts("p", 200, &[])).await.unwrap();
    let mut client = RawClient::open_with(&server, 1 << 20, setting(4, 10)).await;
    client.send(call(1, LIST, &[("grpc-timeout", "5S")])).await;
    client.send(message(1, &follow(), END_STREAM)).await;
    let since = Instant::now();
    let ended = client.next_of(RST_STREAM).await;
    assert_eq!((ended.stream, ended.code(), since.elapsed().as_secs()), (1, CANCEL, 5));
    drop(client);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_a_peer_time_to_read_the_end_of_a_response() {
    let server = TestServer::in_memory().await; // its drain timeout is 10 s
    upload(&mut server.posts(), [large_post("p", &[], 8000)]).await.unwrap();
    let mut client = RawClient::open_with(&server, 1024, frame(SETTINGS, 0, 0, vec![])).await;
    client.send(call(1, LIST, &[])).await;
    client.send(message(1, &ListPostsRequest::default(), END_STREAM)).await;
    // The handler and h2 have finished the response; most of it waits below them.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(server.gauges().streams.get(), 0);
    let served = server.begin_stop();
    sleep(Duration::from_secs(7)).await;
    let frames = client.rest().await;
    let last = frames.iter().rfind(|frame| frame.stream == 1).unwrap();
    assert_eq!((last.kind, last.flags & END_STREAM), (HEADERS, END_STREAM), "{frames:?}");
    served.await.unwrap().unwrap();
}
