//! Client side of Quartet: the four RPC kinds as four streams of events.
//!
//! | RPC kind | function | it adds to the generated client |
//! |---|---|---|
//! | unary | [`list_user_posts`] | page after page |
//! | server streaming | [`list_posts`] | after a cut, continues from the last position |
//! | client streaming | [`upload_posts`] | after a cut, sends all posts again with the same ids |
//! | bidirectional | [`tag_feed`] | after a cut, rejoins and repeats what has no answer |
//!
//! Every function returns a `Stream` of events. It works only while it is polled: `next()` is
//! cancel-safe, dropping the stream ends the call, and nothing runs in the background. Each
//! function checks the order that the server promises and ends with [`Error::Protocol`] if it is
//! broken.
//!
//! [`connect`](connect()) makes the channel that calls go through; everything else that a channel
//! can do is in [`quartet_channel`]. [`resume`] is the loop that continues a stream after a cut,
//! for other calls as well. `command`, with the feature `cli`, holds the four binaries, in a form
//! that another program can run too.
//!
//! The files `pages.rs`, `list.rs`, `upload.rs` and `feed.rs` are one RPC kind each. Read them in
//! this order; `examples/` has the same four calls on the generated client alone.

pub mod connect;
pub mod error;
pub mod position;
pub mod resume;

mod pages;
pub use pages::list_user_posts;

mod list;
pub use list::{ListEvent, list_posts, read_posts};

mod upload;
pub use upload::{PostSource, UploadEvent, upload_posts};

mod feed;
pub use feed::{FeedEvent, FeedRequest, FeedStart, tag_feed};

mod in_place;
mod order;
mod response;

pub mod borrowed;

#[cfg(feature = "cli")]
pub mod command;
#[cfg(feature = "cli")]
pub mod lines;
#[cfg(feature = "cli")]
pub mod output;
#[cfg(feature = "cli")]
pub mod post_file;

pub use connect::connect;
pub use error::Error;
pub use quartet_channel::{Builder, Channel, ServedBy, ServiceConfig};
