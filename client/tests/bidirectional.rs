//! Bidirectional: what a feed keeps over a cut.

use std::pin::pin;

use futures::{StreamExt as _, TryStreamExt as _, future::join, stream::iter};
use quartet::{
    limits,
    post::v1::{
        Bookmark, JoinTags, Joined, LeaveTags, Left, PublishPost, Receipt,
        tag_feed_request::Payload as Request, tag_feed_response::Payload as Response,
    },
};
use quartet_client::{Error, FeedEvent, FeedRequest, FeedStart, tag_feed};
use tonic::Status;

use crate::fake::{Fake, and_then_silence, position, post, within};

fn tags(tags: &[&str]) -> Vec<String> {
    tags.iter().map(ToString::to_string).collect()
}

fn join_request(names: &[&str]) -> FeedRequest {
    FeedRequest::Join { tags: tags(names), all_tags: false }
}

fn join_message(names: &[&str], resume_after: Option<i64>) -> Request {
    let resume_after = resume_after.map(position);
    Request::Join(JoinTags { tags: tags(names), resume_after, ..Default::default() })
}

fn publish_message(number: i64) -> Request {
    Request::Publish(PublishPost { post_message: Some(post(number)) })
}

fn joined(names: &[&str], after: i64) -> Response {
    Response::Joined(Joined { tags: tags(names), all_tags: false, position: Some(position(after)) })
}

fn receipt(number: i64, sequence: i64) -> Response {
    Response::Receipt(Receipt { post_id: format!("p{number}"), sequence, ..Default::default() })
}

fn caught_up(at: i64) -> Response {
    Response::Bookmark(Bookmark { position: Some(position(at)), caught_up: true })
}

fn transcript(events: &[FeedEvent]) -> Vec<String> {
    let line = |event: &FeedEvent| match event {
        FeedEvent::Sent(FeedRequest::Join { tags, .. }) => format!("join {}", tags.join(" ")),
        FeedEvent::Sent(FeedRequest::Leave { tags, .. }) => format!("leave {}", tags.join(" ")),
        FeedEvent::Sent(FeedRequest::Publish(post)) => format!("publish {}", post.post_id),
        FeedEvent::Joined(joined) => format!("joined {}", joined.tags.join(" ")),
        FeedEvent::Left(left) => format!("left {}", left.tags.join(" ")),
        FeedEvent::Posts(batch) => {
            let sequences: Vec<_> = batch.post_messages.iter().map(|post| post.sequence).collect();
            format!("posts {sequences:?}")
        }
        FeedEvent::Receipt(receipt) => format!("receipt {}", receipt.post_id),
        FeedEvent::Bookmark(bookmark) => format!("bookmark {}", bookmark.caught_up),
        FeedEvent::Disconnected(_) => "disconnected".into(),
        FeedEvent::Reconnected(at) => {
            format!("reconnected after {:?}", at.as_ref().map(|p| p.sequence))
        }
    };
    events.iter().map(line).collect()
}

#[tokio::test]
async fn a_feed_that_half_closes_gets_every_answer_that_is_due_and_ends() {
    let mut server = Fake::start().await;
    let requests = iter([join_request(&["go"]), FeedRequest::Publish(post(1))]);
    let events = tag_feed(server.channel(), FeedStart::Now, requests).try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_feed().await;
        assert_eq!(call.next().await, join_message(&["go"], None));
        assert_eq!(call.next().await, publish_message(1));
        assert!(call.is_half_closed().await);
        call.send(joined(&["go"], 4)).await;
        call.send(receipt(1, 5)).await;
        call.send_posts(&[5], 5).await;
        call.send(caught_up(5)).await;
    };
    let (events, ()) = within(join(events, script)).await;
    let expected =
        ["join go", "publish p1", "joined go", "receipt p1", "posts [5]", "bookmark true"];
    assert_eq!(transcript(&events.unwrap()), expected);
}

#[tokio::test]
async fn after_a_cut_the_tags_are_rejoined_and_a_publish_without_receipt_is_repeated_with_its_id() {
    let mut server = Fake::start().await;
    let requests =
        [join_request(&["go"]), FeedRequest::Publish(post(1)), FeedRequest::Publish(post(2))];
    let requests = and_then_silence(requests.into());
    let events = tag_feed(server.channel(), FeedStart::Now, requests);
    let events = events.take(11).try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_feed().await;
        call.next().await;
        call.send(joined(&["go"], 4)).await;
        call.next().await;
        call.next().await;
        call.send(receipt(1, 5)).await;
        call.send_posts(&[5], 5).await;
        call.fail(Status::unavailable("draining")).await;

        let mut call = server.accept_feed().await;
        assert_eq!(call.next().await, join_message(&["go"], Some(5)));
        assert_eq!(call.next().await, publish_message(2));
        call.send(joined(&["go"], 5)).await;
        call.send(receipt(2, 6)).await;
        call.send_posts(&[6], 6).await;
        call
    };
    let (events, _call) = within(join(events, script)).await;
    let mut seen = transcript(&events.unwrap());
    // There is no order between requests that go out and answers that come in.
    let sent: Vec<_> = seen.extract_if(.., |line| line.starts_with("publish")).collect();
    assert_eq!(sent, ["publish p1", "publish p2", "publish p2"]);
    let expected = [
        "join go",
        "joined go",
        "receipt p1",
        "posts [5]",
        "disconnected",
        "reconnected after Some(5)",
        "receipt p2",
        "posts [6]",
    ];
    assert_eq!(seen[..8], expected);
}

#[tokio::test]
async fn tags_change_when_their_answer_is_handled_and_pending_requests_are_repeated() {
    let mut server = Fake::start().await;
    let leave = FeedRequest::Leave { tags: tags(&["go"]), all_tags: false };
    let requests =
        [join_request(&["go"]), join_request(&["rust"]), leave.clone(), join_request(&["c"])];
    let requests = and_then_silence(requests.into());
    let mut events = pin!(tag_feed(server.channel(), FeedStart::Oldest, requests));
    let script = async {
        let mut call = server.accept_feed().await;
        let Request::Join(first) = call.next().await else { panic!("no join") };
        assert!(first.from_oldest, "the first join says where to start");
        assert_eq!(call.next().await, join_message(&["rust"], None));
        let left = LeaveTags { tags: tags(&["go"]), all_tags: false };
        assert_eq!(call.next().await, Request::Leave(left.clone()));
        assert_eq!(call.next().await, join_message(&["c"], None));
        call.send(joined(&["go"], 0)).await;
        call.send_posts(&[1, 3], 3).await;
        call.send(joined(&["go", "rust"], 3)).await;
        call.fail(Status::unavailable("draining")).await;

        let mut call = server.accept_feed().await;
        assert_eq!(call.next().await, join_message(&["go", "rust"], Some(3)));
        assert_eq!(call.next().await, Request::Leave(left));
        assert_eq!(call.next().await, join_message(&["c"], None));
        call.send(joined(&["go", "rust"], 3)).await;
        let rust = tags(&["rust"]);
        let left = Left { tags: rust, all_tags: false, position: Some(position(6)) };
        call.send(Response::Left(left)).await;
        call.fail(Status::unavailable("draining again")).await;

        let mut call = server.accept_feed().await;
        assert_eq!(call.next().await, join_message(&["rust"], Some(6)));
        assert_eq!(call.next().await, join_message(&["c"], None));
    };
    let run = async { while let Some(Ok(_)) = events.next().await {} };
    within(async {
        tokio::select! { () = run => panic!("the feed ended"), () = script => {} }
    })
    .await;
}

#[tokio::test]
async fn a_connection_cut_under_a_feed_loses_nothing() {
    let mut server = Fake::start().await;
    let requests = and_then_silence(vec![join_request(&["go"])]);
    let mut events = pin!(tag_feed(server.channel(), FeedStart::After(position(2)), requests));
    let mut seen = Vec::new();
    let script = async {
        let mut call = server.accept_feed().await;
        assert_eq!(call.next().await, join_message(&["go"], Some(2)));
        call.send(joined(&["go"], 2)).await;
        call.send_posts(&[3], 4).await;
        call
    };
    let (first, _call) =
        within(join(events.by_ref().take(3).try_collect::<Vec<_>>(), script)).await;
    seen.extend(first.unwrap());
    server.cut();
    let script = async {
        let mut call = server.accept_feed().await;
        assert_eq!(call.next().await, join_message(&["go"], Some(4)));
        call.send(joined(&["go"], 4)).await;
        call.send_posts(&[5], 5).await;
        call
    };
    let (rest, _call) = within(join(events.take(3).try_collect::<Vec<_>>(), script)).await;
    seen.extend(rest.unwrap());
    let expected = [
        "join go",
        "joined go",
        "posts [3]",
        "disconnected",
        "reconnected after Some(4)",
        "posts [5]",
    ];
    assert_eq!(transcript(&seen), expected);
}

#[tokio::test]
async fn an_end_of_the_stream_without_the_final_bookmark_is_resumed() {
    let mut server = Fake::start().await;
    let requests = iter([join_request(&["go"])]);
    let events = tag_feed(server.channel(), FeedStart::Now, requests).try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_feed().await;
        call.next().await;
        call.send(joined(&["go"], 4)).await;
        call.send(caught_up(4)).await;
        call.send_posts(&[5], 5).await;
        drop(call);
        let mut call = server.accept_feed().await;
        assert_eq!(call.next().await, join_message(&["go"], Some(5)));
        assert!(call.is_half_closed().await);
        call.send(joined(&["go"], 5)).await;
        call.send(caught_up(5)).await;
    };
    let (events, ()) = within(join(events, script)).await;
    assert_eq!(
        transcript(&events.unwrap())[4..],
        ["disconnected", "reconnected after Some(5)", "bookmark true"]
    );
}

#[tokio::test]
async fn a_server_that_holds_back_its_headers_does_not_block_the_feed() {
    let mut server = Fake::start().await;
    let requests = iter([FeedRequest::Publish(post(1))]);
    let events = tag_feed(server.channel(), FeedStart::Now, requests).try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_feed_without_headers().await;
        assert_eq!(call.next().await, publish_message(1));
        call.send_headers();
        call.send(receipt(1, 1)).await;
        call.send(caught_up(1)).await;
    };
    let (events, ()) = within(join(events, script)).await;
    assert_eq!(transcript(&events.unwrap()), ["publish p1", "receipt p1", "bookmark true"]);
}

#[tokio::test]
async fn at_most_64_requests_are_without_an_answer() {
    let mut server = Fake::start().await;
    let requests = iter((1..).map(|number| FeedRequest::Publish(post(number))));
    let mut events = pin!(tag_feed(server.channel(), FeedStart::Now, requests));
    let script = async {
        let mut call = server.accept_feed().await;
        for number in 1..=limits::OWED_RECEIPTS as i64 {
            assert_eq!(call.next().await, publish_message(number));
        }
        assert!(call.is_silent().await);
        call.send(receipt(1, 1)).await;
        assert_eq!(call.next().await, publish_message(limits::OWED_RECEIPTS as i64 + 1));
    };
    let run = async { while let Some(Ok(_)) = events.next().await {} };
    within(async {
        tokio::select! { () = run => panic!("the feed ended"), () = script => {} }
    })
    .await;
}

#[tokio::test]
async fn a_receipt_for_another_post_is_an_error() {
    let mut server = Fake::start().await;
    let requests = [FeedRequest::Publish(post(1)), FeedRequest::Publish(post(2))];
    let events = tag_feed(server.channel(), FeedStart::Now, and_then_silence(requests.into()));
    let events = events.try_collect::<Vec<_>>();
    let script = async {
        let mut call = server.accept_feed().await;
        call.next().await;
        call.next().await;
        call.send(receipt(2, 1)).await;
        call
    };
    let (events, _call) = within(join(events, script)).await;
    assert!(matches!(events, Err(Error::Protocol(_))), "{events:?}");
}

#[tokio::test]
async fn a_feed_that_is_dropped_ends_its_call() {
    let mut server = Fake::start().await;
    let requests = and_then_silence(vec![join_request(&["go"])]);
    let mut events = Box::pin(tag_feed(server.channel(), FeedStart::Now, requests));
    let script = async {
        let mut call = server.accept_feed().await;
        call.next().await;
        call.send(joined(&["go"], 1)).await;
        call
    };
    let (_, call) = within(join(events.by_ref().take(2).collect::<Vec<_>>(), script)).await;
    drop(events);
    // If the client only stopped reading, the server could go on sending.
    within(call.is_abandoned()).await;
}
