//! What programs hand their posts to.

use std::{future::Future, time::Duration};

use quartet::post::v1::{ListPostsResponse, LogPosition, PostMessage};
use tonic::Status;

/// A reader keeps every batch that a program handles.
#[derive(Debug, Default)]
pub struct Reader {
    batches: Vec<ListPostsResponse>,
    ticks: usize,
}

impl Reader {
    /// Handles a batch.
    pub fn handle(&mut self, batch: ListPostsResponse) {
        self.batches.push(batch);
    }

    /// Shows the clock.
    pub fn show_clock(&mut self) {
        self.ticks += 1;
    }

    /// How often the clock was shown.
    pub fn ticks(&self) -> usize {
        self.ticks
    }

    /// The number of posts handled.
    pub fn count(&self) -> usize {
        self.posts().count()
    }

    /// Everything handled, in order.
    pub fn batches(&self) -> &[ListPostsResponse] {
        &self.batches
    }

    /// The posts handled, in order.
    pub fn posts(&self) -> impl Iterator<Item = &PostMessage> {
        self.batches.iter().flat_map(|batch| &batch.post_messages)
    }
}

/// A desk handles batches and keeps one bookmark. Both outlive the program, as a database does.
#[derive(Debug, Default)]
pub struct Desk {
    reader: Reader,
    bookmark: Option<LogPosition>,
    /// The batch, counted from 1, that kills the program while it is handled.
    crash_at: Option<usize>,
}

impl Desk {
    /// A desk at which the program is killed while it handles this batch, counted from 1.
    pub fn crashing_at(batch: usize) -> Self {
        Self { crash_at: Some(batch), ..Self::default() }
    }

    /// The bookmark saved last.
    pub fn bookmark(&self) -> Option<LogPosition> {
        self.bookmark.clone()
    }

    /// Saves a bookmark.
    pub fn save(&mut self, bookmark: Option<LogPosition>) {
        self.bookmark = bookmark;
    }

    /// Handles a batch, or nothing of it.
    ///
    /// # Errors
    /// ABORTED: the program was killed meanwhile.
    pub fn handle(&mut self, batch: ListPostsResponse) -> Result<(), Status> {
        if self.crash_at == Some(self.reader.batches.len() + 1) {
            self.crash_at = None;
            return Err(Status::aborted("the program was killed"));
        }
        self.reader.handle(batch);
        Ok(())
    }

    /// Everything handled.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}

/// A reader that takes one batch an hour.
#[derive(Debug, Default)]
pub struct SlowReader {
    taken: usize,
}

impl SlowReader {
    /// Takes a batch.
    pub fn take(&mut self, _batch: ListPostsResponse) -> impl Future<Output = ()> {
        self.taken += 1;
        tokio::time::sleep(Duration::from_secs(3600))
    }

    /// The number of batches taken.
    pub fn taken(&self) -> usize {
        self.taken
    }
}
