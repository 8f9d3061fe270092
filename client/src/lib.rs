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
//! ```
//! use futures::{StreamExt as _, pin_mut};
//! use quartet::post::v1::ListPostsRequest;
//! use quartet_client::{ListEvent, connect, list_posts};
//!
//! # use futures::stream::{self, BoxStream};
//! # use quartet::{plain::post_service_server::{PostService, PostServiceServer}, post::v1::*};
//! # use tonic::{Request, Response, Status, Streaming, transport::{Server, server::TcpIncoming}};
//! # type Answers<T> = BoxStream<'static, Result<T, Status>>;
//! # struct OnePost;
//! # #[tonic::async_trait]
//! # impl PostService for OnePost {
//! #     type ListPostsStream = Answers<ListPostsResponse>;
//! #     type TagFeedStream = Answers<TagFeedResponse>;
//! #     async fn list_posts(
//! #         &self, _: Request<ListPostsRequest>,
//! #     ) -> Result<Response<Self::ListPostsStream>, Status> {
//! #         let post = PostMessage { sequence: 1, title: "Hello".into(), ..Default::default() };
//! #         let log_id = "log".to_owned();
//! #         let position = LogPosition { log_id, sequence: 1, ..Default::default() };
//! #         let batch = ListPostsResponse {
//! #             post_messages: vec![post],
//! #             position: Some(position),
//! #             snapshot_complete: true,
//! #             ..Default::default()
//! #         };
//! #         Ok(Response::new(Box::pin(stream::iter([Ok(batch)]))))
//! #     }
//! #     async fn list_posts_by_user_id(
//! #         &self, _: Request<ListPostsByUserIdRequest>,
//! #     ) -> Result<Response<ListPostsByUserIdResponse>, Status> {
//! #         Err(Status::unimplemented(""))
//! #     }
//! #     async fn upload_posts(
//! #         &self, _: Request<Streaming<UploadPostsRequest>>,
//! #     ) -> Result<Response<UploadPostsResponse>, Status> {
//! #         Err(Status::unimplemented(""))
//! #     }
//! #     async fn tag_feed(
//! #         &self, _: Request<Streaming<TagFeedRequest>>,
//! #     ) -> Result<Response<Self::TagFeedStream>, Status> {
//! #         Err(Status::unimplemented(""))
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("http://{}", listener.local_addr()?);
//! # let service = Server::builder().add_service(PostServiceServer::new(OnePost));
//! # let serving = service.serve_with_incoming(TcpIncoming::from(listener));
//! # let reading = async {
//! let events = list_posts(connect(&url)?, ListPostsRequest::default());
//! pin_mut!(events);
//! let mut titles = Vec::new();
//! while let Some(event) = events.next().await {
//!     match event? {
//!         ListEvent::Batch(batch) => {
//!             titles.extend(batch.post_messages.into_iter().map(|post| post.title));
//!         }
//!         // The list goes on by itself, after the last position that was received.
//!         ListEvent::Disconnected(_) | ListEvent::Reconnected(_) => {}
//!     }
//! }
//! assert_eq!(titles, ["Hello"]);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # };
//! # tokio::select! {
//! #     served = serving => Ok(served?),
//! #     read = reading => read,
//! # }
//! # }
//! ```
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
