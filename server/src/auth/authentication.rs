//! The layer that finds out who calls.
//!
//! A token decides if there is one, because somebody chose to send it with this call; else the certificate of the
//! connection. The token is taken out of the request: nothing behind this layer can log it or send it on.

use futures::TryFutureExt as _;
use http::{HeaderMap, Request, header::AUTHORIZATION};
use tonic::Status;
use tower::service_fn;

use super::{
    Auth, Caller, authorization,
    expiry::{self, Expiry},
    token::Refusal,
};
use crate::{
    chain::{Inner, watch::answer},
    connection::{Peer, RequestBody},
    error,
};

// ANCHOR: authentication
/// A service that knows its [`Caller`]s; others get UNAUTHENTICATED, but for methods that are open to all. Without `auth`
/// nobody is asked.
pub fn around(mut service: impl Inner, auth: Option<Auth>) -> impl Inner {
    service_fn(move |mut request: Request<RequestBody>| {
        let caller = auth.as_ref().map_or(Ok(None), |auth| auth.admit(&mut request));
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

impl Auth {
    /// Who calls, which everything behind this sees instead of a token. `None` for what is open to all.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<Option<Caller>, Status> {
        let caller = self.authenticate(request);
        request.headers_mut().remove(AUTHORIZATION);
        match caller {
            Ok(caller) => {
                request.extensions_mut().insert(caller.clone());
                Ok(Some(caller))
            }
            Err(_) if authorization::is_open(self, request.uri().path()) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn authenticate<B>(&self, request: &Request<B>) -> Result<Caller, Status> {
        if let Some(keys) = &self.keys
            && request.headers().contains_key(AUTHORIZATION)
        {
            let token = bearer_token(request.headers()).ok_or_else(error::token_invalid)?;
            return keys.get().verify(token).map_err(|refusal| {
                tracing::debug!(%refusal, "a token is refused");
                match refusal {
                    Refusal::Expired => error::token_expired(),
                    Refusal::Invalid(_) => error::token_invalid(),
                }
            });
        }
        Peer::of(request.extensions()).certified.ok_or_else(error::credentials_missing)
    }
}

/// The token of `authorization: Bearer TOKEN` (RFC 6750), if it is there once.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
