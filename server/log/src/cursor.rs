//! How every stream reads: a position in the log that moves forward.
//!
//! A cursor is not a queue. It holds the last sequence that it examined and pulls the next batch
//! when its client has room. So a slow client costs constant memory and loses nothing, replaying
//! and following are the same loop, and a client that lost its connection resumes with a new cursor
//! at its last position.
//!
//! Guarantees: sequences strictly increase over the batches of one cursor; every post between its
//! start and [`position`](Cursor::position) that matched the filter at that time was in a batch.
//! Reading is cancel-safe because it does not move the cursor past a post:
//! [`advance`](Cursor::advance) does, once the batch is on its way to the client.

use std::sync::{Arc, Weak};

use quartet::limits::{BATCH_BYTES, BATCH_POSTS, SKIPPED_POSTS};
use quartet_runtime::observer::Observer;
use tokio::sync::watch;

use crate::{
    dispatcher::{
        Dispatcher,
        registration::{News, Registration},
    },
    error::LogError,
    filter::Filter,
    post_log::PostLog,
    records::{Limit, Record, Records},
};

/// A cursor without a filter reads as much as one message holds.
const READ_ALL: Limit = Limit { posts: BATCH_POSTS, bytes: BATCH_BYTES };
/// A cursor with a filter skips posts, so it reads more of them at a time.
const READ_SOME: Limit = Limit { posts: 1024, bytes: 256 * 1024 };

/// A position in the log and the filter of its reader.
#[derive(Debug)]
pub struct Cursor {
    log: Arc<dyn PostLog>,
    head: watch::Receiver<u64>,
    registration: Registration,
    filter: Arc<Filter>,
    position: u64,
    /// The last position that was sent to the client.
    reported: u64,
}

impl Cursor {
    /// A cursor that has examined everything up to `position`.
    pub fn new(
        log: Arc<dyn PostLog>,
        dispatcher: Arc<Dispatcher>,
        filter: Filter,
        position: u64,
    ) -> Self {
        let filter = Arc::new(filter);
        let registration = Registration::new(dispatcher, filter.clone());
        registration.set_position(position);
        Self { head: log.head(), log, registration, filter, position, reported: position }
    }

    /// The last sequence examined, matching or not.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The newest durable sequence.
    pub fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// The filter of the reader.
    pub fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// The filter, to be replaced by an equal one that is shared with other cursors. A different
    /// one goes to [`change_filter`](Cursor::change_filter).
    pub fn filter_mut(&mut self) -> &mut Arc<Filter> {
        &mut self.filter
    }

    /// Replaces the filter from the current position on, after skipping posts that are known not to
    /// match the old one.
    pub fn change_filter(&mut self, filter: Filter) {
        self.settle();
        self.filter = Arc::new(filter);
        self.registration.change(self.filter.clone(), self.position);
    }

    /// Moves to another position. Only for a cursor that has not read yet.
    pub fn start_at(&mut self, position: u64) {
        (self.position, self.reported) = (position, position);
        self.registration.change(self.filter.clone(), position);
    }

    /// Moves past posts that are known not to match, without reading. Returns whether the next
    /// posts may match.
    pub fn settle(&mut self) -> bool {
        let (position, may_match) = match self.registration.news(self.position) {
            News::MayMatchAfter(position) => (position, true),
            News::NothingUpTo(position) => (position, false),
        };
        self.position = position;
        may_match
    }

    /// Reads the next batch of stored posts, at most up to `until`. Does not move the cursor.
    /// Cancel-safe.
    ///
    /// The batch is empty if [`SKIPPED_POSTS`] posts were skipped, or if no post up to `until`
    /// matches.
    ///
    /// # Errors
    /// The log cannot read the next post; posts before it are returned first.
    pub async fn replay(&self, until: u64) -> Result<Batch, LogError> {
        if !self.filter.is_all() {
            return self.replay_matching(until).await;
        }
        let mut records = self.log.read(self.position, READ_ALL).await?;
        records.truncate(until);
        let position = records.last().map_or(self.position, |last| last.sequence);
        Ok(Batch { records, position })
    }

    async fn replay_matching(&self, until: u64) -> Result<Batch, LogError> {
        let enough = until.min(self.position.saturating_add(SKIPPED_POSTS));
        let mut found = Matching { position: self.position, ..Matching::default() };
        while found.position < enough && !found.full {
            let records = match self.log.read(found.position, READ_SOME).await {
                // Return what precedes the failure; the next batch meets it again.
                Err(_) if found.position > self.position => break,
                records => records?,
            };
            if records.is_empty() {
                break; // `until` is past the head.
            }
            for record in records.iter().take_while(|record| record.sequence <= until) {
                if !found.examine(record, &self.filter) {
                    break;
                }
            }
        }
        Ok(Batch { records: found.records.into(), position: found.position })
    }

    /// Waits for matching posts and reads the next batch of them. Does not move past them.
    /// Cancel-safe.
    ///
    /// The batch is empty if [`SKIPPED_POSTS`] posts were skipped since the last
    /// [`advance`](Cursor::advance) or [`bookmark`](Cursor::bookmark): time to send the client a
    /// bookmark.
    ///
    /// # Errors
    /// The log cannot read the next post.
    pub async fn follow(&mut self) -> Result<Batch, LogError> {
        loop {
            let may_match = self.settle();
            if self.owes_bookmark() {
                return Ok(Batch { position: self.position, ..Batch::default() });
            }
            if !may_match {
                self.registration.woken().await;
                continue;
            }
            // Boxed: a waiting cursor reserves no room for the state of a read.
            let batch = Box::pin(self.replay(self.head())).await?;
            if !batch.records.is_empty() {
                return Ok(batch);
            }
            self.pass(&batch);
        }
    }

    /// Whether [`SKIPPED_POSTS`] posts were skipped since the last position was sent to the client.
    pub fn owes_bookmark(&self) -> bool {
        self.position - self.reported >= SKIPPED_POSTS
    }

    /// Notifies this observer of news from now on, before the task in [`follow`](Cursor::follow) is
    /// woken. Only the first call has an effect.
    pub fn observe(&self, observer: &Weak<dyn Observer>) {
        self.registration.observe(observer);
    }

    /// Moves past a batch without posts.
    pub fn pass(&mut self, batch: &Batch) {
        self.position = batch.position;
    }

    /// Moves past a batch, once it is on its way to the client.
    pub fn advance(&mut self, batch: &Batch) {
        self.move_to(batch.position);
    }

    /// Moves to a position that is on its way to the client.
    pub fn move_to(&mut self, position: u64) {
        (self.position, self.reported) = (position, position);
        self.registration.set_position(position);
    }

    /// The furthest position that is known, to be sent to the client.
    pub fn bookmark(&mut self) -> u64 {
        self.settle();
        self.reported = self.position;
        self.position
    }
}

/// The matching posts up to a position, as many as one message carries.
#[derive(Debug, Default)]
pub struct Batch {
    /// The posts, in log order.
    pub records: Records,
    /// The last sequence examined, matching or not.
    pub position: u64,
}

/// The matching posts among those examined.
#[derive(Default)]
struct Matching {
    records: Vec<Record>,
    position: u64,
    bytes: usize,
    full: bool,
}

impl Matching {
    /// Examines the next record of the log. Returns false if it matches but does not fit.
    fn examine(&mut self, record: &Record, filter: &Filter) -> bool {
        if filter.matches(record.view()) {
            self.bytes += record.post.len();
            self.full = self.records.len() == BATCH_POSTS
                || (self.bytes > BATCH_BYTES && !self.records.is_empty());
            if self.full {
                return false;
            }
            self.records.push(record.clone());
        }
        self.position = record.sequence;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt as _;
    use quartet::post::v1::PostMessage;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{memory::MemoryLog, new_posts::NewPost};

    fn tagged(tags: &[&str]) -> Filter {
        let tags: BTreeSet<_> = tags.iter().map(ToString::to_string).collect();
        Filter { tags: tags.into(), user_ids: BTreeSet::new() }
    }

    async fn append(log: &MemoryLog, count: usize, tag: &str) {
        for _ in 0..count {
            let head = *log.head().borrow();
            let tags = vec![tag.to_owned()];
            let post = PostMessage { post_id: format!("p{head}"), tags, ..PostMessage::default() };
            let post = NewPost::of(&post, prost_types::Timestamp::default());
            log.append(vec![post].into()).await.unwrap().await.unwrap();
        }
    }

    /// Lets the dispatcher examine all stored posts.
    fn dispatch(dispatcher: &Arc<Dispatcher>) {
        let running = dispatcher.clone().run(CancellationToken::new()).now_or_never();
        assert!(running.is_none(), "it runs until stopped");
    }

    /// A bug: a feed opened at the head while the dispatcher was behind. Its first join started
    /// further back, and its second came before it had read anything. The matches that the
    /// dispatcher noted in between were taken for old ones, and the second join moved the feed past
    /// them.
    #[tokio::test]
    async fn a_cursor_that_starts_further_back_passes_over_nothing_that_it_hears_of_late() {
        let log = Arc::new(MemoryLog::new());
        let dispatcher = Dispatcher::new(log.clone());
        append(&log, 100, "a").await;
        let mut cursor = Cursor::new(log.clone(), dispatcher.clone(), Filter::default(), 100);
        cursor.change_filter(tagged(&["a"]));
        cursor.start_at(90);
        dispatch(&dispatcher);
        cursor.change_filter(tagged(&["a", "b"]));
        assert_eq!(cursor.position(), 90);
        let batch = cursor.follow().await.unwrap();
        let sequences: Vec<u64> = batch.records.iter().map(|record| record.sequence).collect();
        assert_eq!(sequences, (91..=100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_cursor_waits_for_matches_and_skips_other_posts_without_reading() {
        let log = Arc::new(MemoryLog::new());
        let dispatcher = Dispatcher::new(log.clone());
        let mut cursor = Cursor::new(log.clone(), dispatcher.clone(), tagged(&["a"]), 0);
        append(&log, 50, "b").await;
        dispatch(&dispatcher);
        assert!(cursor.follow().now_or_never().is_none());
        assert_eq!(cursor.position(), 50);
        append(&log, 1, "a").await;
        dispatch(&dispatcher);
        let batch = cursor.follow().now_or_never().expect("there is a post").unwrap();
        assert_eq!((batch.records.len(), batch.position), (1, 51));
    }

    #[tokio::test]
    async fn reading_moves_a_cursor_only_once_the_batch_is_on_its_way() {
        let log = Arc::new(MemoryLog::new());
        append(&log, 10, "a").await;
        let dispatcher = Dispatcher::new(log.clone());
        let mut cursor = Cursor::new(log.clone(), dispatcher, Filter::all(), 0);
        for _ in 0..2 {
            let batch = cursor.follow().await.unwrap();
            assert_eq!((batch.records.len(), cursor.position()), (10, 0));
        }
        let batch = cursor.replay(7).await.unwrap();
        assert_eq!((batch.records.len(), batch.position), (7, 7));
        cursor.advance(&batch);
        assert_eq!(cursor.follow().await.unwrap().records.last().unwrap().sequence, 10);
    }
}
