//! The client library against the real server, over connections that are cut again and again.

use std::pin::pin;

use futures::{Stream, StreamExt as _, stream};
use quartet::post::v1::{ListPostsRequest, PostMessage};
use quartet_client::{
    FeedEvent, FeedRequest, FeedStart, ListEvent, UploadEvent, list_posts, tag_feed, upload_posts,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{TestServer, post, proxy::Proxy, read_log, soon, upload};

fn numbered(count: usize) -> Vec<PostMessage> {
    (0..count).map(|n| post(format!("p{n}"), &["a"])).collect()
}

fn ids(posts: &[PostMessage]) -> Vec<&str> {
    posts.iter().map(|post| post.post_id.as_str()).collect()
}

#[tokio::test]
async fn a_list_of_the_client_library_resumes_by_itself_and_yields_every_post_once() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, numbered(5000)).await.unwrap();
    let proxy = Proxy::to(server.address()).await;
    proxy.to_client(|flow| flow.cut_after = Some(100_000)); // a whole frame, and a part of another

    let (mut read, mut resumes) = (Vec::new(), 0);
    let mut events = pin!(list_posts(proxy.channel(), ListPostsRequest::default()));
    while let Some(event) = soon(events.next()).await {
        match event.unwrap() {
            ListEvent::Batch(batch) => read.extend(batch.post_messages),
            ListEvent::Disconnected(_) => {}
            ListEvent::Reconnected(_) => resumes += 1,
        }
    }
    assert!(resumes > 2, "only {resumes} cuts");
    assert_eq!(read, read_log(&mut client).await);
    server.stop().await;
}

#[tokio::test]
async fn a_feed_of_the_client_library_resumes_by_itself_with_one_receipt_per_post() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    proxy.to_client(|flow| flow.cut_after = Some(4_000));

    let own = numbered(200);
    let join = FeedRequest::Join { tags: vec!["a".to_owned()], all_tags: false };
    let publishes = own.iter().cloned().map(FeedRequest::Publish);
    let requests = stream::iter([join].into_iter().chain(publishes));
    let (mut read, mut receipts, mut resumes) = (Vec::new(), Vec::new(), 0);
    let mut events = pin!(tag_feed(proxy.channel(), FeedStart::Oldest, requests));
    while let Some(event) = soon(events.next()).await {
        match event.unwrap() {
            FeedEvent::Posts(batch) => read.extend(batch.post_messages),
            FeedEvent::Receipt(receipt) => receipts.push(receipt.post_id),
            FeedEvent::Reconnected(_) => resumes += 1,
            _ => {}
        }
    }
    assert!(resumes > 2, "only {resumes} cuts");
    assert_eq!(receipts, ids(&own), "one receipt per publish, in publish order");
    assert_eq!(read, read_log(&mut server.posts()).await, "every post once, in order");
    assert_eq!(ids(&read), ids(&own), "the writer's order");
    server.stop().await;
}

#[tokio::test]
async fn an_upload_of_the_client_library_that_is_cut_is_sent_again_and_stores_nothing_twice() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    proxy.to_server(|flow| flow.cut_after = Some(40_000));

    let posts = numbered(2000);
    let source = posts.clone();
    let open = move || stream::iter(source.clone()).map(Ok).boxed();
    let mut events = pin!(upload_posts(proxy.channel(), open));
    let (mut cuts, mut answer) = (0, None);
    while let Some(event) = soon(events.next()).await {
        match event.unwrap() {
            UploadEvent::Disconnected(_) => {
                cuts += 1;
                proxy.to_server(|flow| flow.cut_after = None); // the next attempt gets through
            }
            UploadEvent::Done(response) => answer = Some(response),
            _ => {}
        }
    }
    let answer = answer.expect("the upload has an answer");
    assert!(cuts > 0 && answer.complete);
    assert_eq!(answer.created_count + answer.duplicate_count, 2000);
    assert_eq!(ids(&read_log(&mut server.posts()).await), ids(&posts));
    server.stop().await;
}

/// Regression: a feed that had left all its tags was cut. On the new connection it joined nothing,
/// so the server sent position 0, and the client took that for a server whose positions went back.
#[tokio::test]
async fn a_feed_that_follows_nothing_survives_a_cut_and_keeps_its_position() {
    let server = TestServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let tags = || vec!["a".to_owned()];
    let (ask, asked) = mpsc::channel(8);
    let requests = ReceiverStream::new(asked);
    let mut events = pin!(tag_feed(proxy.channel(), FeedStart::Now, requests));

    ask.send(FeedRequest::Join { tags: tags(), all_tags: false }).await.unwrap();
    ask.send(FeedRequest::Publish(post("first", &["a"]))).await.unwrap();
    until(&mut events, |event| matches!(event, FeedEvent::Posts(_))).await;
    ask.send(FeedRequest::Leave { tags: tags(), all_tags: false }).await.unwrap();
    until(&mut events, |event| matches!(event, FeedEvent::Left(_))).await;

    proxy.cut();
    until(&mut events, |event| matches!(event, FeedEvent::Disconnected(_))).await;
    ask.send(FeedRequest::Leave { tags: tags(), all_tags: false }).await.unwrap();
    let left = until(&mut events, |event| matches!(event, FeedEvent::Left(_))).await;
    assert!(matches!(left, FeedEvent::Left(left) if left.position.as_ref().unwrap().sequence == 1));
    ask.send(FeedRequest::Publish(post("second", &["a"]))).await.unwrap();
    until(&mut events, |event| matches!(event, FeedEvent::Receipt(r) if r.sequence == 2)).await;
    drop(ask);
    while let Some(event) = soon(events.next()).await {
        event.unwrap();
    }
    server.stop().await;
}

async fn until(
    events: &mut (impl Stream<Item = Result<FeedEvent, quartet_client::Error>> + Unpin),
    is_it: impl Fn(&FeedEvent) -> bool,
) -> FeedEvent {
    loop {
        let event = soon(events.next()).await.expect("the feed goes on").unwrap();
        if is_it(&event) {
            return event;
        }
    }
}
