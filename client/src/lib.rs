//! Client side of Quartet: the four RPC kinds as four streams of events.
//!
//! | RPC kind | here | it adds to the generated client |
//! |---|---|---|
//! | unary | [`list_user_posts`] | page after page |
//! | server streaming | [`list_posts`] | goes on from the last position after a cut |
//! | client streaming | [`upload_posts`] | sends again from the start after a cut, with the same ids |
//! | bidirectional | [`tag_feed`] | rejoins at the last position and sends again what has no answer |
//!
//! Every function returns a `Stream` of events that does its work while it is polled, so `next()` is cancel-safe,
//! dropping the stream ends the call, and nothing runs in the background. Each checks the order that the server
//! promised and ends with [`Error::Protocol`] if it does not hold.
//!
//! [`connect`](connect()) makes the channel that calls go through; what else a channel can do is in
//! [`quartet_channel`]. [`resume`] continues streams that were cut.
//!
//! [`command`] holds the four binaries, in a form that another program can run as well.

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

pub mod command;
pub mod lines;
pub mod output;
pub mod post_file;

pub use connect::connect;
pub use error::Error;
pub use quartet_channel::{Builder, Channel, ServedBy, ServiceConfig};
