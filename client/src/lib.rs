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
//! # The channel
//!
//! [`Channel`] and what is below it knows nothing of posts, and can be copied as it is: [`target`] and `resolve` find addresses,
//! [`dial`] opens bytes, `balance` keeps a connection to each address and picks one for each call, [`retry`] makes attempts, and
//! [`service_config`] says how. [`resume`] is above it: it goes on with streams that were cut.

pub mod chain;
mod channel;
pub mod connect;
pub mod credentials;
pub mod dial;
pub mod target;
pub mod tls;
pub mod transport;

mod resolve;

mod balance;

pub mod backoff;
pub mod retry;
pub mod service_config;

pub mod error;
pub mod position;
pub mod resume;

/// The target of events that say what a channel does, for people: connections, attempts, pauses.
pub(crate) const EXPLAIN: &str = "quartet_client::explain";

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

pub use channel::{Builder, Channel, ServedBy};
pub use connect::connect;
pub use error::Error;
pub use service_config::ServiceConfig;
