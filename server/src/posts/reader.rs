//! A cursor that joins posts with their authors. Its calls are cancel-safe.

use bytes::Bytes;
use futures::FutureExt as _;
use quartet::{
    codec,
    page::{FeedMessage, Page},
};
use quartet_log::{Batch, Cursor, Filter};
use tokio::time::Instant;
use tonic::Status;

use super::{frame_cache::Frame, store::PostStore};
use crate::error;

/// A position in the log of a [`PostStore`].
#[derive(Debug)]
pub(crate) struct Reader {
    posts: PostStore,
    pub(crate) cursor: Cursor,
}

/// The outcome of reading without waiting.
pub(crate) enum Ready {
    /// The next message of a feed, with its prefix.
    Frame(Bytes),
    /// No post. The dispatcher notifies the reader of the next one.
    Nothing,
    /// Reading must wait, or a bookmark is due.
    Later,
}

impl Reader {
    /// A reader that has examined everything up to `position`.
    pub(crate) fn new(posts: &PostStore, filter: Filter, position: u64) -> Self {
        let dispatcher = posts.dispatchers.here().clone();
        let cursor = Cursor::new(posts.log.clone(), dispatcher, filter, position);
        Self { posts: posts.clone(), cursor }
    }

    /// The store that it reads.
    pub(crate) fn posts(&self) -> &PostStore {
        &self.posts
    }

    /// The next page of posts up to `until`. Empty if no post matched, in many posts or up to
    /// there.
    pub(crate) async fn replay(&mut self, until: u64) -> Result<Page, Status> {
        let batch = self.cursor.replay(until).await.map_err(error::of_log)?;
        self.hand_over(batch).await
    }

    /// Waits for the next page of posts. Empty if no post matched in many: a bookmark is due.
    pub(crate) async fn follow(&mut self) -> Result<Page, Status> {
        let batch = self.cursor.follow().await.map_err(error::of_log)?;
        self.hand_over(batch).await
    }

    async fn hand_over(&mut self, batch: Batch) -> Result<Page, Status> {
        // Boxed: a waiting stream reserves no space for joining.
        let page = self.posts.page(batch.records.iter(), batch.position, false).boxed().await?;
        self.cursor.advance(&batch);
        Ok(page)
    }

    /// The next message of posts for a feed, if it takes no wait.
    pub(crate) fn ready_frame(&mut self, now: Instant) -> Ready {
        while self.cursor.settle() {
            if self.cursor.owes_bookmark() {
                return Ready::Later;
            }
            let after = self.cursor.position();
            let frame = match self.posts.frames.find(self.cursor.filter_mut(), after, now) {
                Some(frame) => frame,
                None => match self.make_frame().now_or_never() {
                    Some(Ok(Some(frame))) => frame,
                    Some(Ok(None)) => continue,
                    Some(Err(_)) | None => return Ready::Later,
                },
            };
            self.cursor.move_to(frame.position);
            return Ready::Frame(frame.bytes);
        }
        if self.cursor.owes_bookmark() { Ready::Later } else { Ready::Nothing }
    }

    /// Reads and encodes the next posts. If none matched, advances the cursor and returns `None`.
    async fn make_frame(&mut self) -> Result<Option<Frame>, Status> {
        let batch = self.cursor.replay(self.cursor.head()).await.map_err(error::of_log)?;
        if batch.records.is_empty() {
            self.cursor.pass(&batch);
            return Ok(None);
        }
        let page = self.posts.page(batch.records.iter(), batch.position, false).await?;
        let bytes = codec::frame(&FeedMessage::Posts(page));
        let frame = Frame { bytes, position: batch.position };
        self.posts.frames.keep(self.cursor.filter(), self.cursor.position(), frame.clone());
        Ok(Some(frame))
    }

    /// A page without posts: the reader's position.
    ///
    /// # Errors
    /// The log cannot read the post there.
    pub(crate) async fn bookmark(&mut self) -> Result<Page, Status> {
        // Boxed: a waiting stream reserves no space for reading.
        let position = self.posts.position(self.cursor.bookmark()).boxed().await?;
        Ok(Page { position, ..Page::default() })
    }
}
