//! The chain: the layers that every call passes on its way to a handler.
//!
//! A layer wraps a service and adds one thing, as [`quartet_connection::layer`] explains. Each has
//! a file in [`layers`](crate::layers); this file has their order.
//!
//! Not here: connections and frames ([`quartet_connection`]), and the validation of requests
//! ([`validate`](crate::validate)).

use std::sync::Arc;

use quartet::codec;
use quartet_connection::{HttpService, Routes, deadline, layer::Inner};
use tower::ServiceBuilder;

use crate::{
    auth::Auth,
    error,
    layers::{
        authentication, authorization, compression,
        limits::{self, Limits},
        record::{self, Observers},
        recover, request_id,
    },
};

/// The settings of one server's layers. Clones share their counts.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Where calls are recorded.
    pub observers: Arc<Observers>,
    /// How callers are authenticated. `None` allows everyone every call.
    pub auth: Option<Auth>,
    /// Limits of a user's calls.
    pub limits: Limits,
    /// Whether answers are compressed for callers that can read it.
    pub compress_answers: bool,
    /// Whether to leave out the layers that calls can do without, to measure their cost.
    pub bare: bool,
}

impl Chain {
    /// Puts the chain around these routes.
    // ANCHOR: chain
    pub fn around(&self, routes: Routes) -> HttpService {
        let routes = routes.with_unknown(codec::unknown_method);
        let statuses = Arc::new(error::statuses());
        if self.bare {
            let guarded = compression::around(routes, self.compress_answers);
            let guarded = authorization::around(guarded, self.auth.is_some());
            let guarded = authentication::around(guarded, self.auth.clone());
            return service(recover::around(deadline::around(guarded, statuses)));
        }
        let chain = ServiceBuilder::new()
            // Outermost, so that every response names its call, also after a panic.
            .layer_fn(request_id::around)
            // Around all code that could panic: a panic becomes INTERNAL, and the connection lives
            // on.
            .layer_fn(recover::around)
            // Around every layer that can refuse a call, so that the access log, metrics and traces
            // see all calls end.
            .layer_fn(|service| record::around(service, self.observers.clone()))
            // The deadline covers handlers and the checks before them.
            .layer_fn(|service| deadline::around(service, statuses.clone()))
            // Identifies the caller. Layers inside do not see the token, and no call outlives it.
            .layer_fn(|service| authentication::around(service, self.auth.clone()))
            // Adds the caller to the record, so that the access log names it however the call ends.
            .layer_fn(record::name_caller)
            // Checks the caller's scopes. A method without a rule is denied to everyone.
            .layer_fn(|service| authorization::around(service, self.auth.is_some()))
            // Inside the checks, so that refused calls do not count against the user.
            .layer_fn(|service| limits::around(service, self.limits.clone()))
            // Innermost: the layers around it count messages as they are on the wire.
            .layer_fn(|service| compression::around(service, self.compress_answers));
        service(chain.service(routes))
    }
    // ANCHOR_END: chain
}

/// The whole chain. It enforces deadlines itself, so that the access log sees the calls that they
/// end.
fn service(chain: impl Inner) -> HttpService {
    HttpService::new(chain).keeping_deadlines()
}
