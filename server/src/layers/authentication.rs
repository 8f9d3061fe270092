//! The layer that finds out who calls.
//!
//! A token is taken out of the request: nothing behind this layer can log it or send it on.

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
/// A service that knows its [`Caller`]s. Others get UNAUTHENTICATED, except for methods that are
/// open to all. Without `auth`, no caller is authenticated.
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

/// Replaces the token of a request by its [`Caller`]. `None` for what is open to all.
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
