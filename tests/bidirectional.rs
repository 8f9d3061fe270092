//! TagFeed.

use std::sync::Arc;

use proptest::prelude::*;
use quartet::{
    limits,
    post::v1::{
        JoinTags, LeaveTags, LogPosition, PostMessage, PublishPost, TagFeedRequest,
        post_service_client::PostServiceClient, tag_feed_request::Payload as Asked,
        tag_feed_response::Payload,
    },
    reason,
};
use tonic::Code;

use crate::support::{
    Feed, TestServer, assert_refused,
    fakes::{CountingUsers, FakeLog},
    feed::{join, join_all, leave, leave_all, publish},
    fields, is_stuck,
    order::check,
    post, post_ids, posts, read_log, refusal, sequence, soon, strings, upload,
};

#[tokio::test]
async fn the_headers_of_a_feed_come_before_its_first_request() {
    let server = TestServer::start().await;
    let mut feed = Feed::open(&mut server.posts()).await; // waits for the headers and sends nothing
    feed.join(&["a"]).await;
    assert_eq!(feed.joined().await.tags, ["a"]);
    server.stop().await;
}

#[tokio::test]
async fn a_first_join_without_a_start_begins_at_the_head() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, posts("old", 3, &["a"])).await.unwrap();
    let mut feed = Feed::open(&mut client).await;
    feed.join(&["a"]).await;
    assert_eq!(sequence(&feed.joined().await.position), 3);
    let caught_up = feed.bookmark().await;
    assert!(caught_up.caught_up);
    assert_eq!(sequence(&caught_up.position), 3);
    upload(&mut client, [post("new", &["a"])]).await.unwrap();
    assert_eq!(post_ids(&feed.posts().await.post_messages), ["new"]);
    server.stop().await;
}

#[tokio::test]
async fn a_feed_says_once_that_it_has_caught_up_and_stays_open() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, posts("old", 700, &["a"])).await.unwrap();
    let mut feed = Feed::open(&mut client).await;
    feed.join_all_from_oldest().await;
    while !feed.bookmarks().iter().any(|bookmark| bookmark.caught_up) {
        feed.event().await;
    }
    assert_eq!(feed.received().sequences(), (1..=700).collect::<Vec<_>>());
    upload(&mut client, [post("new", &[])]).await.unwrap();
    feed.until_post("new").await;
    assert_eq!(feed.bookmarks().len(), 1);
    check(&read_log(&mut client).await, &[feed.received()]).unwrap();
    server.stop().await;
}

#[tokio::test]
async fn joined_and_left_list_every_followed_tag_in_order() {
    let server = TestServer::start().await;
    let mut feed = Feed::open(&mut server.posts()).await;
    let steps: [(Asked, &[&str], bool); 7] = [
        (join(&["b", "a", "b"]), &["a", "b"], false),
        (join(&["c", "B"]), &["B", "a", "b", "c"], false),
        (leave(&["a", "never joined"]), &["B", "b", "c"], false),
        (join_all(), &["B", "b", "c"], true),
        (join(&["d"]), &["B", "b", "c", "d"], true),
        (leave_all(), &[], false),
        (join(&["e"]), &["e"], false),
    ];
    for (request, tags, all_tags) in steps {
        feed.send(request).await;
        let (is_tags, is_all_tags) = loop {
            match feed.event().await {
                Payload::Joined(joined) => break (joined.tags, joined.all_tags),
                Payload::Left(left) => break (left.tags, left.all_tags),
                _ => {}
            }
        };
        assert_eq!((is_tags, is_all_tags), (strings(tags), all_tags));
    }
    server.stop().await;
}

#[tokio::test]
async fn leaving_and_joining_take_effect_at_the_position_they_name() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let by_turns =
        (0..2000).map(|n| post(format!("p{n}"), if n % 2 == 0 { &["a"] } else { &["b"] }));
    upload(&mut client, by_turns).await.unwrap();
    let start = LogPosition::default();
    let mut feed = Feed::open(&mut client).await;
    feed.join_after(&["a"], start).await;
    for _ in 0..3 {
        feed.join(&["b"]).await; // in the middle of the replay
        feed.leave(&["a"]).await;
        feed.event().await;
        feed.join(&["a"]).await;
        feed.leave(&["b"]).await;
        feed.event().await;
    }
    feed.half_close();
    feed.until_end().await.unwrap();
    assert_eq!(feed.received().position(), 2000);
    check(&read_log(&mut client).await, &[feed.received()]).unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_half_close_gives_the_receipts_then_the_rest_then_a_bookmark_then_ok() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    upload(&mut client, posts("old", 1000, &["a"])).await.unwrap();
    let mut feed = Feed::open(&mut client).await;
    feed.join_after(&["a"], LogPosition::default()).await;
    for n in 0..20 {
        feed.publish(post(format!("own{n}"), &["a"])).await;
    }
    feed.half_close();
    feed.until_end().await.unwrap();

    let receipts = feed.receipts();
    assert!(receipts.iter().map(|receipt| receipt.sequence).eq(1001..=1020));
    let received = feed.received();
    assert_eq!(received.sequences(), (1..=1020).collect::<Vec<_>>(), "up to its own last post");
    let Some(Payload::Bookmark(last)) = feed.events.last() else { panic!("a bookmark comes last") };
    assert!(last.caught_up);
    assert_eq!(sequence(&last.position), 1020);
    check(&read_log(&mut client).await, &[received]).unwrap();
    server.stop().await;
}

#[tokio::test]
async fn publishing_needs_no_join() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let mut feed = Feed::open(&mut client).await;
    feed.publish(post("p", &["a"])).await;
    assert_eq!(feed.receipt().await.sequence, 1);
    feed.half_close();
    feed.until_end().await.unwrap();
    assert!(feed.received().sequences().is_empty(), "a feed without a join receives no posts");
    assert!(feed.bookmarks().last().unwrap().caught_up);
    server.stop().await;
}

#[tokio::test]
async fn there_is_one_receipt_per_publish_in_publish_order_and_refusals_are_final() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let mut feed = Feed::open(&mut client).await;
    let long_id = "ö".repeat(70);
    let published = [
        post("one", &[]),
        post("one", &[]),
        PostMessage { title: "other".to_owned(), ..post("one", &[]) },
        PostMessage { user_id: "nobody".to_owned(), ..post("two", &[]) },
        post(long_id.clone(), &[]),
        post("three", &[]),
    ];
    for post in published {
        feed.publish(post).await;
    }
    feed.half_close();
    feed.until_end().await.unwrap();
    let receipts: Vec<_> = feed
        .receipts()
        .iter()
        .map(|receipt| {
            let refused = receipt.status.as_ref().map(|_| refusal(&receipt.status));
            (receipt.post_id.clone(), receipt.sequence, receipt.duplicate, refused)
        })
        .collect();
    let refused = |code, reason: &str| Some((code, reason.to_owned()));
    assert_eq!(
        receipts,
        [
            ("one".to_owned(), 1, false, None),
            ("one".to_owned(), 1, true, None),
            ("one".to_owned(), 0, false, refused(Code::AlreadyExists, reason::POST_ID_TAKEN)),
            ("two".to_owned(), 0, false, refused(Code::NotFound, reason::USER_NOT_FOUND)),
            ("ö".repeat(64), 0, false, refused(Code::InvalidArgument, reason::INVALID_POST)),
            ("three".to_owned(), 2, false, None),
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn leaving_single_tags_while_all_are_followed_is_a_failed_precondition() {
    let server = TestServer::start().await;
    let mut feed = Feed::open(&mut server.posts()).await;
    feed.send(join_all()).await;
    feed.leave(&["a"]).await;
    assert_refused(feed.until_end().await, Code::FailedPrecondition, reason::ALL_TAGS_FOLLOWED);
    server.stop().await;
}

#[tokio::test]
async fn a_start_in_a_later_join_is_a_failed_precondition() {
    let server = TestServer::start().await;
    let again = JoinTags { tags: strings(&["b"]), ..JoinTags::default() };
    let starts = [
        JoinTags { resume_after: Some(LogPosition::default()), ..again.clone() },
        JoinTags { from_oldest: true, ..again },
    ];
    for start in starts {
        let mut feed = Feed::open(&mut server.posts()).await;
        feed.join(&["a"]).await;
        feed.send(Asked::Join(start)).await;
        let code = Code::FailedPrecondition;
        assert_refused(feed.until_end().await, code, reason::START_AFTER_FIRST_JOIN);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_feed_follows_at_most_1024_tags() {
    let server = TestServer::start().await;
    let names = |range: std::ops::Range<usize>| {
        let tags = range.map(|n| format!("{n:064}")).collect();
        Asked::Join(JoinTags { tags, ..JoinTags::default() })
    };
    let mut feed = Feed::open(&mut server.posts()).await;
    feed.send(names(0..limits::FEED_TAGS)).await;
    assert_eq!(feed.joined().await.tags.len(), limits::FEED_TAGS);
    feed.send(names(0..10)).await; // already followed
    feed.send(names(2000..2001)).await;
    let status =
        assert_refused(feed.until_end().await, Code::InvalidArgument, reason::INVALID_REQUEST);
    assert_eq!(fields(&status), ["join.tags"]);

    let mut feed = Feed::open(&mut server.posts()).await;
    feed.send(names(0..limits::FEED_TAGS + 1)).await;
    assert_refused(feed.until_end().await, Code::InvalidArgument, reason::INVALID_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn an_empty_or_contradictory_request_is_invalid() {
    let server = TestServer::start().await;
    let both_starts = JoinTags {
        all_tags: true,
        from_oldest: true,
        resume_after: Some(LogPosition::default()),
        ..JoinTags::default()
    };
    let requests = [
        (Asked::Join(JoinTags::default()), "join.tags"),
        (Asked::Leave(LeaveTags::default()), "leave.tags"),
        (Asked::Publish(PublishPost::default()), "publish.post_message"),
        (Asked::Join(both_starts), "join.from_oldest"),
        (join(&["ok", ""]), "join.tags[1]"),
        (leave(&["ok", ""]), "leave.tags[1]"),
    ];
    for (request, field) in requests {
        let mut feed = Feed::open(&mut server.posts()).await;
        feed.send(request).await;
        let end = feed.until_end().await;
        let status = assert_refused(end, Code::InvalidArgument, reason::INVALID_REQUEST);
        assert_eq!(fields(&status), [field]);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unset_payload_ends_a_feed_after_the_receipts_that_it_owes() {
    let server = TestServer::start().await;
    let mut feed = Feed::open(&mut server.posts()).await;
    for n in 0..10 {
        feed.publish(post(format!("p{n}"), &[])).await;
    }
    feed.send_raw(TagFeedRequest { payload: None }).await;
    let end = feed.until_end().await;
    let status = assert_refused(end, Code::InvalidArgument, reason::INVALID_REQUEST);
    assert_eq!(fields(&status), ["payload"]);
    assert!(feed.receipts().iter().map(|receipt| receipt.sequence).eq(1..=10));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_server_stops_reading_while_it_owes_64_receipts() {
    let log = Arc::new(FakeLog::default());
    let (users, _serving) = CountingUsers::default().serve();
    let server = TestServer::of_parts(log.clone(), users);
    let mut feed = Feed::open(&mut server.posts()).await;
    log.hold();
    let publishing = async {
        for n in 0..1000 {
            feed.publish(large(n)).await;
        }
    };
    // The client's window of 512 KiB fills up at some point, because the server stops reading.
    assert!(tokio::time::timeout(crate::support::SOON / 2, publishing).await.is_err());
    assert_eq!(log.held(), limits::OWED_RECEIPTS);
    log.release().await;
    feed.half_close();
    feed.until_end().await.unwrap();
    let receipts = feed.receipts();
    assert!(receipts.len() > limits::OWED_RECEIPTS);
    assert!(receipts.iter().map(|receipt| receipt.sequence).eq(1..=receipts.len() as i64));
    server.stop().await;

    fn large(n: usize) -> PostMessage {
        crate::support::large_post(format!("p{n}"), &[], 4096)
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_publishes_without_reading_blocks_only_itself() {
    let server = TestServer::in_memory().await;
    let mut reckless = Feed::open(&mut PostServiceClient::new(server.narrow_channel())).await;
    reckless.send(join_all()).await;
    let publishing = async {
        for n in 0..1000 {
            reckless.publish(crate::support::large_post(format!("p{n}"), &[], 4096)).await;
        }
    };
    assert!(tokio::time::timeout(crate::support::SOON / 2, publishing).await.is_err());

    let mut other = Feed::joined_to(&mut server.posts(), &["a"]).await;
    other.publish(post("other", &["a"])).await;
    other.until_post("other").await;

    // The feed continues once its client reads, and neither posts nor receipts are lost.
    reckless.half_close();
    reckless.until_end().await.unwrap();
    let log = read_log(&mut server.posts()).await;
    assert_eq!(reckless.receipts().len(), log.len() - 1);
    check(&log, &[reckless.received()]).unwrap();
    drop(other);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_client_sees_a_post_or_its_receipt_before_it_is_on_disk() {
    let log = Arc::new(FakeLog::default());
    let (users, _serving) = CountingUsers::default().serve();
    let server = TestServer::of_parts(log.clone(), users);
    let mut writer = Feed::joined_to(&mut server.posts(), &["a"]).await;
    let mut reader = Feed::joined_to(&mut server.posts(), &["a"]).await;
    log.hold();
    writer.publish(post("p", &["a"])).await;
    assert!(is_stuck(writer.event()).await && is_stuck(reader.event()).await);
    assert_eq!(log.held(), 1);
    let mut uploader = server.posts();
    assert!(is_stuck(uploader.upload_posts(crate::support::upload_of([post("q", &[])]))).await);
    assert!(read_log(&mut server.posts()).await.is_empty());

    log.release().await;
    assert_eq!(writer.receipt().await.sequence, 1);
    assert_eq!(post_ids(&reader.posts().await.post_messages), ["p"]);
    drop((writer, reader));
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_sending_posts_ends_only_that_feed_and_is_internal() {
    let log = Arc::new(FakeLog::default());
    let (users, _serving) = CountingUsers::default().serve();
    let server = TestServer::of_parts(log.clone(), users);
    let mut reader = Feed::joined_to(&mut server.posts(), &["a"]).await;
    upload(&mut server.posts(), vec![post("before", &["a"])]).await.unwrap();
    assert_eq!(post_ids(&reader.posts().await.post_messages), ["before"]);
    log.panic_in_readers();
    upload(&mut server.posts(), vec![post("p", &["a"])]).await.unwrap();
    assert_refused(reader.next().await, Code::Internal, reason::INTERNAL);
    upload(&mut server.posts(), vec![post("q", &["a"])]).await.unwrap();
    server.stop().await;
}

/// A step of a client.
#[derive(Debug, Clone)]
enum Step {
    Join(Vec<String>),
    JoinAll,
    Leave(Vec<String>),
    LeaveAll,
    Publish(Vec<String>),
    /// Reads an event, if one is ready.
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tags = || proptest::sample::subsequence(strings(&["a", "b", "c", "d"]), 1..=3);
    let step = prop_oneof![
        3 => tags().prop_map(Step::Join),
        1 => Just(Step::JoinAll),
        3 => tags().prop_map(Step::Leave),
        1 => Just(Step::LeaveAll),
        8 => tags().prop_map(Step::Publish),
        4 => Just(Step::Read),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a feed must answer to its joins and leaves.
#[derive(Default)]
struct Model {
    tags: std::collections::BTreeSet<String>,
    all_tags: bool,
    answers: Vec<(Vec<String>, bool)>,
    published: Vec<String>,
}

impl Model {
    /// The request for a step, if the step is allowed now.
    fn ask(&mut self, step: Step) -> Option<Asked> {
        let asked = match step {
            Step::Read => return None,
            Step::Leave(_) if self.all_tags => return None,
            Step::Publish(tags) => {
                let tags: Vec<_> = tags.iter().map(String::as_str).collect();
                let post = post(format!("own-{}", self.published.len()), &tags);
                self.published.push(post.post_id.clone());
                return Some(publish(post));
            }
            Step::Join(tags) => {
                self.tags.extend(tags.clone());
                Asked::Join(JoinTags { tags, ..JoinTags::default() })
            }
            Step::JoinAll => {
                self.all_tags = true;
                join_all()
            }
            Step::Leave(tags) => {
                self.tags.retain(|tag| !tags.contains(tag));
                Asked::Leave(LeaveTags { tags, all_tags: false })
            }
            Step::LeaveAll => {
                (self.tags, self.all_tags) = Default::default();
                leave_all()
            }
        };
        self.answers.push((self.tags.iter().cloned().collect(), self.all_tags));
        Some(asked)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_interleaving_of_joins_leaves_and_publishes_keeps_every_promise(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(interleaving(steps));
    }
}

async fn interleaving(steps: Vec<Step>) {
    let server = TestServer::in_memory().await;
    let mut noise = server.posts();
    let others = tokio::spawn(async move {
        for n in 0..20 {
            let tags: &[&str] = [&["a"][..], &["b", "c"], &["d"], &[]][n % 4];
            upload(&mut noise, [post(format!("other-{n}"), tags)]).await.unwrap();
        }
    });
    let mut model = Model::default();
    let mut feed = Feed::open(&mut server.posts()).await;
    for step in steps {
        match model.ask(step) {
            Some(request) => feed.send(request).await,
            None => {
                let brief = std::time::Duration::from_millis(1);
                let _ = tokio::time::timeout(brief, feed.next()).await;
            }
        }
    }
    feed.half_close();
    feed.until_end().await.unwrap();
    soon(others).await.unwrap();

    let answers: Vec<_> = feed
        .events
        .iter()
        .filter_map(|event| match event {
            Payload::Joined(joined) => Some((joined.tags.clone(), joined.all_tags)),
            Payload::Left(left) => Some((left.tags.clone(), left.all_tags)),
            _ => None,
        })
        .collect();
    assert_eq!(answers, model.answers);
    let receipts = feed.receipts();
    assert!(receipts.iter().map(|receipt| &receipt.post_id).eq(&model.published));
    let last = receipts.iter().map(|receipt| receipt.sequence).max().unwrap_or(0);
    let log = read_log(&mut server.posts()).await;
    let received = feed.received();
    check(&log, &[received]).unwrap();
    let Some(Payload::Bookmark(end)) = feed.events.last() else { panic!("a bookmark comes last") };
    assert!(end.caught_up && sequence(&end.position) >= last);
    server.stop().await;
}
