//! The order of streams with many writers, many readers and cuts, as the order checker sees it.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use futures::future::join_all;
use quartet::post::v1::{
    JoinTags, ListPostsRequest, LogPosition, PostMessage, post_service_client::PostServiceClient,
    tag_feed_request::Payload as Asked, tag_feed_response::Payload,
};

use crate::support::{
    Client, Feed, TestServer, large_post, list, listed,
    order::{Received, check, check_writers_order},
    post, posts,
    proxy::Proxy,
    read_log, sequence,
    server::on_disk,
    soon, strings, upload,
};

const TAGS: [&str; 4] = ["a", "b", "c", "d"];

/// The last post of a run: it matches every filter of these tests.
fn last_post() -> PostMessage {
    post("last", &TAGS)
}

/// Posts of one writer, `{writer}-{number}`, of several users and tags.
fn written(writer: &str, count: usize) -> Vec<PostMessage> {
    let post = |n: usize| {
        let tags: BTreeSet<&str> =
            TAGS[..n % 3].iter().chain(&TAGS[n % 4..=n % 4]).copied().collect();
        let tags: Vec<&str> = tags.into_iter().collect();
        let user_id = (n % 5 + 1).to_string();
        PostMessage { user_id, ..large_post(format!("{writer}-{n}"), &tags, n % 7 * 40) }
    };
    (0..count).map(post).collect()
}

/// Uploads in parts, so that one writer makes several uploads.
async fn write_uploads(mut client: Client, writer: String, count: usize) {
    for piece in written(&writer, count).chunks(count / 3 + 1) {
        let response = upload(&mut client, piece.to_vec()).await.unwrap();
        assert!(response.complete && response.reject_count == 0);
    }
}

/// Publishes on one feed and checks the receipts.
async fn write_feed(mut client: Client, writer: String, count: usize) {
    let mut feed = Feed::open(&mut client).await;
    let posts = written(&writer, count);
    for pair in posts.chunks(8) {
        for post in pair {
            feed.publish(post.clone()).await;
        }
        for _ in pair {
            feed.receipt().await;
        }
    }
    feed.half_close();
    feed.until_end().await.unwrap();
    let receipts = feed.receipts();
    assert!(receipts.iter().map(|it| &it.post_id).eq(posts.iter().map(|post| &post.post_id)));
    assert!(receipts.is_sorted_by(|one, next| one.sequence < next.sequence));
}

/// Follows a list until the last post.
async fn read_list(mut client: Client, request: ListPostsRequest) -> Received {
    let mut stream = list(&mut client, request.clone()).await.unwrap();
    let mut messages = Vec::new();
    loop {
        let message = soon(stream.message()).await.unwrap().expect("a followed list goes on");
        let last = message.post_messages.iter().any(|post| post.post_id == "last");
        messages.push(message);
        if last {
            return Received::list(&request, &messages);
        }
    }
}

/// Reads a feed until the last post, changing its tags all the while.
async fn read_feed(mut client: Client, first: JoinTags) -> Received {
    let mut feed = Feed::open(&mut client).await;
    feed.send(Asked::Join(first)).await;
    let mut messages = 0;
    loop {
        let event = feed.event().await;
        if let Payload::Posts(batch) = &event
            && batch.post_messages.iter().any(|post| post.post_id == "last")
        {
            return feed.received();
        }
        messages += 1;
        // "d" stays joined, so that the last post arrives.
        match messages % 6 {
            1 => feed.join(&["a"]).await,
            4 => feed.leave(&["a", "b", "c"]).await,
            _ => {}
        }
    }
}

fn filters() -> Vec<ListPostsRequest> {
    let filters: [(&[&str], &[&str]); 8] = [
        (&[], &[]),
        (&["a"], &[]),
        (&["b", "c"], &[]),
        (&["d"], &["1", "2"]),
        (&[], &["1"]),
        (&[], &["1", "3", "5"]),
        (&["a", "b", "c", "d"], &[]),
        (&["a", "unheard of"], &["1"]),
    ];
    let request = |(tags, user_ids): (&[&str], &[&str])| ListPostsRequest {
        tags: strings(tags),
        user_ids: strings(user_ids),
        follow: true,
        ..ListPostsRequest::default()
    };
    filters.map(request).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_many_writers_and_many_readers_every_stream_keeps_every_promise() {
    many_writers_and_many_readers(TestServer::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_many_writers_and_many_readers_on_disk_every_stream_keeps_every_promise() {
    many_writers_and_many_readers(TestServer::on_disk().await).await;
}

async fn many_writers_and_many_readers(server: TestServer) {
    upload(&mut server.posts(), written("before", 500)).await.unwrap();

    let lists = filters().into_iter().map(|filter| tokio::spawn(read_list(server.posts(), filter)));
    let joins = [
        JoinTags { tags: strings(&["d"]), from_oldest: true, ..JoinTags::default() },
        JoinTags { tags: strings(&["d"]), ..JoinTags::default() },
        JoinTags {
            tags: strings(&["d", "a"]),
            resume_after: Some(LogPosition { sequence: 250, ..LogPosition::default() }),
            ..JoinTags::default()
        },
    ];
    let feeds = joins.into_iter().map(|join| tokio::spawn(read_feed(server.posts(), join)));
    let readers: Vec<_> = lists.chain(feeds).collect();

    let uploads =
        (0..8).map(|n| tokio::spawn(write_uploads(server.posts(), format!("upload{n}"), 300)));
    let publishers =
        (0..8).map(|n| tokio::spawn(write_feed(server.posts(), format!("feed{n}"), 150)));
    for writer in join_all(uploads.chain(publishers)).await {
        writer.unwrap();
    }
    upload(&mut server.posts(), [last_post()]).await.unwrap();

    let log = read_log(&mut server.posts()).await;
    assert_eq!(log.len(), 500 + 8 * 300 + 8 * 150 + 1);
    check_writers_order(&log).unwrap();
    for received in join_all(readers).await {
        let received = received.unwrap();
        check(&log, &[received]).unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_post_id_is_stored_once_however_many_send_it_at_once() {
    let server = TestServer::start().await;
    let uploads = (0..8).map(|_| {
        let mut client = server.posts();
        tokio::spawn(async move { upload(&mut client, posts("p", 400, &[])).await.unwrap() })
    });
    let responses: Vec<_> =
        join_all(uploads.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(responses.iter().map(|response| response.created_count).sum::<i64>(), 400);
    assert_eq!(responses.iter().map(|response| response.duplicate_count).sum::<i64>(), 7 * 400);
    let log = read_log(&mut server.posts()).await;
    let ids: HashSet<_> = log.iter().map(|post| &post.post_id).collect();
    assert_eq!((log.len(), ids.len()), (400, 400));
    server.stop().await;
}

#[tokio::test]
async fn after_a_restart_positions_are_valid_and_ids_are_known() {
    let data = tempfile::tempdir().unwrap();
    let server = TestServer::with(on_disk(data.path())).await;
    upload(&mut server.posts(), written("w", 400)).await.unwrap();
    let request = ListPostsRequest { tags: strings(&["a"]), ..ListPostsRequest::default() };
    let before = listed(&mut server.posts(), request.clone()).await.unwrap();
    let log = read_log(&mut server.posts()).await;
    server.stop().await;

    let server = TestServer::with(on_disk(data.path())).await;
    let mut client = server.posts();
    assert_eq!(read_log(&mut client).await, log, "no post that was read is lost");
    let again = upload(&mut client, written("w", 500)).await.unwrap();
    assert_eq!((again.duplicate_count, again.created_count), (400, 100));
    let resume_after = before.last().unwrap().position.clone();
    let resumed = ListPostsRequest { resume_after, ..request.clone() };
    let after = listed(&mut client, resumed.clone()).await.unwrap();
    let streams = [Received::list(&request, &before), Received::list(&resumed, &after)];
    check(&read_log(&mut client).await, &streams).unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_another_was_sent_has_the_smaller_sequence() {
    let server = TestServer::start().await;
    // Writers take turns: each sends only after the previous acknowledgement.
    let mut uploader = server.posts();
    let mut feed = Feed::open(&mut server.posts()).await;
    let (_noise, running) = noise(&server);
    let mut sequences = Vec::new();
    for n in 0..60 {
        if n % 2 == 0 {
            let stored = upload(&mut uploader, [post(format!("u{n}"), &[])]).await.unwrap();
            sequences.push(sequence(&stored.position));
        } else {
            feed.publish(post(format!("f{n}"), &[])).await;
            sequences.push(feed.receipt().await.sequence);
        }
    }
    assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
    drop(_noise);
    soon(running).await.unwrap();
    server.stop().await;
}

/// A writer that continues until the guard is dropped.
fn noise(server: &TestServer) -> (tokio_util::sync::DropGuard, tokio::task::JoinHandle<()>) {
    let stop = tokio_util::sync::CancellationToken::new();
    let mut client = server.posts();
    let stopped = stop.clone();
    let running = tokio::spawn(async move {
        let mut n = 0;
        while !stopped.is_cancelled() {
            upload(&mut client, posts(&format!("noise{n}-"), 5, &["n"])).await.unwrap();
            n += 1;
        }
    });
    (stop.drop_guard(), running)
}

/// Reads a followed list up to `head` over connections that break, resuming from the last position
/// received.
async fn read_across_cuts(proxy: &Proxy, filter: ListPostsRequest, head: i64) -> Vec<Received> {
    let mut streams: Vec<Received> = Vec::new();
    while streams.last().is_none_or(|last| last.position() < head) {
        let resume_after = streams
            .last()
            .map(|last| LogPosition { sequence: last.position(), ..LogPosition::default() });
        let request = ListPostsRequest { resume_after, ..filter.clone() };
        let mut client = PostServiceClient::new(proxy.channel());
        let mut messages = Vec::new();
        if let Ok(stream) = soon(client.list_posts(request.clone())).await {
            let mut stream = stream.into_inner();
            while let Ok(Some(message)) = soon(stream.message()).await {
                let position = sequence(&message.position);
                messages.push(message);
                if position >= head {
                    break;
                }
            }
        }
        streams.push(Received::list(&request, &messages));
    }
    streams
}

#[tokio::test]
async fn a_list_that_is_cut_and_resumed_again_and_again_sends_everything_once() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, written("w", 2000)).await.unwrap();
    let proxy = Proxy::to(server.address()).await;
    proxy.to_client(|flow| flow.cut_after = Some(100_000)); // a whole frame, and a part of another
    for mut filter in filters().into_iter().take(4) {
        filter.follow = true;
        let streams = read_across_cuts(&proxy, filter.clone(), 2000).await;
        if filter.tags.is_empty() {
            assert!(streams.len() > 3, "too few cuts: {}", streams.len());
        }
        check(&read_log(&mut client).await, &streams).unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_cut_while_it_publishes_is_resumed_without_a_gap_or_a_duplicate() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let (_noise, running) = noise(&server);
    let own = written("own", 120);
    let mut unanswered: std::collections::VecDeque<_> = own.iter().cloned().collect();
    let mut streams: Vec<Received> = Vec::new();
    let mut start = LogPosition::default();
    for round in 0.. {
        // Each connection is cut after a few answers, with publishes in flight. The last one runs
        // to the end.
        let last_round = round == 6;
        let mut client = PostServiceClient::new(proxy.channel());
        let mut feed = Feed::open(&mut client).await;
        feed.join_after(&["a", "n"], start.clone()).await;
        let batch: Vec<_> =
            unanswered.iter().take(if last_round { 120 } else { 24 }).cloned().collect();
        let sent = batch.len();
        for post in batch {
            if feed.receipts().len() >= 12 && !last_round {
                break;
            }
            feed.publish(post).await;
            feed.event().await;
        }
        if last_round {
            feed.half_close();
            feed.until_end().await.unwrap();
            assert_eq!(feed.receipts().len(), sent);
        } else {
            proxy.cut();
            feed.until_end().await.unwrap_err();
        }
        for receipt in feed.receipts() {
            assert_eq!(unanswered.pop_front().unwrap().post_id, receipt.post_id);
            assert!(receipt.status.is_none());
        }
        let received = feed.received();
        start.sequence = if feed.events.is_empty() { start.sequence } else { received.position() };
        if !feed.events.is_empty() {
            streams.push(received);
        }
        if last_round {
            break;
        }
    }
    assert!(unanswered.is_empty());
    drop(_noise);
    soon(running).await.unwrap();
    let log = read_log(&mut server.posts()).await;
    assert_eq!(log.iter().filter(|post| post.post_id.starts_with("own-")).count(), 120);
    check_writers_order(&log).unwrap();
    check(&log, &streams).unwrap();
    server.stop().await;
}

#[tokio::test]
async fn after_a_stall_of_the_network_a_reader_has_everything_that_was_acknowledged_meanwhile() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut through = PostServiceClient::new(proxy.channel());
    let request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    let mut stream = list(&mut through, request.clone()).await.unwrap();
    let mut messages = vec![crate::support::next(&mut stream).await];

    proxy.to_client(|flow| flow.stalled = true);
    let acknowledged =
        sequence(&upload(&mut server.posts(), written("w", 3000)).await.unwrap().position);
    proxy.to_client(|flow| (flow.stalled, flow.delay) = (false, Duration::from_millis(1)));
    while sequence(&messages.last().unwrap().position) < acknowledged {
        messages.push(crate::support::next(&mut stream).await);
    }
    check(&read_log(&mut server.posts()).await, &[Received::list(&request, &messages)]).unwrap();
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn a_stall_towards_the_server_delays_posts_and_loses_none() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut feed = Feed::open(&mut PostServiceClient::new(proxy.channel())).await;
    proxy.to_server(|flow| flow.stalled = true);
    for n in 0..5 {
        feed.publish(post(format!("p{n}"), &[])).await;
    }
    assert!(read_log(&mut server.posts()).await.is_empty());
    proxy.to_server(|flow| flow.stalled = false);
    feed.half_close();
    feed.until_end().await.unwrap();
    assert!(feed.receipts().iter().map(|receipt| receipt.sequence).eq(1..=5));
    server.stop().await;
}

#[tokio::test]
async fn a_list_and_a_feed_and_pages_agree_on_every_post() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, written("w", 600)).await.unwrap();
    let log = read_log(&mut client).await;
    let mut feed = Feed::open(&mut client).await;
    feed.join_all_from_oldest().await;
    feed.half_close();
    feed.until_end().await.unwrap();
    check(&log, &[feed.received()]).unwrap();
    assert!(feed.received().sequences().into_iter().eq(1..=log.len() as i64));
    let page = crate::support::page(&mut client, "1", None).await.unwrap();
    let of_user: Vec<_> = log.into_iter().filter(|post| post.user_id == "1").collect();
    assert_eq!(page.post_messages, of_user);
    assert_eq!(listed(&mut client, ListPostsRequest::default()).await.unwrap().len(), 3);
    server.stop().await;
}
