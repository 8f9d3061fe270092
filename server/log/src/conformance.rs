//! What every [`PostLog`] does: one suite that runs over each implementation.

use std::sync::Arc;

use futures::future::join_all;
use proptest::prelude::*;
use tokio::task::JoinSet;

use crate::{
    disk::memory::MemoryDisk,
    embedded::{EmbeddedLog, options::LogOptions},
    fixtures::{ALL, append, colliding, no_ring, post, post_by, read_all, small_segments, soon},
    memory::MemoryLog,
    new_posts::NewPost,
    post_log::{Outcome, PostLog, UserPage},
    records::{Limit, Record},
};

fn ids<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<String> {
    records.into_iter().map(|record| record.view().post_id().to_owned()).collect()
}

async fn sequences_count_from_1_in_the_order_of_the_appends(log: Arc<dyn PostLog>) {
    assert_eq!(append(&*log, vec![post("a")]).await, [Outcome::Created(1)]);
    let two = append(&*log, vec![post("b"), post("c")]).await;
    assert_eq!(two, [Outcome::Created(2), Outcome::Created(3)]);
    let records = read_all(&*log).await;
    assert_eq!(ids(&records), ["a", "b", "c"]);
    assert!(records.iter().map(|record| record.sequence).eq(1..=3));
}

async fn appends_keep_the_order_in_which_they_were_taken_in(log: Arc<dyn PostLog>) {
    let mut appending = Vec::new();
    for n in 0..100 {
        appending.push(log.append(vec![post(&format!("p{n}"))].into()).await.unwrap());
    }
    let outcomes = join_all(appending).await;
    let outcomes: Vec<_> = outcomes.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(outcomes, (1..=100).map(Outcome::Created).collect::<Vec<_>>());
}

/// A chain value depends on all records up to it and their order, and on nothing else: the values
/// are those of a log in memory that holds the same posts.
async fn equal_logs_have_equal_chain_values_and_diverged_ones_do_not(log: Arc<dyn PostLog>) {
    let (same, other) = (MemoryLog::new(), MemoryLog::new());
    assert_eq!(log.chain(0).await.unwrap(), 0, "before the first post");
    for n in 0..20 {
        append(&*log, vec![post(&format!("p{n}"))]).await;
    }
    append(&same, (0..20).map(|n| post(&format!("p{n}"))).collect()).await;
    let swapped = |n| if n == 4 || n == 5 { 9 - n } else { n };
    append(&other, (0..20).map(|n| post(&format!("p{}", swapped(n)))).collect()).await;
    for sequence in 1..=20 {
        let value = log.chain(sequence).await.unwrap();
        assert_ne!(value, 0, "0 means unchecked");
        assert_eq!(value, same.chain(sequence).await.unwrap());
        assert_eq!(value == other.chain(sequence).await.unwrap(), sequence <= 4, "{sequence}");
        let record = &log.read(sequence - 1, ALL).await.unwrap();
        assert_eq!(record.iter().next().unwrap().chain, value);
    }
}

async fn an_empty_append_is_answered(log: Arc<dyn PostLog>) {
    assert_eq!(append(&*log, vec![]).await, []);
    assert_eq!(*log.head().borrow(), 0);
}

async fn a_post_comes_back_byte_for_byte(log: Arc<dyn PostLog>) {
    let sent = [post_by("u", "a", ""), post_by("u", "b", &"x".repeat(64 * 1024)), post("c")];
    append(&*log, sent.to_vec()).await;
    let records = read_all(&*log).await;
    assert!(records.iter().map(|record| &record.post).eq(sent.iter().map(NewPost::stored)));
}

async fn an_acknowledged_post_is_counted_and_readable(log: Arc<dyn PostLog>) {
    let mut head = log.head();
    for n in 1..=20 {
        append(&*log, vec![post(&format!("p{n}"))]).await;
        assert_eq!(*head.borrow_and_update(), n);
        assert_eq!(log.read(n - 1, ALL).await.unwrap().len(), 1);
    }
}

async fn posts_up_to_the_head_can_be_read(log: Arc<dyn PostLog>) {
    let (mut head, reader) = (log.head(), log.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut read = 0;
        while read < 500 {
            head.changed().await.unwrap();
            let target = *head.borrow_and_update();
            read += reader.read(read, ALL).await.unwrap().len() as u64;
            assert!(read >= target, "head says {target}, but only {read} can be read");
        }
    });
    for n in 0..500 {
        append(&*log, vec![post(&format!("p{n}"))]).await;
    }
    soon(tasks.join_all()).await;
}

async fn the_same_post_again_is_a_duplicate_of_the_first(log: Arc<dyn PostLog>) {
    append(&*log, vec![post("a"), post("b")]).await;
    let again = append(&*log, vec![post("b"), post("c"), post("a")]).await;
    assert_eq!(again, [Outcome::Duplicate(2), Outcome::Created(3), Outcome::Duplicate(1)]);
    assert_eq!(ids(&read_all(&*log).await), ["a", "b", "c"]);
}

async fn a_duplicate_within_one_append_is_stored_once(log: Arc<dyn PostLog>) {
    let other = post_by("alice", "a", "other");
    let outcomes = append(&*log, vec![post("a"), post("a"), other]).await;
    assert_eq!(outcomes, [Outcome::Created(1), Outcome::Duplicate(1), Outcome::IdTaken]);
    assert_eq!(*log.head().borrow(), 1);
}

async fn the_same_id_with_other_content_is_taken(log: Arc<dyn PostLog>) {
    append(&*log, vec![post("a")]).await;
    let others = vec![post_by("alice", "a", "other"), post_by("bob", "a", "body of a")];
    assert_eq!(append(&*log, others).await, [Outcome::IdTaken, Outcome::IdTaken]);
    assert_eq!(ids(&read_all(&*log).await), ["a"]);
}

async fn concurrent_writers_lose_nothing_and_keep_their_own_order(log: Arc<dyn PostLog>) {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let log = log.clone();
        writers.spawn(async move {
            for n in 0..50 {
                let posts = vec![post(&format!("w{writer}-{n:02}a")), post("shared")];
                assert!(matches!(append(&*log, posts).await[0], Outcome::Created(_)));
            }
        });
    }
    soon(writers.join_all()).await;
    let ids = ids(&read_all(&*log).await);
    assert_eq!(ids.len(), 8 * 50 + 1);
    for writer in 0..8 {
        let prefix = format!("w{writer}-");
        assert!(ids.iter().filter(|id| id.starts_with(&prefix)).is_sorted());
    }
}

async fn posts_are_stored_whether_or_not_the_caller_waits(log: Arc<dyn PostLog>) {
    drop(log.append(vec![post("a")].into()).await.unwrap());
    let mut head = log.head();
    soon(head.wait_for(|head| *head == 1)).await.unwrap();
    assert_eq!(ids(&read_all(&*log).await), ["a"]);
}

async fn a_read_stays_within_its_limit_except_for_the_first_post(log: Arc<dyn PostLog>) {
    append(&*log, (0..10).map(|n| post(&format!("p{n}"))).collect()).await;
    let three = Limit { posts: 3, bytes: usize::MAX };
    assert_eq!(ids(log.read(4, three).await.unwrap().iter()), ["p4", "p5", "p6"]);
    let one_byte = Limit { posts: 3, bytes: 1 };
    assert_eq!(ids(log.read(4, one_byte).await.unwrap().iter()), ["p4"]);
    let bytes = 3 * post("p0").stored().len();
    let page = log.read(4, Limit { posts: usize::MAX, bytes }).await.unwrap();
    assert!((1..=3).contains(&page.len()));
}

async fn a_read_at_or_past_the_head_is_empty(log: Arc<dyn PostLog>) {
    assert!(log.read(0, ALL).await.unwrap().is_empty());
    append(&*log, vec![post("a")]).await;
    assert!(log.read(1, ALL).await.unwrap().is_empty());
    assert!(log.read(u64::MAX, ALL).await.unwrap().is_empty());
}

async fn pages_of_a_user_miss_no_post(log: Arc<dyn PostLog>) {
    let users = ["alice", "bob", "bob", "carol"];
    let posts = (0..40).map(|n| post_by(users[n % 4], &format!("p{n:02}"), "body"));
    append(&*log, posts.collect()).await;
    let (mut found, mut position, mut more) = (Vec::new(), 0, true);
    while more {
        let limit = Limit { posts: 3, bytes: usize::MAX };
        let page = log.read_user("bob", position, limit).await.unwrap();
        assert!(page.position > position && page.records.len() <= 3);
        found.extend(ids(&page.records));
        (position, more) = (page.position, page.more);
    }
    let expected = (0..40).filter(|n| users[n % 4] == "bob").map(|n| format!("p{n:02}"));
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert_eq!(position, 40, "the last page covers the log");
}

async fn a_user_without_posts_has_an_empty_page_up_to_the_head(log: Arc<dyn PostLog>) {
    append(&*log, vec![post("a"), post("b")]).await;
    let UserPage { records, position, more } = log.read_user("nobody", 0, ALL).await.unwrap();
    assert_eq!((records, position, more), (vec![], 2, false));
}

/// Runs the suite on logs that an expression creates.
macro_rules! conformance {
    ($implementation:ident, $open:expr) => {
        conformance!($implementation, $open,
            sequences_count_from_1_in_the_order_of_the_appends
            appends_keep_the_order_in_which_they_were_taken_in
            equal_logs_have_equal_chain_values_and_diverged_ones_do_not
            an_empty_append_is_answered
            a_post_comes_back_byte_for_byte
            an_acknowledged_post_is_counted_and_readable
            posts_up_to_the_head_can_be_read
            the_same_post_again_is_a_duplicate_of_the_first
            a_duplicate_within_one_append_is_stored_once
            the_same_id_with_other_content_is_taken
            concurrent_writers_lose_nothing_and_keep_their_own_order
            posts_are_stored_whether_or_not_the_caller_waits
            a_read_stays_within_its_limit_except_for_the_first_post
            a_read_at_or_past_the_head_is_empty
            pages_of_a_user_miss_no_post
            a_user_without_posts_has_an_empty_page_up_to_the_head
        );
    };
    ($implementation:ident, $open:expr, $($claim:ident)*) => {
        mod $implementation {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    let (log, _directory) = $open.await;
                    soon(super::$claim(log)).await;
                }
            )*
        }
    };
}

conformance!(memory, async { (Arc::new(MemoryLog::new()) as Arc<dyn PostLog>, ()) });
conformance!(embedded, async {
    let log = EmbeddedLog::open(Arc::new(MemoryDisk::new()), small_segments()).await.unwrap();
    (Arc::new(log) as Arc<dyn PostLog>, ())
});
conformance!(embedded_read_from_disk, async {
    let disk = Arc::new(MemoryDisk::new());
    let log = EmbeddedLog::open(disk, no_ring()).await.unwrap();
    (Arc::new(log) as Arc<dyn PostLog>, ())
});
conformance!(embedded_with_colliding_hashes, async {
    let disk = Arc::new(MemoryDisk::new());
    let log = EmbeddedLog::open(disk, colliding()).await.unwrap();
    (Arc::new(log) as Arc<dyn PostLog>, ())
});
conformance!(embedded_in_a_directory, async {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open_directory(&directory, LogOptions::default()).await.unwrap();
    (Arc::new(log) as Arc<dyn PostLog>, directory)
});

/// A step of a random test.
#[derive(Debug, Clone)]
enum Step {
    /// Posts as (user, id, content), each from a small range so that duplicates are common.
    Append(Vec<(u8, u8, u8)>),
    Read {
        after: u64,
        posts: usize,
    },
    ReadUser {
        user: u8,
        after: u64,
        posts: usize,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let posts = proptest::collection::vec((0..4u8, 0..200u8, 0..2u8), 0..12);
    prop_oneof![
        6 => posts.prop_map(Step::Append),
        2 => (0..150u64, 1..20usize).prop_map(|(after, posts)| Step::Read { after, posts }),
        2 => (0..5u8, 0..150u64, 1..20usize)
            .prop_map(|(user, after, posts)| Step::ReadUser { user, after, posts }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    })]

    /// Both logs get the same steps, about 10,000 posts in all, and give the same answers.
    #[test]
    fn the_log_on_disk_behaves_like_the_log_in_memory(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(steps));
    }
}

async fn compare(steps: Vec<Step>) {
    let (disk, model) = (Arc::new(MemoryDisk::new()), MemoryLog::new());
    let open = async || EmbeddedLog::open(disk.clone(), colliding()).await.unwrap();
    let mut log = open().await;
    for step in steps {
        match step {
            Step::Append(posts) => {
                let posts: Vec<_> = posts.into_iter().map(numbered).collect();
                assert_eq!(append(&log, posts.clone()).await, append(&model, posts).await);
            }
            Step::Read { after, posts } => {
                let limit = Limit { posts, bytes: usize::MAX };
                let (real, expected) =
                    (log.read(after, limit).await, model.read(after, limit).await);
                assert_eq!(real.unwrap(), expected.unwrap());
            }
            Step::ReadUser { user, after, posts } => {
                let (user, limit) = (format!("u{user}"), Limit { posts, bytes: usize::MAX });
                let real = log.read_user(&user, after, limit).await.unwrap();
                let expected = model.read_user(&user, after, limit).await.unwrap();
                assert_eq!(real.records, expected.records);
                assert_eq!((real.position, real.more), (expected.position, expected.more));
            }
            Step::Reopen => {
                log.close().await.unwrap();
                log = open().await;
            }
        }
    }
    assert_eq!(read_all(&log).await, read_all(&model).await);
}

fn numbered((user, id, content): (u8, u8, u8)) -> NewPost {
    post_by(&format!("u{user}"), &format!("p{id}"), &format!("content {content}"))
}
