//! The frame of layers that look at requests and at what comes back.
//!
//! A layer is a function from a service to a service that does a little more. It acts at three
//! moments: when the head of a request comes, when the head of the response goes, and at each frame
//! of the response's body. What it does with the last two is a [`Watch`](watch::Watch), which
//! [`answer`](watch::answer) puts around the response:
//!
//! ```
//! use http::Request;
//! use quartet_connection::{RequestBody, layer::{Inner, watch::{Hold, answer}}};
//! use tonic::Status;
//! use tower::service_fn;
//!
//! /// Refuses calls without a name, and does nothing with the response.
//! fn around(mut service: impl Inner) -> impl Inner {
//!     service_fn(move |request: Request<RequestBody>| {
//!         answer(match request.headers().contains_key("name") {
//!             true => Ok((service.call(request), Hold(()))),
//!             false => Err(Status::unauthenticated("who are you?")),
//!         })
//!     })
//! }
//! ```
//!
//! Layers like this are one type for the compiler, nested and not boxed, so that a message passes
//! all of them for a few comparisons; [`HttpService::new`](crate::HttpService::new) boxes the whole
//! once. Layers of `tower` fit too: a [`HttpService`](crate::HttpService) and
//! [`Routes`](crate::Routes) are a `tower::Service`.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use tonic::Status;
use tower::Service;

use crate::request::RequestBody;

pub mod watch;

/// What a layer stands around: the layers below it, and in the end the routes. It is always ready:
/// a server has no queue before its handlers.
pub trait Inner:
    Service<
        Request<RequestBody>,
        Response = Response<Self::Body>,
        Error = Infallible,
        Future: Send + Unpin + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses.
    type Body: http_body::Body<Data = Bytes, Error = Status> + Send + Unpin + 'static;
}

impl<S, B> Inner for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + Unpin + 'static,
    B: http_body::Body<Data = Bytes, Error = Status> + Send + Unpin + 'static,
{
    type Body = B;
}
