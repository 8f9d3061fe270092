//! The chain: what every call passes on its way to a handler, whatever its kind.
//!
//! A layer is a function from a service to a service that does a little more. It has its say at three moments: when the
//! request's head comes, when the response's head goes, and at each frame of the response's body ([`watch::Watch`]). The
//! layers are one type for the compiler, nested and not boxed, so that a message passes all of them for a few
//! comparisons; the whole is boxed once.
//!
//! Not here: connections and frames (`connection/`), and what is valid in a request (`validate.rs`).

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Service, ServiceBuilder, ServiceExt as _};

use crate::{
    auth::{Auth, authentication, authorization},
    connection::{HttpService, RequestBody},
    routes::Routes,
};
use call::Observers;
use limits::Limits;

mod access_log;
pub mod call;
mod count;
pub mod deadline;
pub mod limits;
pub mod methods;
mod reasons;
pub mod recover;
pub mod request_id;
pub mod watch;

/// What a layer stands around: the layers below it, and in the end the routes. It is always ready: a server has no queue
/// before its handlers.
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

/// What the layers of one server share.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Who is told of calls.
    pub observers: Arc<Observers>,
    /// How callers are known, if they have to be.
    pub auth: Option<Auth>,
    /// How many calls a user may make.
    pub limits: Limits,
    /// Whether to leave out what no call needs: for measuring what it costs.
    pub bare: bool,
}

impl Chain {
    /// These routes, behind the chain.
    // ANCHOR: chain
    pub fn around(&self, routes: Routes) -> HttpService {
        if self.bare {
            let guarded = authorization::around(reasons::around(routes), self.auth.is_some());
            let guarded = authentication::around(guarded, self.auth.clone());
            return boxed(recover::around(deadline::around(guarded)));
        }
        let chain = ServiceBuilder::new()
            // Outermost, so that whatever is answered says which call it was, also after a panic.
            .layer_fn(request_id::around)
            // Around all that could have a bug: a panic becomes INTERNAL, and the connection lives on.
            .layer_fn(recover::around)
            // Around all that can refuse a call: the access log, the metrics and the traces see each of them end.
            .layer_fn(|service| call::around(service, self.observers.clone()))
            // Time runs from here on: for whoever is slow below, handlers and checks alike.
            .layer_fn(deadline::around)
            // Who calls. Nobody behind this sees a token, and no call outlives its own.
            .layer_fn(|service| authentication::around(service, self.auth.clone()))
            // Once that is known, the access log shall have it, however the call ends.
            .layer_fn(call::name_caller)
            // Whether they may. What no rule lets in is nobody's.
            .layer_fn(|service| authorization::around(service, self.auth.is_some()))
            // Only calls that would be served count against their user.
            .layer_fn(|service| limits::around(service, self.limits.clone()));
        // Innermost, so that all others see what tonic itself says with a reason.
        boxed(chain.service(reasons::around(routes)))
    }
    // ANCHOR_END: chain
}

fn boxed(service: impl Inner) -> HttpService {
    HttpService::new(service.map_response(|response| response.map(Body::new)))
}
