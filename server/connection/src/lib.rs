//! The connections of a gRPC server, over h2: what a server needs between its sockets and its
//! services.
//!
//! tonic's own server removes limits that keep a peer from costing more than it should, cannot end
//! idle or old connections as other gRPC servers do, and waits for its connections without end when
//! it stops; hyper's, below it, does not notice a stream whose peer grants no window. This one does
//! these things. It serves what tonic generates, and any other `tower::Service` of HTTP requests.
//!
//! ```
//! use quartet_connection::{HttpService, Routes, Settings, listener::memory, serve};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // A `tokio::net::TcpListener`, a unix socket, or as here a pipe in memory.
//! let (connector, listener) = memory::listen();
//! // `.add_service(...)` takes the servers that tonic generates, with their interceptors.
//! let service = HttpService::new(Routes::default());
//! let drain = CancellationToken::new();
//! let serving = serve(listener, service, Settings::default(), drain.clone());
//! let calling = async {
//!     let (mut requests, connection) =
//!         h2::client::handshake(connector.connect().await.unwrap()).await.unwrap();
//!     let request = http::Request::post("http://server/package.Service/Method")
//!         .header("content-type", "application/grpc")
//!         .body(())
//!         .unwrap();
//!     let (response, _) = requests.send_request(request, true).unwrap();
//!     let response = tokio::select! {
//!         response = response => response.unwrap(),
//!         ended = connection => panic!("{ended:?}"),
//!     };
//!     assert_eq!(response.headers()["grpc-status"], "12"); // UNIMPLEMENTED
//!     drain.cancel();
//! };
//! tokio::join!(serving, calling);
//! # }
//! ```
//!
//! Reading order:
//!
//! - [`serve`] and [`Settings`]: the two to begin with; [`listener`]: where connections come from.
//! - `lifecycle`: one connection, from its handshake to its end; [`keepalive`]: how long it lives.
//! - `exchange`: one stream; [`HttpService`], [`Routes`] and [`Generated`]: what answers;
//!   [`Stop`]: tells it to end.
//! - [`guard`]: sees every frame, and ends what floods; `coalesce`: below it, gathers small writes.
//! - [`Lane`]: messages that go out past the body of a response; [`Meter`]: counts messages.
//! - [`layer`], [`deadline`]: layers around services, and the one that every call has.
//! - [`tls`], [`reload`]: encryption, and files that change; [`admission`]: limits of how many.
//!
//! Not here: authentication, logging, metrics, flags. A server adds them as layers and settings.

mod accept;
pub mod activity;
pub mod admission;
mod coalesce;
mod context;
pub mod deadline;
mod exchange;
mod generated;
mod grpc_request;
pub mod guard;
pub mod keepalive;
mod lane;
pub mod layer;
mod lifecycle;
pub mod listener;
mod meter;
mod peer;
pub mod reload;
mod request;
mod routes;
mod service;
pub mod settings;
mod statuses;
mod stop;
pub mod tls;
mod woken;

pub use accept::serve;
pub use generated::{Corrected, Generated};
pub use lane::{Lane, LaneSender, MessageSource};
pub use listener::Listener;
pub use meter::{Count, Meter};
pub use peer::{Peer, PeerAddress};
pub use request::RequestBody;
pub use routes::Routes;
pub use service::{HttpService, ResponseFuture};
pub use settings::{ConnectionGauges, Settings};
pub use statuses::Statuses;
pub use stop::Stop;
