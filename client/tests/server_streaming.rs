//! Server streaming: resuming a list.

use std::pin::pin;

use futures::{StreamExt as _, TryStreamExt as _, future::join};
use quartet::post::v1::{ListPostsRequest, ListPostsResponse};
use quartet_channel::CallError;
use quartet_client::{Error, ListEvent, list_posts};
use tonic::Status;

use crate::fake::{Fake, position, within};

/// A line per event.
fn transcript(events: &[ListEvent]) -> Vec<String> {
    let line = |event: &ListEvent| match event {
        ListEvent::Batch(batch) => describe(batch),
        ListEvent::Disconnected(cut) => format!("disconnected: {}", kind(&cut.cause)),
        ListEvent::Reconnected(position) => format!("reconnected after {}", position.sequence),
    };
    events.iter().map(line).collect()
}

fn describe(batch: &ListPostsResponse) -> String {
    let sequences: Vec<_> = batch.post_messages.iter().map(|post| post.sequence).collect();
    let complete = if batch.snapshot_complete { " complete" } else { "" };
    format!("{sequences:?}{complete}")
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Call(CallError::Lost(_)) => "lost",
        Error::Truncated => "truncated",
        Error::Call(CallError::Status(_)) => "status",
        _ => "another",
    }
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_list_loses_and_repeats_no_post() {
    let mut server = Fake::start().await;
    let mut events = pin!(list_posts(server.channel(), ListPostsRequest::default()));
    let mut seen = Vec::new();
    let call = join(events.next(), async {
        let call = server.accept_list().await;
        assert_eq!(call.request.resume_after, None);
        call.send(&[1, 2], 2, false).await;
        call
    });
    let (event, call) = within(call).await;
    seen.push(event.unwrap().unwrap());
    call.send(&[5], 7, false).await;
    seen.push(within(events.next()).await.unwrap().unwrap());
    server.cut();

    let script = async {
        let call = server.accept_list().await;
        assert_eq!(call.request.resume_after, Some(position(7)));
        call.send(&[8], 8, true).await;
    };
    let (rest, ()) = within(join(events.try_collect::<Vec<_>>(), script)).await;
    seen.extend(rest.unwrap());
    let expected = ["[1, 2]", "[5]", "disconnected: lost", "reconnected after 7", "[8] complete"];
    assert_eq!(transcript(&seen), expected);
}

#[tokio::test]
async fn a_clean_end_before_the_list_is_complete_is_resumed() {
    let mut server = Fake::start().await;
    let events = list_posts(server.channel(), ListPostsRequest::default()).try_collect::<Vec<_>>();
    let script = async {
        server.accept_list().await.send(&[1], 1, false).await;
        server.accept_list().await.send(&[2], 2, true).await;
    };
    let (events, ()) = within(join(events, script)).await;
    let expected = ["[1]", "disconnected: truncated", "reconnected after 1", "[2] complete"];
    assert_eq!(transcript(&events.unwrap()), expected);
}

#[tokio::test]
async fn a_followed_list_goes_on_after_a_shutdown_and_is_complete_only_once() {
    let mut server = Fake::start().await;
    let request = ListPostsRequest { follow: true, ..Default::default() };
    let events = list_posts(server.channel(), request).take(5).try_collect::<Vec<_>>();
    let script = async {
        let call = server.accept_list().await;
        call.send(&[1], 1, true).await;
        call.fail(Status::unavailable("draining")).await;
        let call = server.accept_list().await;
        assert!(call.request.follow);
        call.send(&[], 1, true).await;
        call.send(&[2], 2, false).await;
    };
    let (events, ()) = within(join(events, script)).await;
    let expected = ["[1] complete", "disconnected: status", "reconnected after 1", "[]", "[2]"];
    assert_eq!(transcript(&events.unwrap()), expected);
}

#[tokio::test]
async fn a_resume_on_another_log_ends_the_list() {
    let mut server = Fake::start().await;
    let events = list_posts(server.channel(), ListPostsRequest::default()).try_collect::<Vec<_>>();
    let script = async {
        let call = server.accept_list().await;
        call.send(&[1], 1, false).await;
        call.fail(Status::unavailable("draining")).await;
        server.accept_list().await.fail(Status::out_of_range("another log")).await;
    };
    let (events, ()) = within(join(events, script)).await;
    assert_eq!(events.unwrap_err().to_string(), "OUT_OF_RANGE: another log");
}

#[tokio::test]
async fn posts_out_of_order_are_never_delivered() {
    let mut server = Fake::start().await;
    let events = list_posts(server.channel(), ListPostsRequest::default()).collect::<Vec<_>>();
    let script = async {
        let call = server.accept_list().await;
        call.send(&[1, 2], 2, false).await;
        call.send(&[2, 3], 3, false).await;
    };
    let (mut events, ()) = within(join(events, script)).await;
    let last = events.pop().unwrap();
    assert!(matches!(last, Err(Error::Protocol(_))), "{last:?}");
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn without_a_server_the_first_call_fails_at_once() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let channel = quartet_client::connect(&format!("http://{unused}")).unwrap();
    let events = list_posts(channel, ListPostsRequest::default()).collect::<Vec<_>>();
    let events = within(events).await;
    let [Err(error @ Error::Call(CallError::Connect(_)))] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(error.to_string().starts_with("cannot connect: Connection refused"), "{error}");
}
