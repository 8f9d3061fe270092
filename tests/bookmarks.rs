//! Bookmarks: silence, skipped posts, and what a position covers. Time is paused: no test really
//! waits.

use std::time::Duration;

use quartet::{
    limits::{HEARTBEAT, SKIPPED_POSTS},
    post::v1::{GetBookmark, JoinTags, ListPostsRequest, tag_feed_request::Payload as Asked},
};
use tokio::time::Instant;

use crate::support::{
    Client, Feed, TestServer, list, next,
    order::{Received, check},
    post, posts, read_log, sequence, strings, upload,
};

/// Posts that a reader may skip beyond the limit, because it examines 1,024 at a time.
const ONE_READ: i64 = 1024;

fn followed(tags: &[&str]) -> ListPostsRequest {
    ListPostsRequest { tags: strings(tags), follow: true, ..ListPostsRequest::default() }
}

async fn upload_unheard(client: &mut Client, count: usize) {
    let response = upload(client, posts("unheard-", count, &["unheard"])).await.unwrap();
    assert_eq!(response.created_count + response.duplicate_count, count as i64);
}

fn is_15_s(silence: Duration) -> bool {
    silence.abs_diff(HEARTBEAT) < Duration::from_millis(100)
}

#[tokio::test(start_paused = true)]
async fn a_followed_list_sends_a_bookmark_after_15_s_of_silence() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    let mut stream = list(&mut client, followed(&["a"])).await.unwrap();
    assert!(next(&mut stream).await.snapshot_complete);
    let mut since = Instant::now();
    for n in 0..3 {
        upload(&mut client, [post(format!("p{n}"), &["unheard"])]).await.unwrap();
        let bookmark = next(&mut stream).await;
        assert!(bookmark.post_messages.is_empty() && !bookmark.snapshot_complete);
        assert_eq!(sequence(&bookmark.position), n + 1, "it covers posts that do not match");
        assert!(is_15_s(since.elapsed()), "{:?}", since.elapsed());
        since = Instant::now();
    }
    drop(stream);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_sends_a_bookmark_after_15_s_without_a_message() {
    let server = TestServer::in_memory().await;
    let mut feed = Feed::joined_to(&mut server.posts(), &["a"]).await;
    tokio::time::sleep(HEARTBEAT - Duration::from_secs(5)).await;
    feed.publish(post("p", &["unheard"])).await;
    feed.receipt().await;
    let since = Instant::now(); // a receipt is a message too
    let bookmark = feed.bookmark().await;
    assert!(!bookmark.caught_up);
    assert_eq!(sequence(&bookmark.position), 1);
    assert!(is_15_s(since.elapsed()), "{:?}", since.elapsed());
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_without_a_join_sends_bookmarks_too() {
    let server = TestServer::in_memory().await;
    upload(&mut server.posts(), posts("p", 3, &["a"])).await.unwrap();
    let mut feed = Feed::open(&mut server.posts()).await;
    let since = Instant::now();
    let bookmark = feed.bookmark().await;
    assert!(is_15_s(since.elapsed()) && !bookmark.caught_up);
    // The feed may still join from the oldest post, and nothing at or before a bookmark may follow
    // the bookmark.
    feed.join_all_from_oldest().await;
    assert!(sequence(&bookmark.position) <= sequence(&feed.joined().await.position));
    feed.half_close();
    feed.until_end().await.unwrap();
    assert_eq!(feed.received().sequences(), [1, 2, 3]);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_answers_who_asks_for_a_bookmark_and_nothing_else_changes() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    upload(&mut client, posts("p", 3, &["a"])).await.unwrap();
    let since = Instant::now();

    let mut feed = Feed::open(&mut client).await;
    feed.send(Asked::GetBookmark(GetBookmark {})).await;
    assert_eq!(sequence(&feed.bookmark().await.position), 0, "a join may still start anywhere");

    feed.join(&["b"]).await;
    assert_eq!(sequence(&feed.joined().await.position), 3);
    assert!(feed.bookmark().await.caught_up);
    upload(&mut client, posts("q", 2, &["a"])).await.unwrap();
    feed.send(Asked::GetBookmark(GetBookmark {})).await;
    let bookmark = feed.bookmark().await;
    assert!(!bookmark.caught_up);
    assert_eq!(sequence(&bookmark.position), 5, "it covers posts that do not match");
    assert!(since.elapsed() < HEARTBEAT);
    server.stop().await;
}

/// Checks that at most 10,000 posts, and one read more, lie between two positions.
fn assert_no_long_way(positions: &[i64]) {
    for pair in positions.windows(2) {
        let way = pair[1] - pair[0];
        assert!(way <= SKIPPED_POSTS as i64 + ONE_READ, "{way} posts without a position");
    }
}

#[tokio::test(start_paused = true)]
async fn replaying_readers_get_a_bookmark_after_10_000_skipped_posts() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    upload_unheard(&mut client, 25_000).await;
    upload(&mut client, [post("p", &["a"])]).await.unwrap();

    let request = followed(&["a"]);
    let mut stream = list(&mut client, request.clone()).await.unwrap();
    let mut messages = Vec::new();
    while messages
        .last()
        .is_none_or(|last: &quartet::post::v1::ListPostsResponse| !last.snapshot_complete)
    {
        messages.push(next(&mut stream).await);
    }
    let received = Received::list(&request, &messages);
    assert_eq!(received.sequences(), [25_001]);
    let positions = received.positions();
    assert_eq!(positions.len(), 3, "10,000, 20,000 and the end: {positions:?}");
    assert_no_long_way(&[vec![0], positions].concat());

    let mut feed = Feed::open(&mut client).await;
    let join = JoinTags { tags: strings(&["a"]), from_oldest: true, ..JoinTags::default() };
    feed.send(Asked::Join(join)).await;
    while !feed.bookmarks().iter().any(|bookmark| bookmark.caught_up) {
        feed.event().await;
    }
    let of_feed = feed.received();
    let positions = of_feed.positions();
    assert_no_long_way(&positions);
    check(&read_log(&mut client).await, &[received]).unwrap();
    check(&read_log(&mut client).await, &[of_feed]).unwrap();
    drop((stream, feed));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn live_readers_get_a_bookmark_after_10_000_skipped_posts() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    let mut stream = list(&mut client, followed(&["a"])).await.unwrap();
    assert!(next(&mut stream).await.snapshot_complete);
    let mut feed = Feed::joined_to(&mut client, &["a"]).await;

    let since = Instant::now();
    upload_unheard(&mut client, 22_000).await;
    let (mut listed, mut fed) = (vec![0], vec![0]);
    while *listed.last().unwrap() < 20_000 {
        listed.push(sequence(&next(&mut stream).await.position));
    }
    while *fed.last().unwrap() < 20_000 {
        fed.push(sequence(&feed.bookmark().await.position));
    }
    assert!(since.elapsed() < HEARTBEAT, "the bookmarks are not heartbeats");
    assert!(listed.len() <= 3 && fed.len() <= 3, "{listed:?} {fed:?}");
    drop((stream, feed));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn waiting_readers_get_a_matching_post_at_once() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    let mut stream = list(&mut client, followed(&["a"])).await.unwrap();
    assert!(next(&mut stream).await.snapshot_complete);
    let mut feed = Feed::joined_to(&mut client, &["a"]).await;
    let since = Instant::now();
    for n in 0..150 {
        let tag = if n % 3 == 0 { "unheard" } else { "a" };
        upload(&mut client, [post(format!("p{n}"), &[tag])]).await.unwrap();
        if tag == "a" {
            assert_eq!(next(&mut stream).await.post_messages[0].sequence, n + 1);
            assert_eq!(feed.posts().await.post_messages[0].sequence, n + 1);
        }
    }
    // A lost wake-up shows as silence: time passes only when nothing else can happen.
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    drop((stream, feed));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn thirty_seconds_after_a_post_every_reader_has_a_position_at_or_past_it() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    let mut matching = list(&mut client, followed(&["a"])).await.unwrap();
    let mut others = list(&mut client, followed(&["b"])).await.unwrap();
    let mut feed = Feed::joined_to(&mut client, &["c"]).await;
    for stream in [&mut matching, &mut others] {
        next(stream).await;
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    let stored = sequence(&upload(&mut client, [post("p", &["a"])]).await.unwrap().position);
    let since = Instant::now();
    for stream in [&mut matching, &mut others] {
        while sequence(&next(stream).await.position) < stored {}
    }
    while sequence(&feed.bookmark().await.position) < stored {}
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    drop((matching, others, feed));
    server.stop().await;
}
