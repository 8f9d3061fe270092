//! Drain: a stopping server tells its streams where to resume, and stops in time.

use std::{sync::Arc, time::Duration};

use quartet::{
    post::v1::{ListPostsRequest, PostMessage, post_service_client::PostServiceClient},
    reason,
};
use quartet_log::{NewPost, PostLog as _};
use quartet_server::settings::{LogSettings, Role, Settings, UserEndpoint, UserSettings};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    Feed, TestServer, assert_refused,
    fakes::{CountingUsers, FakeLog, Mood},
    finish, large_post, list, next,
    order::{Received, check},
    post, post_request, posts, read_log, sequence, soon, until_end, upload,
};

#[tokio::test]
async fn a_followed_list_ends_with_a_bookmark_and_then_unavailable() {
    let server = TestServer::start().await;
    upload(&mut server.posts(), posts("p", 3, &["unheard"])).await.unwrap();
    let tags = vec!["a".to_owned()];
    let request = ListPostsRequest { tags, follow: true, ..ListPostsRequest::default() };
    let mut stream = list(&mut server.posts(), request).await.unwrap();
    assert!(next(&mut stream).await.snapshot_complete);
    upload(&mut server.posts(), posts("q", 2, &["unheard"])).await.unwrap();
    let stopping = server.begin_stop();
    let (messages, end) = until_end(stream).await;
    let status = assert_refused(end, Code::Unavailable, reason::SHUTDOWN);
    assert!(status.get_details_retry_info().is_some());
    let [bookmark] = messages.as_slice() else { panic!("one bookmark: {messages:?}") };
    assert!(bookmark.post_messages.is_empty() && sequence(&bookmark.position) >= 3);
    soon(stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_feed_ends_with_its_receipts_then_a_bookmark_and_then_unavailable() {
    let server = TestServer::start().await;
    let mut feed = Feed::joined_to(&mut server.posts(), &["a"]).await;
    for n in 0..5 {
        feed.publish(post(format!("p{n}"), &["a"])).await;
    }
    feed.receipt().await; // then the posts have reached the server
    let log = read_log(&mut server.posts()).await;
    let stopping = server.begin_stop();
    assert_refused(feed.until_end().await, Code::Unavailable, reason::SHUTDOWN);
    let bookmark = feed.bookmarks().last().copied().unwrap().clone();
    assert!(!bookmark.caught_up);
    assert!(feed.receipts().len() >= log.len(), "every stored post has its receipt");
    soon(stopping).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drained_reader_gets_no_position_past_an_unsent_post() {
    let log = Arc::new(FakeLog::default());
    let users = CountingUsers::default();
    let (channel, _serving) = users.serve();
    let server = TestServer::of_parts(log.clone(), channel);
    let mut client = server.posts();
    let mut feed = Feed::joined_to(&mut client, &["a"]).await;
    let request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    let mut stream = list(&mut client, request).await.unwrap();
    assert!(next(&mut stream).await.snapshot_complete);

    // A post that cannot be sent yet, because its author cannot be fetched.
    users.set(Mood::Hangs);
    let stored = NewPost::of(&post("p", &["a"]), prost_types::Timestamp::default());
    log.append(vec![stored].into()).await.unwrap().await.unwrap();
    users.called("1", 1).await;

    let stopping = server.begin_stop();
    assert_refused(feed.until_end().await, Code::Unavailable, reason::SHUTDOWN);
    assert_eq!(feed.received().position(), 0);
    let (messages, end) = until_end(stream).await;
    assert_refused(end, Code::Unavailable, reason::SHUTDOWN);
    assert_eq!(sequence(&messages.last().unwrap().position), 0);
    soon(stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_long_replay_is_drained_at_a_position_from_which_it_resumes() {
    let server = TestServer::start().await;
    upload(&mut server.posts(), many_posts()).await.unwrap();
    let log = read_log(&mut server.posts()).await;
    let mut narrow = PostServiceClient::new(server.narrow_channel());
    let request = ListPostsRequest::default();
    let stream = list(&mut narrow, request.clone()).await.unwrap();
    let stopping = server.begin_stop();
    let (messages, end) = until_end(stream).await;
    assert_refused(end, Code::Unavailable, reason::SHUTDOWN);
    check(&log, &[Received::list(&request, &messages)]).unwrap();
    assert!((1..MANY).contains(&sequence(&messages.last().unwrap().position)));
    soon(stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_half_closed_feed_with_a_backlog_is_drained_at_a_position_from_which_it_resumes() {
    let server = TestServer::start().await;
    upload(&mut server.posts(), many_posts()).await.unwrap();
    let log = read_log(&mut server.posts()).await;
    let mut narrow = PostServiceClient::new(server.narrow_channel());
    let mut feed = Feed::open(&mut narrow).await;
    feed.join_all_from_oldest().await;
    feed.half_close();
    // The end of the requests arrived before the windows for these messages.
    while feed.received().position() < MANY / 2 {
        feed.event().await;
    }
    let stopping = server.begin_stop();
    assert_refused(feed.until_end().await, Code::Unavailable, reason::SHUTDOWN);
    check(&log, &[feed.received()]).unwrap();
    let bookmark = feed.bookmarks().last().copied().unwrap();
    assert!(!bookmark.caught_up && sequence(&bookmark.position) < MANY);
    soon(stopping).await.unwrap().unwrap();
}

/// Several times more than the buffers of a narrow connection hold.
const MANY: i64 = 2000;

fn many_posts() -> impl Iterator<Item = PostMessage> {
    (0..MANY).map(|n| large_post(format!("p{n}"), &[], 2000))
}

#[tokio::test]
async fn a_drain_lets_an_open_upload_finish() {
    let server = TestServer::start().await;
    let mut reader =
        list(&mut server.posts(), ListPostsRequest { follow: true, ..ListPostsRequest::default() })
            .await
            .unwrap();
    next(&mut reader).await;
    let (messages, receiver) = mpsc::channel(1);
    let mut client = server.posts();
    let uploading =
        tokio::spawn(async move { client.upload_posts(ReceiverStream::new(receiver)).await });
    messages.send(post_request(post("one", &[]))).await.unwrap();
    next(&mut reader).await; // the post is stored, so the upload is in progress
    let stopping = server.begin_stop();
    messages.send(post_request(post("two", &[]))).await.unwrap();
    messages.send(finish(2)).await.unwrap();
    drop((messages, reader));
    let response = soon(uploading).await.unwrap().unwrap().into_inner();
    assert!(response.complete && response.created_count == 2);
    soon(stopping).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_stops_in_time_although_an_upload_never_ends_and_a_reader_never_reads() {
    let server = TestServer::in_memory().await; // its drain timeout is 10 s
    let (messages, receiver) = mpsc::channel(1);
    let mut client = server.posts();
    let uploading =
        tokio::spawn(async move { client.upload_posts(ReceiverStream::new(receiver)).await });
    messages.send(post_request(post("one", &[]))).await.unwrap();
    upload(&mut server.posts(), many_posts()).await.unwrap();
    let mut narrow = PostServiceClient::new(server.narrow_channel());
    let request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    let stalled = list(&mut narrow, request).await.unwrap();

    let since = Instant::now();
    server.stop().await;
    assert!(since.elapsed() <= Duration::from_secs(11), "{:?}", since.elapsed());
    uploading.await.unwrap().unwrap_err();
    let (_, end) = until_end(stalled).await;
    assert_ne!(end.unwrap_err().code(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_calls_stops_at_once_and_accepts_no_more() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    read_log(&mut client).await;
    let since = Instant::now();
    server.stop().await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    client.list_posts(ListPostsRequest::default()).await.unwrap_err();
}

/// A Post service alone, with this User service.
fn posts_alone(users: &TestServer) -> Settings {
    let remote = Some(UserEndpoint::new(format!("http://{}", users.address())));
    let users = UserSettings { remote, ..UserSettings::default() };
    Settings { serve: vec![Role::Post], users, ..Settings::default() }
}

#[tokio::test]
async fn post_and_user_work_as_two_servers() {
    let users = TestServer::with(Settings { serve: vec![Role::User], ..Settings::default() }).await;
    let server = TestServer::with(posts_alone(&users)).await;
    upload(&mut server.posts(), [post("p", &[])]).await.unwrap();
    assert_eq!(read_log(&mut server.posts()).await[0].author, "Henry");
    let mut not_here =
        quartet::user::v1::user_service_client::UserServiceClient::new(server.channel());
    let outcome = not_here.list_users(quartet::user::v1::ListUsersRequest {}).await;
    assert_refused(outcome, Code::Unimplemented, reason::UNKNOWN_METHOD);
    server.stop().await;
    users.stop().await;
}

#[tokio::test]
async fn the_sample_posts_come_only_with_the_sample_users() {
    let log = LogSettings { seed: true, ..LogSettings::default() };
    let both = TestServer::with(Settings { log: log.clone(), ..Settings::default() }).await;
    assert_eq!(read_log(&mut both.posts()).await.len(), 8);
    let post_alone = TestServer::with(Settings { log, ..posts_alone(&both) }).await;
    assert!(
        read_log(&mut post_alone.posts()).await.is_empty(),
        "the sample posts belong to the sample users"
    );
    post_alone.stop().await;
    both.stop().await;
}
