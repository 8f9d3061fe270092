//! An ordered, durable log of posts, and cursors that replay and follow it.
//!
//! - [`PostLog`]: what a log does; [`EmbeddedLog`] keeps segment files on a [`Disk`](disk::Disk),
//!   [`MemoryLog`] keeps posts until the process ends.
//! - [`Cursor`]: a reader's position. It replays what is stored, then follows new posts that match
//!   its [`Filter`], with no gap and no duplicate where one turns into the other.
//! - [`Dispatchers`]: one task per core that reads each new post once and wakes the cursors that it
//!   matches.
//!
//! ```
//! use std::sync::Arc;
//!
//! use quartet::post::v1::PostMessage;
//! use quartet_log::{Cursor, Dispatcher, Filter, MemoryLog, NewPost, Outcome, PostLog};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), quartet_log::LogError> {
//! let log: Arc<dyn PostLog> = Arc::new(MemoryLog::new());
//! let post = |post_id: &str| {
//!     let post_id = post_id.to_owned();
//!     NewPost::of(&PostMessage { post_id, ..PostMessage::default() }, Default::default())
//! };
//! // Once the posts are taken in their order is fixed; once `appending` resolves they are durable.
//! let appending = log.append(vec![post("a"), post("b")].into()).await?;
//! assert_eq!(appending.await?, [Outcome::Created(1), Outcome::Created(2)]);
//!
//! let dispatcher = Dispatcher::new(log.clone());
//! let mut cursor = Cursor::new(log.clone(), dispatcher.clone(), Filter::all(), 0);
//! let stop = CancellationToken::new();
//! let follow = async {
//!     let replayed = cursor.follow().await?;
//!     cursor.advance(&replayed); // the reader has the batch: move past it
//!     log.append(vec![post("c")].into()).await?.await?;
//!     let followed = cursor.follow().await?;
//!     stop.cancel();
//!     Ok::<_, quartet_log::LogError>((replayed.position, followed.position))
//! };
//! let (positions, ()) = tokio::join!(follow, dispatcher.run(stop.clone()));
//! assert_eq!(positions?, (2, 3));
//! # Ok(())
//! # }
//! ```
//!
//! Not here: who may write, which posts are valid, and the names of authors.

pub mod disk;

mod cursor;
mod dispatcher;
mod embedded;
mod error;
mod filter;
mod memory;
mod new_posts;
mod post_log;
mod records;
mod segment;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fixtures;

/// The messages that appear in this crate's interface.
pub use quartet;

pub use cursor::{Batch, Cursor};
pub use dispatcher::{Dispatcher, Dispatchers};
pub use embedded::{
    EmbeddedLog,
    index::{HashId, hash_id},
    metrics::{LogMetrics, ReadSource},
    options::LogOptions,
    ring::RingLimits,
};
pub use error::{LogError, OpenError};
pub use filter::{Filter, Tags};
pub use memory::MemoryLog;
pub use new_posts::{NewPost, NewPosts};
pub use post_log::{APPEND_BYTES, APPEND_POSTS, Appending, Outcome, PostLog, UserPage};
pub use records::{Limit, Record, Records};
pub use segment::Identity;
