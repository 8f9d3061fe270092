//! The types that the handlers of the Post service use.
//!
//! - [`store`]: the state that all handlers share: the log, the authors, the clock.
//! - `reader`: a cursor whose posts come with their authors.
//! - `pipeline`, `tally`: the posts of an upload on their way to the disk, and the counts of their
//!   outcomes.
//! - `feed_reader`, `live`, [`frame_cache`]: a feed's position in the log, and how posts reach it
//!   while it waits.
//! - `messages`: the response of a feed.
//! - `following`, `receipts`, `heartbeat`: the tags, receipts and idle timer of a feed.
//! - [`authors`]: the client of the User service.

pub mod authors;
pub(crate) mod feed_reader;
pub(crate) mod following;
pub mod frame_cache;
pub(crate) mod heartbeat;
pub(crate) mod live;
pub(crate) mod messages;
pub(crate) mod pipeline;
pub(crate) mod reader;
pub(crate) mod receipts;
pub mod store;
pub(crate) mod tally;
