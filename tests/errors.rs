//! Errors: bad input is refused as a whole, with a reason, and does not disturb other calls.

use std::{io, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use prost::Message as _;
use quartet::{
    limits,
    post::v1::{
        JoinTags, ListPostsByUserIdRequest, ListPostsRequest, LogPosition, PostMessage,
        TagFeedRequest, tag_feed_request::Payload as Asked,
    },
    reason,
    user::v1::GetUserRequest,
};
use quartet_log::LogError;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Client, Feed, TestServer, assert_refused,
    fakes::{CountingUsers, FakeLog},
    fields, large_post, listed, page, post, posts, raw, read_log, refusal, strings, until_end,
    upload,
};

const GET_USER: &str = "/user.v1.UserService/GetUser";
const PAGE: &str = "/post.v1.PostService/ListPostsByUserId";
const LIST: &str = "/post.v1.PostService/ListPosts";
const UPLOAD: &str = "/post.v1.PostService/UploadPosts";
const FEED: &str = "/post.v1.PostService/TagFeed";

/// How each of the three readers refuses a start position.
async fn starts(client: &mut Client, start: LogPosition) -> [Result<(), Status>; 3] {
    let resume_after = Some(start.clone());
    let request = ListPostsRequest { resume_after, ..ListPostsRequest::default() };
    let listed = listed(client, request).await.map(drop);
    let paged = page(client, "1", Some(start.clone())).await.map(drop);
    let mut feed = Feed::open(client).await;
    feed.join_after(&["a"], start).await;
    feed.half_close();
    [listed, paged, feed.until_end().await]
}

#[tokio::test]
async fn a_negative_position_is_invalid() {
    let server = TestServer::start().await;
    for sequence in [-1, i64::MIN] {
        let start = LogPosition { sequence, ..LogPosition::default() };
        for outcome in starts(&mut server.posts(), start).await {
            let status = assert_refused(outcome, Code::InvalidArgument, reason::INVALID_REQUEST);
            assert_eq!(fields(&status), ["resume_after.sequence"]);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_position_of_another_log_or_beyond_the_newest_post_is_a_log_reset() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, posts("p", 3, &[])).await.unwrap();
    let log_id = page(&mut client, "1", None).await.unwrap().position.unwrap().log_id;
    assert!(!log_id.is_empty());
    let position =
        |log_id: &str, sequence| LogPosition { log_id: log_id.to_owned(), sequence, chain: 0 };
    let wrong = [
        position("another", 1),
        position(&"漢".repeat(3000), 1), // echoed, but truncated
        position(&log_id, 4),
        position("", 4),
        position("", i64::MAX),
    ];
    for start in wrong {
        for outcome in starts(&mut client, start).await {
            assert_refused(outcome, Code::OutOfRange, reason::LOG_RESET);
        }
    }
    for right in [position(&log_id, 0), position(&log_id, 3), position("", 3)] {
        for outcome in starts(&mut client, right).await {
            outcome.unwrap();
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn two_logs_have_two_ids() {
    let (one, other) = (TestServer::start().await, TestServer::start().await);
    let mut ids = Vec::new();
    for server in [&one, &other] {
        ids.push(page(&mut server.posts(), "1", None).await.unwrap().position.unwrap().log_id);
    }
    assert_ne!(ids[0], ids[1]);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn all_violations_of_a_post_come_at_once() {
    let server = TestServer::start().await;
    let bad = PostMessage {
        post_id: "has space".to_owned(),
        user_id: String::new(),
        title: "t".repeat(limits::TITLE_CHARS + 1),
        body: "b".repeat(limits::BODY_BYTES + 1),
        tags: strings(&["ok", "", "ok"]),
        ..PostMessage::default()
    };
    let all = ["post_id", "user_id", "title", "body", "tags[1]", "tags[2]"];

    let response = upload(&mut server.posts(), [bad.clone()]).await.unwrap();
    let reject = response.rejects[0].status.clone();
    assert_eq!(refusal(&reject), (Code::InvalidArgument, reason::INVALID_POST.to_owned()));
    assert_eq!(violations(&reject), all);

    let mut feed = Feed::open(&mut server.posts()).await;
    feed.publish(bad).await;
    assert_eq!(violations(&feed.receipt().await.status), all);
    server.stop().await;

    fn violations(status: &Option<tonic_types::pb::Status>) -> Vec<String> {
        let status = status.clone().unwrap();
        let details = status.encode_to_vec().into();
        fields(&Status::with_details(Code::from(status.code), status.message, details))
    }
}

#[tokio::test]
async fn the_limits_of_a_post_are_exact_and_count_characters() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let tags = |count| (0..count).map(|n| format!("{n:ü>64}")).collect::<Vec<_>>();
    let largest = PostMessage {
        post_id: "Az09_-".repeat(11)[..limits::ID_CHARS].to_owned(),
        title: "題".repeat(limits::TITLE_CHARS),
        body: "b".repeat(limits::BODY_BYTES),
        tags: tags(limits::TAGS_PER_POST),
        ..post("", &[])
    };
    let smallest = PostMessage { title: "t".to_owned(), body: String::new(), ..post("s", &[]) };
    let response = upload(&mut client, [largest.clone(), smallest]).await.unwrap();
    assert_eq!(response.created_count, 2, "{:?}", response.rejects);

    let too_much = [
        PostMessage { post_id: "p".repeat(limits::ID_CHARS + 1), ..largest.clone() },
        PostMessage { post_id: "ü".to_owned(), ..largest.clone() },
        PostMessage { post_id: String::new(), ..largest.clone() },
        PostMessage { user_id: "1 ".to_owned(), ..largest.clone() },
        PostMessage { title: "題".repeat(limits::TITLE_CHARS + 1), ..largest.clone() },
        PostMessage { title: String::new(), ..largest.clone() },
        PostMessage { body: "b".repeat(limits::BODY_BYTES + 1), ..largest.clone() },
        PostMessage { tags: tags(limits::TAGS_PER_POST + 1), ..largest.clone() },
        PostMessage { tags: vec!["t".repeat(limits::TAG_CHARS + 1)], ..largest.clone() },
        PostMessage { tags: strings(&["same", "same"]), ..largest },
    ];
    let response = upload(&mut client, too_much.clone()).await.unwrap();
    assert_eq!(response.reject_count, too_much.len() as i64);
    for reject in response.rejects {
        assert_eq!(refusal(&reject.status).1, reason::INVALID_POST);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_worst_post_has_a_status_below_3_kib() {
    let server = TestServer::start().await;
    let worst = PostMessage {
        post_id: "ü".repeat(70_000),
        user_id: "ü".repeat(5_000),
        title: "t".repeat(300),
        body: "b".repeat(limits::BODY_BYTES + 1),
        tags: vec!["ü".repeat(65); 17],
        ..PostMessage::default()
    };
    let response = upload(&mut server.posts(), [worst]).await.unwrap();
    let reject = &response.rejects[0];
    assert_eq!(reject.post_id.chars().count(), limits::ID_CHARS);
    assert!(reject.encoded_len() < 3 * 1024, "{} bytes", reject.encoded_len());
    server.stop().await;
}

#[tokio::test]
async fn a_bad_filter_is_refused_whole_and_its_status_stays_below_3_kib() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let tags = |tags: Vec<String>| ListPostsRequest { tags, ..ListPostsRequest::default() };
    let users = |user_ids| ListPostsRequest { user_ids, ..ListPostsRequest::default() };
    let terms = limits::FILTER_TERMS;
    listed(&mut client, tags((0..terms).map(|n| n.to_string()).collect())).await.unwrap();
    let bad = [
        tags((0..=terms).map(|n| n.to_string()).collect()),
        tags(vec!["漢".repeat(65); terms]),
        tags(strings(&[""])),
        users((0..=terms).map(|n| n.to_string()).collect()),
        users(vec!["ü".repeat(1000); terms]),
    ];
    for request in bad {
        let outcome = listed(&mut client, request).await;
        let status = assert_refused(outcome, Code::InvalidArgument, reason::INVALID_REQUEST);
        assert!(!fields(&status).is_empty());
    }
    for user_id in ["", "a b", "ü", &"x".repeat(65), &"漢".repeat(9000)] {
        let outcome = page(&mut client, user_id, None).await;
        let status = assert_refused(outcome, Code::InvalidArgument, reason::INVALID_REQUEST);
        assert_eq!(fields(&status), ["user_id"]);
    }
    let mut feed = Feed::open(&mut client).await;
    let bad = vec!["漢".repeat(65); limits::FEED_TAGS];
    feed.send(Asked::Join(JoinTags { tags: bad, ..JoinTags::default() })).await;
    assert_refused(feed.until_end().await, Code::InvalidArgument, reason::INVALID_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_whatever_its_name() {
    let server = TestServer::start().await;
    let channel = server.channel();
    let long = format!("/post.v1.PostService/{}", "M".repeat(9_000));
    let paths =
        ["/post.v1.PostService/Unheard", "/no.Service/Method", "/", "/%20%ff", long.as_str()];
    for path in paths {
        let status = raw::status_of(&channel, path, vec![raw::framed(b"")]).await;
        assert_refused(Err::<(), _>(status), Code::Unimplemented, reason::UNKNOWN_METHOD);
    }
    server.stop().await;
}

#[tokio::test]
async fn undecodable_messages_are_invalid_in_every_call() {
    let server = TestServer::start().await;
    let channel = server.channel();
    for path in [GET_USER, PAGE, LIST, UPLOAD, FEED, "/v1.user.User/GetUser"] {
        for bytes in [&b"\x0a\x01\xff"[..], b"\x0a\xff", b"\xff\xff\xff\xff"] {
            let status = raw::status_of(&channel, path, vec![raw::framed(bytes)]).await;
            let code = Code::InvalidArgument;
            assert_refused(Err::<(), _>(status), code, reason::UNDECODABLE_MESSAGE);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn broken_grpc_framing_is_refused_with_a_reason_too() {
    let server = TestServer::start().await;
    let channel = server.channel();
    for path in [GET_USER, PAGE, LIST, UPLOAD, FEED] {
        let broken = [
            vec![raw::with_flag(1, b"")], // compressed, without an encoding
            vec![raw::with_flag(7, b"")], // no such flag
            vec![raw::framed(b"0123456789").slice(0..8)], // the message is incomplete
        ];
        for chunks in broken {
            let status = raw::status_of(&channel, path, chunks).await;
            // The gRPC specification requires INTERNAL for a flag without an encoding.
            assert_refused(Err::<(), _>(status), Code::Internal, reason::UNDECODABLE_MESSAGE);
        }
    }
    server.stop().await;
}

/// gRPC's document on status codes requires UNIMPLEMENTED for a cardinality violation.
#[tokio::test]
async fn a_method_with_a_single_request_refuses_zero_and_two() {
    let server = TestServer::start().await;
    for path in [GET_USER, PAGE, LIST, "/v1.post.Post/ListPosts"] {
        for chunks in [vec![], vec![raw::framed(b""), raw::framed(b"")]] {
            let status = raw::status_of(&server.channel(), path, chunks).await;
            assert_refused(Err::<(), _>(status), Code::Unimplemented, reason::REQUEST_COUNT);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_over_256_kib_is_resource_exhausted_in_every_call() {
    let server = TestServer::start().await;
    let channel = server.channel();
    let large = vec![raw::framed(&vec![0; limits::REQUEST_BYTES + 1])];
    for path in [GET_USER, PAGE, LIST, UPLOAD, FEED, "/v1.post.Post/ListPosts"] {
        let status = raw::status_of(&channel, path, large.clone()).await;
        let code = Code::ResourceExhausted;
        assert_refused(Err::<(), _>(status), code, reason::REQUEST_TOO_LARGE);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_of_256_kib_with_unknown_fields_is_fine() {
    let server = TestServer::start().await;
    let mut message =
        ListPostsByUserIdRequest { user_id: "1".to_owned(), resume_after: None }.encode_to_vec();
    prost::encoding::bytes::encode(99, &vec![0; limits::REQUEST_BYTES - 100], &mut message);
    let status = raw::status_of(&server.channel(), PAGE, vec![raw::framed(&message)]).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    server.stop().await;
}

#[tokio::test]
async fn bad_input_does_not_disturb_other_calls_of_its_connection() {
    let server = TestServer::start().await;
    let channel = server.channel();
    let mut client = Client::new(channel.clone());
    let mut feed = Feed::joined_to(&mut client, &["a"]).await;
    for n in 0..100 {
        let bytes = [vec![0xff; n], vec![0x0a, n as u8]].concat();
        raw::status_of(&channel, [PAGE, UPLOAD, FEED, "/x"][n % 4], vec![raw::framed(&bytes)])
            .await;
    }
    feed.publish(post("p", &["a"])).await;
    feed.until_post("p").await;
    drop(feed);
    server.stop().await;
}

/// A server whose log can fail, with two posts in it.
async fn on_fake_log() -> (TestServer, Arc<FakeLog>, tokio::task::JoinHandle<()>) {
    let log = Arc::new(FakeLog::default());
    let (users, serving) = CountingUsers::default().serve();
    let server = TestServer::of_parts(log.clone(), users);
    upload(&mut server.posts(), posts("before", 2, &["a"])).await.unwrap();
    (server, log, serving)
}

#[tokio::test(start_paused = true)]
async fn a_failed_log_ends_writers_without_a_receipt_and_still_serves_readers() {
    let no_space = || LogError::Failed(Arc::new(io::Error::from(io::ErrorKind::StorageFull)));
    let broken = || LogError::Failed(Arc::new(io::Error::other("the disk is gone")));
    let failures = [
        (no_space(), Code::ResourceExhausted, reason::LOG_FULL),
        (broken(), Code::Unavailable, reason::LOG_UNAVAILABLE),
        (LogError::Closed, Code::Unavailable, reason::LOG_UNAVAILABLE),
        (LogError::ReadOnly, Code::FailedPrecondition, reason::LOG_READ_ONLY),
    ];
    for (failure, code, reason) in failures {
        let (server, log, _serving) = on_fake_log().await;
        let mut client = server.posts();
        let mut feed = Feed::open(&mut client).await;
        feed.publish(post("stored", &[])).await;
        feed.receipt().await;
        log.hold();
        feed.publish(post("unknown", &[])).await;
        assert!(crate::support::is_stuck(feed.next()).await);
        log.fail_appends(failure);
        let status = assert_refused(feed.until_end().await, code, reason);
        assert_eq!(status.get_details_retry_info().is_some(), code == Code::Unavailable);
        assert_eq!(feed.receipts().len(), 1);

        let mut next = Feed::open(&mut client).await;
        next.publish(post("refused", &[])).await;
        assert_refused(next.until_end().await, code, reason);
        assert_refused(upload(&mut client, [post("refused", &[])]).await, code, reason);
        assert_eq!(read_log(&mut client).await.len(), 3, "reads still work");
        server.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_damaged_log_ends_with_data_loss() {
    let (server, log, _serving) = on_fake_log().await;
    let mut client = server.posts();
    let mut follower = Feed::joined_to(&mut client, &["a"]).await;
    let (file, what) = ("secret.log".to_owned(), "a bad checksum".to_owned());
    log.fail_reads(LogError::Damaged { file, offset: 77, what });
    let mut outcomes: Vec<Result<(), Status>> =
        starts(&mut client, LogPosition::default()).await.into();
    upload(&mut client, [post("after", &["a"])]).await.unwrap();
    outcomes.push(follower.until_end().await);
    for outcome in outcomes {
        let status = assert_refused(outcome, Code::DataLoss, reason::LOG_DAMAGED);
        assert!(!status.message().contains("secret"), "the path is for the operator only");
    }
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_open_streams() {
    let server = TestServer::in_memory().await;
    let mut client = server.posts();
    let since = Instant::now();

    let follow = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    let mut request = tonic::Request::new(follow);
    request.set_timeout(Duration::from_secs(20));
    let listed = client.list_posts(request).await.unwrap().into_inner();
    let (requests, receiver) = mpsc::channel::<TagFeedRequest>(1);
    let mut request = tonic::Request::new(ReceiverStream::new(receiver));
    request.set_timeout(Duration::from_secs(30));
    let fed = client.tag_feed(request).await.unwrap().into_inner();

    let (messages, end) = until_end(listed).await;
    assert_eq!(messages.len(), 2, "the snapshot, and a bookmark after 15 s");
    assert_refused(end, Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED);
    assert!(since.elapsed().abs_diff(Duration::from_secs(20)) < Duration::from_millis(100));
    let (_, end) = until_end(fed).await;
    assert_refused(end, Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED);
    assert!(since.elapsed().abs_diff(Duration::from_secs(30)) < Duration::from_millis(100));
    drop(requests);
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_deadline_is_invalid_and_a_very_long_one_is_valid() {
    let server = TestServer::start().await;
    let with = |timeout: &'static str| {
        let name = http::HeaderName::from_static("grpc-timeout");
        HeaderMap::from_iter([(name, HeaderValue::from_static(timeout))])
    };
    let request = ListPostsByUserIdRequest { user_id: "1".to_owned(), resume_after: None };
    let chunks = vec![raw::framed(&request.encode_to_vec())];
    for timeout in ["soon", "1", "123456789S", "-1S"] {
        let outcome =
            raw::status_with(&server.channel(), PAGE, with(timeout), chunks.clone()).await;
        assert_refused(Err::<(), _>(outcome), Code::InvalidArgument, reason::INVALID_REQUEST);
    }
    let status = raw::status_with(&server.channel(), PAGE, with("99999999H"), chunks).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_user_is_not_found_and_a_bad_id_invalid() {
    let server = TestServer::start().await;
    let mut users =
        quartet::user::v1::user_service_client::UserServiceClient::new(server.channel());
    let request = |user_id: &str| GetUserRequest { user_id: user_id.to_owned() };
    let henry = users.get_user(request("1")).await.unwrap().into_inner().user_message.unwrap();
    assert_eq!((henry.name.as_str(), henry.age), ("Henry", 22));
    assert_refused(users.get_user(request("nobody")).await, Code::NotFound, reason::USER_NOT_FOUND);
    for user_id in ["", "a b", &"x".repeat(65)] {
        let outcome = users.get_user(request(user_id)).await;
        assert_refused(outcome, Code::InvalidArgument, reason::INVALID_REQUEST);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_over_256_kib_ends_a_feed_after_the_receipts_that_it_owes() {
    let server = TestServer::start().await;
    let mut feed = Feed::open(&mut server.posts()).await;
    feed.publish(post("p", &[])).await;
    feed.publish(large_post("large", &[], limits::REQUEST_BYTES)).await;
    let end = feed.until_end().await;
    assert_refused(end, Code::ResourceExhausted, reason::REQUEST_TOO_LARGE);
    assert_eq!(feed.receipts().len(), 1);
    server.stop().await;
}
