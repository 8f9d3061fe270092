//! The layer that authenticates callers.
//!
//! It removes the token from the request: nothing inside this layer can log or forward it.

use futures::TryFutureExt as _;
use http::{Request, header::AUTHORIZATION};
use quartet_connection::{
    Peer, RequestBody,
    layer::{Inner, watch::answer},
};
use tonic::Status;
use tower::service_fn;

use super::{
    authorization,
    expiry::{self, Expiry},
};
use crate::auth::{Auth, Caller};

// ANCHOR: authentication
/// Wraps a service so that requests carry their [`Caller`]. Calls without valid credentials get
/// UNAUTHENTICATED, except to open methods. Without `auth`, no caller is authenticated.
pub fn around(mut service: impl Inner, auth: Option<Auth>) -> impl Inner {
    service_fn(move |mut request: Request<RequestBody>| {
        let caller = auth.as_ref().map_or(Ok(None), |auth| admit(auth, &mut request));
        let begun = caller.map(|caller| {
            let expires = caller.as_ref().and_then(|caller| caller.expires);
            let expiry = Expiry::of(request.extensions_mut(), expires);
            let below = service.call(request).map_ok(move |mut response| {
                let extensions = response.extensions_mut();
                expires.map(|expires| extensions.insert(expiry::deadline(expires)));
                caller.map(|caller| extensions.insert(caller));
                response
            });
            (below, expiry)
        });
        answer(begun)
    })
}
// ANCHOR_END: authentication

/// Replaces the token of a request by its [`Caller`]. `None` if there is none and the method is
/// open.
fn admit<B>(auth: &Auth, request: &mut Request<B>) -> Result<Option<Caller>, Status> {
    let caller = auth.authenticate(request.headers(), &Peer::of(request.extensions()));
    request.headers_mut().remove(AUTHORIZATION);
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            Ok(Some(caller))
        }
        Err(_) if authorization::is_open(auth, request.uri().path()) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}
