//! Streams that look alive and say nothing, as behind a proxy that keeps the end of a call to
//! itself.

use std::pin::pin;

use futures::StreamExt as _;
use quartet::{
    limits::{REQUEST_HEARTBEAT, SILENCE},
    post::v1::{Bookmark, Joined, ListPostsRequest, tag_feed_request, tag_feed_response::Payload},
};
use quartet_client::{Error, FeedEvent, FeedRequest, FeedStart, ListEvent, list_posts, tag_feed};
use tokio::time::{self, Instant};

use crate::fake::{Fake, and_then_silence, position, within};

/// Asserts that `cause` is a silence, which began at `heard`.
fn assert_silent_since(heard: Instant, cause: &Error) {
    assert!(matches!(cause, Error::Silent(_)), "{cause}");
    assert!(heard.elapsed() >= SILENCE && heard.elapsed() < SILENCE * 2, "{:?}", heard.elapsed());
}

#[tokio::test]
async fn a_followed_list_that_is_silent_for_40_s_is_resumed() {
    let mut fake = Fake::start().await;
    let request = ListPostsRequest { follow: true, ..Default::default() };
    let mut events = pin!(list_posts(fake.channel(), request));
    let server = async {
        let call = fake.accept_list().await;
        call.send(&[1], 1, true).await;
        (fake, call)
    };
    let (event, (mut fake, _silent)) = within(async { tokio::join!(events.next(), server) }).await;
    assert!(matches!(event, Some(Ok(ListEvent::Batch(_)))), "{event:?}");

    let heard = Instant::now();
    time::pause();
    let Some(Ok(ListEvent::Disconnected(cut))) = events.next().await else { panic!("a cut") };
    assert_silent_since(heard, &cut.cause);
    time::resume();

    let server = async {
        let call = fake.accept_list().await;
        assert_eq!(call.request.resume_after, Some(position(1)), "it goes on where it was");
        call.send(&[2], 2, true).await;
        call
    };
    let (event, _call) = within(async { tokio::join!(events.next(), server) }).await;
    assert!(matches!(event, Some(Ok(ListEvent::Reconnected(_)))), "{event:?}");
}

#[tokio::test]
async fn a_feed_asks_for_a_bookmark_after_30_s_and_is_resumed_after_40_s_without_an_answer() {
    let mut fake = Fake::start().await;
    let join = FeedRequest::Join { tags: vec!["go".into()], all_tags: false };
    let requests = and_then_silence(vec![join]);
    let mut events = pin!(tag_feed(fake.channel(), FeedStart::Now, requests));
    let server = async {
        let mut call = fake.accept_feed().await;
        call.next().await;
        call.send(Payload::Joined(Joined {
            tags: vec!["go".into()],
            position: Some(position(4)),
            ..Default::default()
        }))
        .await;
        call
    };
    let joined = async { while !matches!(events.next().await, Some(Ok(FeedEvent::Joined(_)))) {} };
    let ((), mut call) = within(async { tokio::join!(joined, server) }).await;

    time::pause();
    time::advance(REQUEST_HEARTBEAT).await;
    time::resume();
    let asked = async {
        let asked = call.next().await;
        assert!(matches!(asked, tag_feed_request::Payload::GetBookmark(_)), "{asked:?}");
        let bookmark = Bookmark { position: Some(position(7)), caught_up: false };
        call.send(Payload::Bookmark(bookmark)).await;
    };
    let (event, ()) = within(async { tokio::join!(events.next(), asked) }).await;
    assert!(matches!(event, Some(Ok(FeedEvent::Bookmark(_)))), "{event:?}");

    let heard = Instant::now();
    time::pause();
    let Some(Ok(FeedEvent::Disconnected(cut))) = events.next().await else { panic!("a cut") };
    assert_silent_since(heard, &cut.cause);
}
