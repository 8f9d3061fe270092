//! The chain: what every call passes on its way to a handler, whatever its kind.
//!
//! A layer is a function from a service to a service that does a little more, as
//! [`quartet_connection::layer`] explains; each has a file in [`layers`](crate::layers). Here is
//! their order.
//!
//! Not here: connections and frames ([`quartet_connection`]), and what is valid in a request
//! ([`validate`](crate::validate)).

use std::sync::Arc;

use quartet_connection::{HttpService, Routes, deadline, layer::Inner};
use tower::ServiceBuilder;

use crate::{
    auth::Auth,
    error,
    layers::{
        authentication, authorization,
        limits::{self, Limits},
        reasons,
        record::{self, Observers},
        recover, request_id,
    },
};

/// The settings of the layers of one server. Clones share what is counted.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Where calls are recorded.
    pub observers: Arc<Observers>,
    /// How callers are authenticated; `None` allows every call to everyone.
    pub auth: Option<Auth>,
    /// How many calls a user may make.
    pub limits: Limits,
    /// Whether to leave out the layers that no call needs, to measure what they cost.
    pub bare: bool,
}

impl Chain {
    /// The routes behind the chain.
    // ANCHOR: chain
    pub fn around(&self, routes: Routes) -> HttpService {
        let statuses = Arc::new(error::statuses());
        if self.bare {
            let guarded = authorization::around(reasons::around(routes), self.auth.is_some());
            let guarded = authentication::around(guarded, self.auth.clone());
            return service(recover::around(deadline::around(guarded, statuses)));
        }
        let chain = ServiceBuilder::new()
            // Outermost, so that every response says which call it was, also after a panic.
            .layer_fn(request_id::around)
            // Around all that could have a bug: a panic becomes INTERNAL, and the connection lives
            // on.
            .layer_fn(recover::around)
            // Around all that can refuse a call: the access log, the metrics and the traces see
            // each of them end.
            .layer_fn(|service| record::around(service, self.observers.clone()))
            // Time runs from here on, for handlers and checks alike.
            .layer_fn(|service| deadline::around(service, statuses.clone()))
            // Who calls. Nothing behind this sees a token, and no call outlives its own.
            .layer_fn(|service| authentication::around(service, self.auth.clone()))
            // Once the caller is known, the access log has it, however the call ends.
            .layer_fn(record::name_caller)
            // Whether it may. A method without a rule is denied to everyone.
            .layer_fn(|service| authorization::around(service, self.auth.is_some()))
            // Only calls that would be served count against their user.
            .layer_fn(|service| limits::around(service, self.limits.clone()));
        // Innermost, so that all others see the statuses of tonic itself with a reason.
        service(chain.service(reasons::around(routes)))
    }
    // ANCHOR_END: chain
}

/// The whole chain. Deadlines are kept in it, so that the access log sees the calls that they end.
fn service(chain: impl Inner) -> HttpService {
    HttpService::new(chain).keeping_deadlines()
}
