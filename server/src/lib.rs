//! The server of Quartet: the four RPC kinds over an ordered log of posts.
//!
//! Its modules, from the process to the posts:
//!
//! - [`settings`]: what a server is given; the flags of the binary are turned into them.
//! - [`server`]: assembles a server, serves, and shuts it down; [`listen`]: binds its addresses.
//! - [`chain`]: the order of the layers that every call passes; [`layers`]: one file for each;
//!   [`call`]: the record of one call.
//! - [`auth`]: authentication, and the scopes of callers; [`certs`]: certificates, keys and tokens
//!   for trying it out.
//! - [`observe`]: the access log, metrics and traces; [`methods`]: the names of methods in them.
//! - [`rpc`]: the handlers. Each RPC kind of the Post service is one file.
//! - [`posts`]: the types that these handlers use.
//! - [`validate`] and [`error`]: checks requests, and turns errors into statuses.
//! - [`seed`]: sample posts for an empty log.
//!
//! A program that embeds a server brings a listener, [`settings::Settings`], and a future that ends
//! it:
//!
//! ```
//! use quartet::post::v1::{ListPostsByUserIdRequest, post_service_client::PostServiceClient};
//! use quartet_server::{
//!     server::Server,
//!     settings::{LogSettings, Settings},
//! };
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The sample posts in memory; `LogSettings::directory(path)` keeps a log in files.
//! let log = LogSettings { seed: true, ..LogSettings::default() };
//! let server = Server::open(Settings { log, ..Settings::default() }).await?;
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("http://{}", listener.local_addr()?);
//! let stop = CancellationToken::new();
//! let serving = server.serve(listener, stop.clone().cancelled_owned());
//! let calling = async {
//!     let channel = quartet_channel::Channel::builder(url.parse()?).build();
//!     let request = ListPostsByUserIdRequest { user_id: "1".into(), ..Default::default() };
//!     let page = PostServiceClient::new(channel).list_posts_by_user_id(request).await?;
//!     assert_eq!(page.into_inner().post_messages[0].author, "Henry");
//!     stop.cancel();
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! let (served, called) = tokio::join!(serving, calling);
//! called?;
//! served?; // every task of the server has ended
//! # Ok(())
//! # }
//! ```
//!
//! Connections, TLS and HTTP/2 limits are in the crate [`quartet_connection`]. The log, and the
//! cursors that read and follow it, are in [`quartet_log`].

pub mod auth;
pub mod call;
#[cfg(feature = "certs")]
pub mod certs;
pub mod chain;
pub mod error;
pub mod layers;
pub mod listen;
pub mod methods;
pub mod observe;
pub mod posts;
pub mod rpc;
pub mod seed;
pub mod server;
pub mod settings;
pub mod validate;
