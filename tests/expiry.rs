//! Tokens that expire during a call: how each RPC kind ends then, and how a client continues.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use quartet::{
    post::v1::{
        JoinTags, ListPostsRequest, ListPostsResponse, PublishPost, TagFeedRequest,
        TagFeedResponse, post_service_client::PostServiceClient,
        tag_feed_request::Payload as Asked, tag_feed_response::Payload,
    },
    reason,
};
use quartet_channel::{Credentials, TokenSource};
use quartet_client::{
    Channel, FeedEvent, FeedRequest, FeedStart, ListEvent, UploadEvent, list_posts, tag_feed,
    upload_posts,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::support::{
    TestServer, assert_refused,
    certs::{Authority, with_token},
    follow, large_post, next, post, post_request, reaches, sequence, soon, until_end, upload_of,
};

/// Lifetime of tokens, in seconds of paused time. No heartbeat falls on its end.
const TTL: i64 = 50;

/// A server in memory that requires tokens, and a client whose token is valid for [`TTL`].
async fn server() -> (TestServer, Authority, PostServiceClient<Channel>) {
    let authority = Authority::new();
    let server = TestServer::in_memory_with(authority.token_config()).await;
    let client = client(&server, &authority, TTL);
    (server, authority, client)
}

fn client(server: &TestServer, authority: &Authority, seconds: i64) -> PostServiceClient<Channel> {
    PostServiceClient::new(with_token(server.channel(), &authority.token("1", seconds)))
}

/// Checks that `end` is when a token issued at `began` expires. Issuing took real time, which is
/// not paused.
fn assert_end_of_token(began: Instant, end: Instant) {
    let elapsed = (end - began).as_secs_f64();
    assert!((TTL as f64 - 2.0..TTL as f64 + 0.5).contains(&elapsed), "after {elapsed} s");
}

#[tokio::test(start_paused = true)]
async fn a_followed_list_ends_with_a_bookmark_and_then_token_expired() {
    let (server, _authority, mut client) = server().await;
    let began = Instant::now();
    let mut stream = soon(client.list_posts(follow())).await.unwrap().into_inner();
    assert!(next(&mut stream).await.snapshot_complete);
    let (messages, last_word, end) = until_expired(stream).await;
    assert_refused(end, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    assert_end_of_token(began, last_word);
    assert_end_of_token(began, Instant::now());
    let last: &ListPostsResponse = messages.last().expect("a bookmark");
    assert!(last.post_messages.is_empty() && sequence(&last.position) == 0);
    reaches(&server.gauges().streams, 0).await;
}

/// All messages of a stream, the time of the last one, and the outcome. It may take long: time is
/// paused.
async fn until_expired<T>(mut stream: Streaming<T>) -> (Vec<T>, Instant, Result<(), Status>) {
    let (mut messages, mut last_word) = (Vec::new(), Instant::now());
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, last_word, Ok(())),
            Err(status) => return (messages, last_word, Err(status)),
        }
        last_word = Instant::now();
    }
}

fn asked(payload: Asked) -> TagFeedRequest {
    TagFeedRequest { payload: Some(payload) }
}

#[tokio::test(start_paused = true)]
async fn a_feed_ends_with_its_receipts_then_a_bookmark_and_then_token_expired() {
    let (_server, _authority, mut client) = server().await;
    let began = Instant::now();
    let (requests, body) = mpsc::channel(8);
    let join = JoinTags { tags: vec!["a".to_owned()], ..JoinTags::default() };
    requests.send(asked(Asked::Join(join))).await.unwrap();
    let stream = soon(client.tag_feed(ReceiverStream::new(body))).await.unwrap().into_inner();
    for n in 0..3 {
        let post_message = Some(post(format!("p{n}"), &["a"]));
        requests.send(asked(Asked::Publish(PublishPost { post_message }))).await.unwrap();
    }
    let (messages, last_word, end) = until_expired(stream).await;
    assert_refused(end, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    assert_end_of_token(began, last_word);
    assert_end_of_token(began, Instant::now());
    let payload = |message: &TagFeedResponse| message.payload.clone().unwrap();
    let receipts =
        messages.iter().filter(|message| matches!(payload(message), Payload::Receipt(_)));
    assert_eq!(receipts.count(), 3);
    let Some(Payload::Bookmark(bookmark)) = messages.last().map(payload) else {
        panic!("a bookmark comes last")
    };
    assert!(!bookmark.caught_up && sequence(&bookmark.position) == 3);
}

#[tokio::test(start_paused = true)]
async fn an_upload_ends_token_expired_and_what_it_sent_is_stored() {
    let (server, authority, mut client) = server().await;
    let began = Instant::now();
    let (requests, body) = mpsc::channel(8);
    for n in 0..3 {
        requests.send(post_request(post(format!("p{n}"), &[]))).await.unwrap();
    }
    let end = client.upload_posts(ReceiverStream::new(body)).await;
    assert_refused(end, Code::Unauthenticated, reason::TOKEN_EXPIRED);
    assert_end_of_token(began, Instant::now());
    let mut client = self::client(&server, &authority, 3600);
    let posts = (0..4).map(|n| post(format!("p{n}"), &[]));
    let again = soon(client.upload_posts(upload_of(posts))).await.unwrap().into_inner();
    assert_eq!((again.duplicate_count, again.created_count), (3, 1), "sending it again is safe");
}

/// A list that is longer than its client's window, and that client.
async fn long_list() -> (TestServer, Streaming<ListPostsResponse>, Instant) {
    let (server, authority, mut writer) = server().await;
    for n in 0..60 {
        let post = large_post(format!("p{n}"), &[], 60 * 1024);
        soon(writer.upload_posts(upload_of([post]))).await.unwrap();
    }
    let began = Instant::now();
    let channel = with_token(server.narrow_channel(), &authority.token("1", TTL));
    let mut reader = PostServiceClient::new(channel);
    let request = ListPostsRequest::default();
    let mut stream = soon(reader.list_posts(request)).await.unwrap().into_inner();
    next(&mut stream).await;
    (server, stream, began)
}

#[tokio::test(start_paused = true)]
async fn a_plain_list_stops_and_ends_token_expired() {
    let (_server, mut stream, began) = long_list().await;
    // The client reads slowly, but not around the expiry.
    let mut seen = 1;
    let end = loop {
        let late = began.elapsed().as_secs() > TTL as u64 - 5;
        sleep(Duration::from_millis(if late { 200 } else { 5000 })).await;
        match stream.message().await {
            Ok(Some(message)) => {
                assert!(!message.snapshot_complete, "the list should not reach its end");
                seen += 1;
            }
            Ok(None) => panic!("the list ended early"),
            Err(status) => break status,
        }
    };
    let reason = end.get_details_error_info().map(|info| info.reason);
    assert_eq!(reason.as_deref(), Some(reason::TOKEN_EXPIRED), "{end:?}");
    assert!(seen > 10 && began.elapsed().as_secs() <= TTL as u64 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_past_its_token_is_reset() {
    let (server, mut stream, began) = long_list().await;
    // The client reads until shortly before its token expires, so that it is not reset for stalling
    // for 30 s.
    while began.elapsed().as_secs() < TTL as u64 - 10 {
        sleep(Duration::from_secs(5)).await;
        next(&mut stream).await;
    }
    assert_eq!(server.gauges().streams.get(), 1);
    sleep_until(began + Duration::from_secs(TTL as u64 + 3)).await;
    assert_eq!(
        server.gauges().streams.get(),
        0,
        "the stream is gone, although its end was never read"
    );
    let (_, end) = until_end(stream).await;
    assert_eq!(end.unwrap_err().code(), Code::Cancelled);
}

/// Credentials from a command that prints a new token of two seconds each time it runs.
fn short_lived(authority: &Authority) -> (Credentials, tokio::task::JoinHandle<()>) {
    let file = authority.file("token");
    let command = format!("cat {}", file.display());
    let authority = authority.path().to_owned();
    let mint = move || {
        let exp = crate::support::certs::now() + 2;
        let scope = "users.read posts.read posts.write";
        let claims = serde_json::json!({
            "iss": "quartet", "aud": "posts", "sub": "1", "scope": scope, "exp": exp,
        });
        quartet_server::certs::sign(&authority.join("signing.key"), &claims).unwrap()
    };
    let write = move || {
        let new = file.with_extension("new");
        std::fs::write(&new, mint()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    write();
    let minting = tokio::task::spawn(async move {
        loop {
            sleep(Duration::from_millis(200)).await;
            write();
        }
    });
    (Credentials::new(TokenSource::Command(command)).over_plaintext(), minting)
}

/// The events of a call until the token has cut it this many times and another event has come.
async fn through_cuts<T>(
    events: impl Stream<Item = Result<T, quartet_client::Error>>,
    cuts: usize,
    is_cut: impl Fn(&T) -> bool,
) -> Vec<T> {
    let mut events = std::pin::pin!(events);
    let (mut seen, mut cut) = (Vec::new(), 0);
    while cut < cuts || seen.last().is_some_and(&is_cut) {
        let event = soon(events.next()).await.expect("the stream goes on").unwrap();
        cut += usize::from(is_cut(&event));
        seen.push(event);
    }
    seen
}

#[tokio::test]
async fn a_followed_list_continues_with_new_tokens_without_a_gap() {
    let authority = Authority::new();
    let server = TestServer::with(authority.token_config()).await;
    let (credentials, minting) = short_lived(&authority);
    let mut writer = client(&server, &authority, 3600);
    let writing = tokio::task::spawn(async move {
        for n in 0.. {
            let upload = writer.upload_posts(upload_of([post(format!("p{n}"), &[])]));
            soon(upload).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    });
    let channel = server.channel().with_credentials(credentials).unwrap();
    let events = list_posts(channel, follow());
    let is_cut = |event: &ListEvent| match event {
        ListEvent::Disconnected(cut) => {
            assert!(cut.cause.is_token_expired(), "{}", cut.cause);
            true
        }
        _ => false,
    };
    let seen = through_cuts(events, 2, is_cut).await;
    let batches = seen.into_iter().filter_map(|event| match event {
        ListEvent::Batch(batch) => Some(batch.post_messages),
        _ => None,
    });
    let sequences: Vec<_> = batches.flatten().map(|post| post.sequence).collect();
    assert!(!sequences.is_empty() && sequences.iter().copied().eq(1..=sequences.len() as i64));
    writing.abort();
    minting.abort();
}

#[tokio::test]
async fn a_feed_continues_with_new_tokens_and_every_post_has_its_receipt() {
    let authority = Authority::new();
    let server = TestServer::with(authority.token_config()).await;
    let (credentials, minting) = short_lived(&authority);
    let (requests, body) = mpsc::channel(1);
    let publishing = tokio::task::spawn(async move {
        let join = FeedRequest::Join { tags: vec!["a".to_owned()], all_tags: false };
        requests.send(join).await.unwrap();
        for n in 0.. {
            if requests.send(FeedRequest::Publish(post(format!("p{n}"), &["a"]))).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    let channel = server.channel().with_credentials(credentials).unwrap();
    let events = tag_feed(channel, FeedStart::Oldest, ReceiverStream::new(body));
    let is_cut = |event: &FeedEvent| match event {
        FeedEvent::Disconnected(cut) => {
            assert!(cut.cause.is_token_expired(), "{}", cut.cause);
            true
        }
        _ => false,
    };
    let seen = through_cuts(events, 2, is_cut).await;
    let receipts = seen.iter().filter_map(|event| match event {
        FeedEvent::Receipt(receipt) => Some(receipt.post_id.clone()),
        _ => None,
    });
    let receipts: Vec<_> = receipts.collect();
    let expected = (0..receipts.len()).map(|n| format!("p{n}"));
    assert!(!receipts.is_empty() && receipts.iter().cloned().eq(expected), "{receipts:?}");
    publishing.abort();
    minting.abort();
}

#[tokio::test]
async fn an_upload_that_outlives_its_token_is_repeated_with_a_new_one() {
    let authority = Authority::new();
    let server = TestServer::with(authority.token_config()).await;
    let (credentials, minting) = short_lived(&authority);
    let mut attempts = 0;
    let channel = server.channel().with_credentials(credentials).unwrap();
    let events = upload_posts(channel, || {
        attempts += 1;
        // In the first attempt, the last post takes longer than the token is valid.
        let wait = if attempts == 1 { Duration::from_secs(4) } else { Duration::ZERO };
        let posts = futures::stream::iter(0..3).then(move |n| async move {
            if n == 2 {
                sleep(wait).await;
            }
            Ok(post(format!("p{n}"), &[]))
        });
        Box::pin(posts)
    });
    let mut events = std::pin::pin!(events);
    let mut cuts = 0;
    let response = loop {
        match soon(events.next()).await.unwrap().unwrap() {
            UploadEvent::Done(response) => break response,
            UploadEvent::Disconnected(cut) => {
                assert!(cut.cause.is_token_expired(), "{}", cut.cause);
                cuts += 1;
            }
            _ => {}
        }
    };
    assert_eq!(cuts, 1);
    assert_eq!((response.duplicate_count, response.created_count, response.complete), (2, 1, true));
    minting.abort();
}

#[tokio::test]
async fn without_a_new_token_a_client_ends_unauthenticated() {
    let authority = Authority::new();
    let server = TestServer::with(authority.token_config()).await;
    let channel = with_token(server.channel(), &authority.token("1", 2));
    let mut events = std::pin::pin!(list_posts(channel, follow()));
    let end = loop {
        match soon(events.next()).await.expect("the stream ends with an error") {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(end, "UNAUTHENTICATED: the token was refused, and there is no other");
}
