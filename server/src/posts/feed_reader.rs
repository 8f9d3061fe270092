//! The reading side of a feed: its position in the log, from its first join to its end.
//!
//! Nothing is read before the first join. Then the reader replays up to the head at the time of the
//! join, and after that it follows. While the feed waits, [`live`](super::live) sends new posts.

use std::future::pending;

use futures::FutureExt as _;
use quartet::{page::Page, post::v1::LogPosition};
use quartet_connection::Lane;
use quartet_log::{Filter, PostLog};
use tonic::Status;

use super::{heartbeat::Heartbeat, live::Live, reader::Reader, store::PostStore};

/// A feed's position in the log.
pub(crate) struct FeedReader {
    /// `None` while it is lent to the lane, which is only while `next` waits.
    reader: Option<Box<Reader>>,
    live: Live,
    /// Whether the first join has set the start.
    started: bool,
    /// The head at the first join, until the reader reaches it.
    catch_up: Option<u64>,
}

impl FeedReader {
    /// A reader that follows nothing, with the lane that sends its posts while it waits.
    pub(crate) fn new(posts: &PostStore) -> (Self, Lane) {
        let reader = Reader::new(posts, Filter::default(), *posts.log.head().borrow());
        let live = Live::default();
        let lane = live.lane();
        (Self { reader: Some(Box::new(reader)), live, started: false, catch_up: None }, lane)
    }

    /// The idle timer of the feed. Messages on the lane reset it too.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        Heartbeat::new(self.live.clone())
    }

    /// Changes the filter, from the present position on.
    pub(crate) fn set_filter(&mut self, filter: Filter) {
        self.reader().cursor.change_filter(filter);
    }

    /// Whether the first join has come.
    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    /// Starts after this sequence.
    pub(crate) fn start(&mut self, after: u64) {
        let cursor = &mut self.reader().cursor;
        cursor.start_at(after);
        self.catch_up = Some(cursor.head());
        self.started = true;
    }

    /// The log that it reads.
    pub(crate) fn log(&mut self) -> &dyn PostLog {
        &*self.reader().posts().log
    }

    /// The newest durable sequence.
    pub(crate) fn head(&mut self) -> u64 {
        self.reader().cursor.head()
    }

    /// The last sequence examined; 0 before the first join.
    ///
    /// # Errors
    /// The log cannot read the post there.
    pub(crate) async fn position(&mut self) -> Result<LogPosition, Status> {
        let sequence = if self.started { self.reader().cursor.position() } else { 0 };
        self.reader().posts().position(sequence).boxed().await
    }

    /// The position for a bookmark: no post at or before it may follow. So it is 0 before the first
    /// join, which may start anywhere. With `caught_up` no join can follow, because the client has
    /// half-closed.
    ///
    /// # Errors
    /// The log cannot read the post there.
    pub(crate) async fn bookmark(&mut self, caught_up: bool) -> Result<LogPosition, Status> {
        if !self.started && !caught_up {
            return self.position().await;
        }
        Ok(self.reader().bookmark().await?.position)
    }

    /// Whether the reader has reached the head at the first join. Returns true once.
    pub(crate) fn take_caught_up(&mut self) -> bool {
        let position = self.reader().cursor.position();
        let reached = self.catch_up.is_some_and(|head| position >= head);
        if reached {
            self.catch_up = None;
        }
        reached
    }

    /// Waits for the next page. An empty page means that a bookmark is due. Never ready before the
    /// first join. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Page, Status> {
        if !self.started {
            return pending().await;
        }
        if self.catch_up.is_none() {
            // The lane sends posts during this wait, until it needs the feed to read.
            Loan::wait(&self.live, &mut self.reader).await;
        }
        // Boxed: a future contains those that it awaits, and a waiting feed would carry its reads.
        match self.catch_up {
            Some(head) => self.reader().replay(head).boxed().await,
            None => self.reader().follow().boxed().await,
        }
    }

    /// The next page up to `head`; `None` if the reader is there.
    pub(crate) async fn rest(&mut self, head: u64) -> Option<Result<Page, Status>> {
        let cursor = &mut self.reader().cursor;
        cursor.settle(); // skips posts that are known not to match
        if cursor.position() >= head {
            return None;
        }
        Some(self.reader().replay(head).await)
    }

    /// Whether the reader has examined everything up to `head`.
    pub(crate) fn is_at(&mut self, head: u64) -> bool {
        self.reader().cursor.position() >= head
    }

    fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("invariant: it is lent only while `next` waits")
    }
}

/// A reader lent to its lane. Dropping this takes it back.
struct Loan<'a> {
    live: &'a Live,
    home: &'a mut Option<Box<Reader>>,
}

impl<'a> Loan<'a> {
    /// Lends the reader until the lane needs the feed to read. Returns at once if no connection
    /// serves the lane: then the feed reads itself. Cancel-safe.
    async fn wait(live: &'a Live, home: &'a mut Option<Box<Reader>>) {
        live.lend(home);
        if home.is_some() {
            return;
        }
        let _lent = Self { live, home };
        live.needs_feed().await;
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(reader) = self.live.take_back() {
            *self.home = Some(reader);
        }
    }
}
