//! For every way to break a promise, a history that breaks it and one that keeps it.

use std::collections::BTreeSet;

use super::{Promise, check};
use crate::{
    history::{
        Ended, Event, FaultCount, Floor, Follows, History, Opened, Outcome, Position, Post, Rpc,
        Run, Uploaded, What,
    },
    void,
};

const LOG: &str = "log";

/// A history that is built event by event, a millisecond apart.
struct Story {
    history: History,
    at: u64,
}

/// The `n`th post: odd ones are tagged `odd`, even ones `even`.
fn post(n: i64) -> Post {
    Post {
        post_id: format!("p{n}"),
        user_id: "1".to_owned(),
        tags: vec![if n % 2 == 1 { "odd" } else { "even" }.to_owned()],
        digest: format!("{n:016x}"),
        author: "Henry".to_owned(),
        sequence: n,
        chain: 0,
    }
}

/// The same post as its writer sent it.
fn unsent(n: i64) -> Post {
    Post { author: String::new(), sequence: 0, ..post(n) }
}

fn position(sequence: i64) -> Position {
    Position { log_id: LOG.to_owned(), sequence, chain: 0 }
}

fn opened(rpc: Rpc, after: Option<i64>, follows: Follows) -> What {
    What::Opened(Opened { rpc, after: after.map(position), follows, stays: true })
}

fn list(after: i64) -> What {
    opened(Rpc::List, Some(after), Follows::all())
}

fn feed(after: Option<i64>) -> What {
    opened(Rpc::Feed, after, Follows::default())
}

fn upload() -> What {
    opened(Rpc::Upload, None, Follows::default())
}

fn sent(n: i64) -> What {
    What::Sent { post: unsent(n) }
}

fn got(posts: &[i64], to: i64) -> What {
    let posts = posts.iter().map(|n| post(*n)).collect();
    What::Posts { posts, position: position(to), complete: false }
}

fn complete(posts: &[i64], to: i64) -> What {
    let posts = posts.iter().map(|n| post(*n)).collect();
    What::Posts { posts, position: position(to), complete: true }
}

fn follows(tags: &[&str], after: i64) -> What {
    What::Follows { follows: Follows::tags(tags.iter().copied()), position: position(after) }
}

fn bookmark(to: i64) -> What {
    What::Bookmark { position: position(to), caught_up: false }
}

fn caught_up(to: i64) -> What {
    What::Bookmark { position: position(to), caught_up: true }
}

fn created(n: i64) -> What {
    What::Receipt { post_id: format!("p{n}"), outcome: Outcome::Created { sequence: n } }
}

fn refused(n: i64, code: &str) -> What {
    let outcome = Outcome::Refused { code: code.to_owned() };
    What::Receipt { post_id: format!("p{n}"), outcome }
}

fn uploaded(created: u64, to: i64) -> What {
    What::Uploaded(Uploaded {
        created,
        duplicates: 0,
        refused: 0,
        refusals: Vec::new(),
        position: position(to),
        complete: true,
    })
}

fn ended(code: &str, reason: &str) -> What {
    What::Ended(Ended { code: code.to_owned(), reason: reason.to_owned() })
}

impl Story {
    /// A run without events.
    fn empty() -> Self {
        let users = [("1".to_owned(), "Henry".to_owned())].into();
        let run = Run { log_id: LOG.to_owned(), users, ..Run::default() };
        Self { history: History { run, ..History::default() }, at: 0 }
    }

    /// A run with an upload of this many posts, all of them in the log.
    fn stored(posts: i64) -> Self {
        let mut story = Self::empty().then("writer", 0, upload());
        for n in 1..=posts {
            story = story.then("writer", 0, sent(n));
        }
        story
            .then("writer", 0, What::Finished { post_count: posts.cast_unsigned() })
            .then("writer", 0, uploaded(posts.cast_unsigned(), posts))
            .then("writer", 0, ended("OK", ""))
            .holds(posts)
    }

    fn holds(mut self, posts: i64) -> Self {
        self.history.log = (1..=posts).map(post).collect();
        self
    }

    fn then(mut self, client: &str, call: u32, what: What) -> Self {
        self.at += 1000;
        self.history.events.push(Event { at: self.at, client: client.to_owned(), call, what });
        self
    }

    fn reader(self, events: impl IntoIterator<Item = What>) -> Self {
        self.client("reader", 0, events)
    }

    fn client(self, client: &str, call: u32, events: impl IntoIterator<Item = What>) -> Self {
        events.into_iter().fold(self, |story, what| story.then(client, call, what))
    }

    fn log(mut self, change: impl FnOnce(&mut Vec<Post>)) -> Self {
        change(&mut self.history.log);
        self
    }

    fn broken(&self) -> BTreeSet<Promise> {
        // A history survives being saved and read.
        let read = History::from_lines(&self.history.to_lines()).unwrap();
        assert_eq!(read, self.history);
        check(&read).into_iter().map(|broken| broken.promise).collect()
    }

    #[track_caller]
    fn keeps_all(self) {
        assert_eq!(self.broken(), BTreeSet::new(), "{:#?}", check(&self.history));
    }

    #[track_caller]
    fn breaks(self, promises: &[Promise]) {
        let expected: BTreeSet<Promise> = promises.iter().copied().collect();
        assert_eq!(self.broken(), expected, "{:#?}", check(&self.history));
    }
}

#[test]
fn a_reader_that_gets_everything_breaks_nothing() {
    Story::stored(5)
        .reader([list(0), got(&[1, 2, 3], 3), got(&[], 3), got(&[4, 5], 5)])
        .keeps_all();
    Story::stored(5)
        .reader([list(0), got(&[1, 2], 2), ended("LOST", "")])
        .client("reader", 1, [list(2), complete(&[3, 4, 5], 5), ended("OK", "")])
        .keeps_all();
}

#[test]
fn ordered_is_broken_by_an_older_post_on_a_stream_and_across_streams() {
    Story::stored(3).reader([list(0), got(&[1, 3, 2], 3)]).breaks(&[Promise::Ordered]);
    Story::stored(3)
        .reader([list(0), got(&[1, 2], 2), ended("LOST", "")])
        .client("reader", 1, [list(1), got(&[2, 3], 3)])
        .breaks(&[Promise::Ordered, Promise::Resumable]);
    Story::stored(3)
        .reader([list(0), got(&[1], 1), ended("PROTOCOL", "post 1 came after 1")])
        .breaks(&[Promise::Ordered]);
}

#[test]
fn unique_is_broken_by_a_post_at_the_start_and_by_a_post_twice() {
    Story::stored(3)
        .reader([list(1), got(&[1, 2, 3], 3)])
        .breaks(&[Promise::Unique, Promise::Bookmarkable]);
    Story::stored(3)
        .reader([list(0), got(&[1, 2, 2, 3], 3)])
        .breaks(&[Promise::Unique, Promise::Ordered]);
}

#[test]
fn reliable_is_broken_by_a_gap_up_to_the_last_position() {
    Story::stored(4).reader([list(0), got(&[1, 2, 4], 4)]).breaks(&[Promise::Reliable]);
    Story::stored(4).reader([list(0), got(&[1, 2], 3)]).breaks(&[Promise::Reliable]);
    let odd = opened(Rpc::List, None, Follows::tags(["odd"]));
    Story::stored(4).reader([odd.clone(), got(&[1], 4)]).breaks(&[Promise::Reliable]);
    Story::stored(4).reader([odd, got(&[1, 3], 4)]).keeps_all();
    Story::stored(4).reader([list(0), got(&[1, 2], 2)]).keeps_all();
}

#[test]
fn resumable_is_broken_by_a_refused_position_a_moved_start_and_another_logs_position() {
    Story::stored(3)
        .reader([list(0), got(&[1], 1), ended("LOST", "")])
        .client("reader", 1, [list(1), ended("OUT_OF_RANGE", "LOG_RESET")])
        .breaks(&[Promise::Resumable]);
    for code in ["INVALID_ARGUMENT", "INTERNAL", "UNKNOWN"] {
        Story::stored(3).reader([list(1), ended(code, "")]).breaks(&[Promise::Resumable]);
    }
    Story::stored(3)
        .reader([feed(Some(1)), follows(&["odd"], 2), bookmark(2)])
        .breaks(&[Promise::Resumable]);
    let elsewhere = || {
        let after = Some(Position { log_id: "another".to_owned(), ..position(1) });
        What::Opened(Opened { rpc: Rpc::List, after, follows: Follows::all(), stays: false })
    };
    Story::stored(3).reader([elsewhere(), got(&[2, 3], 3)]).breaks(&[Promise::Resumable]);
    Story::stored(3).reader([elsewhere(), ended("OK", "")]).breaks(&[Promise::Resumable]);
    Story::stored(3).reader([elsewhere(), ended("OUT_OF_RANGE", "LOG_RESET")]).keeps_all();
    let nameless = What::Bookmark { position: Position::default(), caught_up: false };
    Story::stored(0)
        .reader([feed(None), follows(&["odd"], 0), nameless])
        .breaks(&[Promise::Resumable]);
}

/// The log was restored from a copy, and other posts got the sequences of those that are gone.
#[test]
fn resumable_is_broken_by_a_fork_that_is_served() {
    let stored = || Story::stored(3).log(|log| log.iter_mut().for_each(|post| post.chain = 7));
    let after = |sequence, chain| {
        let after = Some(Position { chain, ..position(sequence) });
        What::Opened(Opened { rpc: Rpc::List, after, follows: Follows::all(), stays: false })
    };
    for gone in [after(1, 8), after(5, 8)] {
        stored().reader([gone.clone(), ended("OK", "")]).breaks(&[Promise::Resumable]);
        stored().reader([gone, ended("OUT_OF_RANGE", "LOG_RESET")]).keeps_all();
    }
    stored().reader([after(1, 8), got(&[2, 3], 3)]).breaks(&[Promise::Resumable]);
    for here in [after(1, 7), after(1, 0)] {
        stored().reader([here.clone(), got(&[2, 3], 3)]).keeps_all();
        stored().reader([here, ended("OUT_OF_RANGE", "LOG_RESET")]).breaks(&[Promise::Resumable]);
    }
    let elsewhere =
        What::Bookmark { position: Position { chain: 8, ..position(3) }, caught_up: false };
    stored().reader([list(0), got(&[1, 2, 3], 3), elsewhere]).breaks(&[Promise::Resumable]);
}

#[test]
fn bookmarkable_is_broken_by_a_later_post_or_position_at_or_before_a_position() {
    Story::stored(3)
        .reader([list(0), got(&[1], 2), got(&[2, 3], 3)])
        .breaks(&[Promise::Bookmarkable]);
    Story::stored(3).reader([list(0), got(&[1, 2], 1)]).breaks(&[Promise::Bookmarkable]);
    Story::stored(3)
        .reader([list(0), got(&[1, 2, 3], 3), got(&[], 2)])
        .breaks(&[Promise::Bookmarkable]);
    Story::stored(3)
        .reader([feed(Some(0)), follows(&["odd"], 0), bookmark(2), got(&[1, 3], 3)])
        .breaks(&[Promise::Bookmarkable]);
}

#[test]
fn durable_is_broken_by_an_acknowledged_or_delivered_post_that_is_missing() {
    Story::stored(2).reader([list(0), got(&[1, 2, 3], 3)]).breaks(&[Promise::Durable]);
    Story::stored(2).reader([list(0), got(&[1, 2], 2), got(&[], 3)]).breaks(&[Promise::Durable]);
    let other = What::Posts {
        posts: vec![Post { digest: "other".to_owned(), ..post(1) }],
        position: position(1),
        complete: false,
    };
    Story::stored(2).reader([list(0), other]).breaks(&[Promise::Durable]);
    Story::empty()
        .client("writer", 0, [feed(None), sent(1), created(1)])
        .breaks(&[Promise::Durable]);
    Story::stored(3)
        .log(|log| {
            log.pop();
        })
        .breaks(&[Promise::Durable]);
}

#[test]
fn exactly_once_is_broken_by_a_duplicate_a_phantom_and_a_hole() {
    let twice = |log: &mut Vec<Post>| log.push(Post { sequence: 3, ..post(1) });
    Story::stored(2).log(twice).breaks(&[Promise::ExactlyOnce]);
    Story::stored(2).log(|log| log.push(post(3))).breaks(&[Promise::ExactlyOnce]);
    Story::stored(2)
        .log(|log| log[1].digest = "other".to_owned())
        .breaks(&[Promise::ExactlyOnce, Promise::Durable]);
    Story::stored(2)
        .client("writer", 1, [upload(), sent(3), ended("LOST", "")])
        .log(|log| log.push(Post { sequence: 4, ..post(3) }))
        .breaks(&[Promise::ExactlyOnce]);
    Story::empty()
        .holds(1)
        .client("writer", 0, [feed(None), sent(1), created(1)])
        .client("writer", 1, [feed(None), sent(1), created(1)])
        .breaks(&[Promise::ExactlyOnce]);
    let again = || [upload(), sent(1), What::Finished { post_count: 1 }, uploaded(1, 1)];
    Story::stored(1).client("writer", 1, again()).breaks(&[Promise::ExactlyOnce]);
    Story::stored(1)
        .client("writer", 1, [feed(None), sent(1), created(1)])
        .breaks(&[Promise::ExactlyOnce]);
    // Two uploads at once: either may have stored it, whichever is answered first.
    let two = Story::empty().holds(1).client("writer", 0, again().into_iter().take(3));
    let two = two.client("other", 0, again()).client("third", 0, [upload(), sent(2)]);
    two.client("writer", 0, [uploaded(1, 1)]).breaks(&[Promise::ExactlyOnce]);
    let found =
        What::Receipt { post_id: "p1".to_owned(), outcome: Outcome::Duplicate { sequence: 1 } };
    let late = Story::empty().holds(1).client("one", 0, [feed(None), sent(1)]);
    late.client("two", 0, [feed(None), sent(1), found]).client("one", 0, [created(1)]).keeps_all();
}

#[test]
fn writers_order_is_broken_by_a_post_that_overtakes_another_of_its_call() {
    let swapped = |log: &mut Vec<Post>| {
        log.swap(1, 2);
        for (post, sequence) in log.iter_mut().zip(1..) {
            post.sequence = sequence;
        }
    };
    Story::stored(4).log(swapped).breaks(&[Promise::WritersOrder]);
    let publishes = [feed(None), sent(2), created(2), sent(1)];
    let story = Story::empty().holds(2).client("one", 0, [upload(), sent(1), ended("LOST", "")]);
    // A duplicate keeps the sequence of its original.
    let found =
        What::Receipt { post_id: "p1".to_owned(), outcome: Outcome::Duplicate { sequence: 1 } };
    story.client("two", 0, publishes).client("two", 0, [found]).keeps_all();
    Story::empty()
        .holds(2)
        .client("two", 0, [feed(None), sent(2), sent(1), created(2), created(1)])
        .breaks(&[Promise::WritersOrder]);
}

#[test]
fn real_time_is_broken_by_a_later_post_with_a_smaller_sequence() {
    Story::empty()
        .holds(2)
        .client("one", 0, [feed(None), sent(2), created(2)])
        .client("two", 0, [feed(None), sent(1), created(1)])
        .breaks(&[Promise::RealTime]);
    Story::empty()
        .holds(2)
        .client("one", 0, [feed(None), sent(2)])
        .client("two", 0, [feed(None), sent(1), created(1)])
        .client("one", 0, [created(2)])
        .keeps_all();
}

#[test]
fn fresh_is_broken_by_a_list_that_ends_before_what_was_acknowledged() {
    Story::stored(3)
        .reader([list(0), complete(&[1, 2], 2), ended("OK", "")])
        .breaks(&[Promise::Fresh]);
    Story::stored(3)
        .reader([feed(Some(0)), follows(&["odd"], 0), got(&[1], 2), caught_up(2)])
        .breaks(&[Promise::Fresh]);
    Story::stored(3)
        .reader([feed(Some(0)), follows(&["odd"], 0), got(&[1, 3], 3), caught_up(3)])
        .keeps_all();
    let publishes = |follows: What| {
        let story = Story::empty().holds(1).client("writer", 0, [feed(Some(0)), follows]);
        story.client("writer", 0, [sent(1), created(1), caught_up(0), ended("OK", "")])
    };
    publishes(follows(&["even"], 0)).breaks(&[Promise::Fresh]);
    publishes(follows(&[], 0)).keeps_all();
    // A list that began before the acknowledgement need not contain the post.
    let story = Story::empty().holds(1).reader([list(0)]);
    story
        .client("writer", 0, [feed(None), sent(1), created(1)])
        .reader([complete(&[], 0), got(&[1], 1)])
        .keeps_all();
}

#[test]
fn receipts_are_broken_out_of_order_out_of_nothing_and_when_missing() {
    let sends = || Story::empty().holds(2).client("writer", 0, [feed(None), sent(1), sent(2)]);
    sends().client("writer", 0, [created(1), created(2), ended("OK", "")]).keeps_all();
    sends().client("writer", 0, [created(1), ended("UNAVAILABLE", "SHUTDOWN")]).keeps_all();
    sends().client("writer", 0, [created(2), created(1)]).breaks(&[Promise::Receipts]);
    sends().client("writer", 0, [created(1), ended("OK", "")]).breaks(&[Promise::Receipts]);
    sends()
        .client("writer", 0, [created(1), created(2), refused(3, "NOT_FOUND")])
        .breaks(&[Promise::Receipts]);
    sends().client("writer", 0, [refused(1, "UNAVAILABLE")]).breaks(&[Promise::Receipts]);
    sends().client("writer", 0, [refused(1, "ALREADY_EXISTS")]).breaks(&[Promise::Receipts]);
    sends().client("writer", 0, [refused(1, "NOT_FOUND")]).breaks(&[Promise::Receipts]);
    sends().client("writer", 0, [refused(1, "PERMISSION_DENIED")]).keeps_all();
}

#[test]
fn receipts_are_broken_by_an_upload_that_counts_wrong() {
    let sends = |finish: u64| {
        let finished = What::Finished { post_count: finish };
        Story::empty().holds(2).client("writer", 0, [upload(), sent(1), sent(2), finished])
    };
    sends(2).client("writer", 0, [uploaded(2, 2)]).keeps_all();
    sends(3).client("writer", 0, [uploaded(2, 2)]).breaks(&[Promise::Receipts]);
    sends(2).client("writer", 0, [uploaded(1, 1)]).breaks(&[Promise::Receipts]);
    sends(2).client("writer", 0, [uploaded(2, 1)]).breaks(&[Promise::Receipts]);
    for code in ["PROTOCOL", "INTERNAL"] {
        sends(2).client("writer", 0, [ended(code, "")]).breaks(&[Promise::Receipts]);
    }
    let refuses = |index: u64, code: &str| {
        What::Uploaded(Uploaded {
            created: 1,
            duplicates: 0,
            refused: 1,
            refusals: vec![(index, code.to_owned())],
            position: position(1),
            complete: true,
        })
    };
    sends(2).holds(1).client("writer", 0, [refuses(1, "NOT_FOUND")]).keeps_all();
    sends(2).client("writer", 0, [refuses(1, "NOT_FOUND")]).breaks(&[Promise::Receipts]);
    sends(2).holds(1).client("writer", 0, [refuses(1, "UNKNOWN")]).breaks(&[Promise::Receipts]);
    let cancelled = Story::empty().holds(2).client("writer", 0, [upload(), sent(1), sent(2)]);
    cancelled.client("writer", 0, [uploaded(2, 2)]).breaks(&[Promise::Receipts]);
}

#[test]
fn filter_is_broken_before_and_after_the_position_of_a_change() {
    let joins = || Story::stored(4).reader([feed(Some(0)), follows(&["odd"], 0)]);
    joins().reader([got(&[1], 2), follows(&["odd", "even"], 2), got(&[3, 4], 4)]).keeps_all();
    joins().reader([got(&[1], 2), follows(&["even"], 2), got(&[4], 4)]).keeps_all();
    joins().reader([got(&[1, 2], 2)]).breaks(&[Promise::Filter]);
    joins()
        .reader([got(&[1], 2), follows(&["even"], 2), got(&[3, 4], 4)])
        .breaks(&[Promise::Filter]);
    joins()
        .reader([got(&[1], 1), follows(&["odd", "even"], 1), got(&[3, 4], 4)])
        .breaks(&[Promise::Filter]);
    Story::stored(1).reader([feed(Some(0)), got(&[1], 1)]).breaks(&[Promise::Filter]);
}

#[test]
fn live_is_broken_by_a_reader_that_is_still_behind() {
    let behind = |events: &[What]| {
        let mut story = Story::stored(3).reader([list(0), got(&[1], 1)]);
        story.history.run.calm_from = Some(story.at);
        let mut story = story.reader(events.iter().cloned());
        story.at += 40_000_000;
        story.reader([got(&[2, 3], 3)])
    };
    behind(&[]).breaks(&[Promise::Live]);
    behind(&[What::Paused]).keeps_all();
    behind(&[What::Paused, What::Unpaused]).breaks(&[Promise::Live]);
    let mut late = Story::stored(3).reader([list(0), got(&[1], 1)]);
    late.history.run.calm_from = Some(late.at);
    late = late.reader([What::Paused]);
    late.at += 2_000_000;
    late = late.reader([What::Unpaused]);
    late.at += 40_000_000;
    late.reader([got(&[2, 3], 3)]).keeps_all();
    let mut joined = Story::stored(3).reader([feed(Some(0)), follows(&["odd"], 0), got(&[1], 2)]);
    joined.history.run.calm_from = Some(joined.at);
    // A feed that left every tag reads nothing.
    joined = joined.reader([follows(&[], 2), ended("LOST", "")]);
    joined.at += 40_000_000;
    joined.client("reader", 1, [feed(Some(2)), bookmark(0)]).keeps_all();
    let mut left = Story::stored(3).reader([list(0), got(&[1], 1)]);
    left.history.run.calm_from = Some(left.at);
    left = left.reader([ended("LEFT", "")]);
    left.at += 40_000_000;
    left.client("other", 0, [list(0), got(&[1, 2, 3], 3)]).keeps_all();
}

#[test]
fn authored_is_broken_by_the_name_of_another() {
    let posts = vec![Post { author: "Michael".to_owned(), ..post(1) }];
    let wrong = What::Posts { posts, position: position(1), complete: false };
    Story::stored(1).reader([list(0), wrong]).breaks(&[Promise::Authored]);
}

#[test]
fn a_run_in_which_too_little_happened_is_void() {
    let story = || {
        let story = Story::stored(3).reader([list(0), got(&[1], 1), ended("LOST", "")]);
        let refused = [feed(None), sent(4), refused(4, "NOT_FOUND")];
        // A reader that starts over where another stopped has resumed nothing.
        let story = story.client("other", 0, [list(1)]).client("writer", 1, refused);
        story.client("reader", 1, [list(1), got(&[2], 2), got(&[], 2)]).history
    };
    assert_eq!(void(&story()), None);
    type Change = dyn Fn(&mut Run);
    let with = |change: &Change| {
        let mut history = story();
        history.run.floor =
            Floor { acknowledged: 3, delivered: 2, bookmarks: 1, resumed: 1, faults: 0 };
        change(&mut history.run);
        void(&history)
    };
    assert_eq!(with(&|_| {}), None);
    const NEVER_FIRED: FaultCount = FaultCount { armed: 2, fired: 1 };
    let changes: [(&Change, &str); 7] = [
        (&|run| run.floor.acknowledged = 4, "acknowledged"),
        (&|run| run.floor.delivered = 3, "delivered"),
        (&|run| run.floor.bookmarks = 2, "bookmarks"),
        (&|run| run.floor.resumed = 2, "resumed"),
        (&|run| run.floor.faults = 1, "0 faults"),
        (&|run| run.faults = [("cut".to_owned(), NEVER_FIRED)].into(), "cut"),
        (&|run| run.calm_from = Some(1_000_000), "after the last fault"),
    ];
    for (change, why) in changes {
        assert!(with(change).is_some_and(|void| void.contains(why)), "{why}");
    }
    let stray = Story::stored(1).client("nobody", 7, [bookmark(1)]).history;
    assert!(void(&stray).is_some());
}
