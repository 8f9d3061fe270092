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
//! [`connect`](connect()) makes the connection, [`tls`] encrypts it, [`credentials`] say who calls.
//!
//! [`command`] holds the four binaries, in a form that another program can run as well.
//!
//! Not here: balancing over several servers, and retry policies. [`backoff`] has the one rule for when to go on.

pub mod chain;
mod channel;
pub mod connect;
pub mod credentials;
pub mod dial;
pub mod error;
pub mod position;
pub mod tls;

mod pages;
pub use pages::list_user_posts;

mod list;
pub use list::{ListEvent, list_posts, read_posts};

pub mod borrowed;

mod upload;
pub use upload::{Posts, UploadEvent, upload_posts};

mod feed;
pub use feed::{FeedEvent, FeedRequest, FeedStart, tag_feed};

pub mod backoff;
mod order;

pub mod command;
pub mod lines;
pub mod output;
pub mod post_file;

pub use channel::Channel;
pub use connect::connect;
pub use error::Error;
