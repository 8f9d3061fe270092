//! Which service answers a call: the one that its path names, `/package.Service/Method`.
//!
//! tonic's own routes are a router for the web: it matches patterns, keeps what they matched, and has the request, the
//! answer and both of their bodies boxed on the way. Here one name is compared.
//!
//! Not here: which method of a service is meant, which its generated code knows, and what is said of one that it does not
//! have (`chain/reasons.rs`).

use std::{convert::Infallible, fmt};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use crate::connection::RequestBody;

/// What comes of a call.
pub type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// Services, by their names. The default has none.
#[derive(Default)]
pub struct Routes(Vec<(&'static str, Box<dyn Serve>)>);

/// A service as generated code has it: always ready.
pub trait Generated:
    Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future = Answer>
{
}

impl<S> Generated for S where
    S: Service<
            Request<RequestBody>,
            Response = Response<Body>,
            Error = Infallible,
            Future = Answer,
        >
{
}

/// One of the services: a clone of it for each call.
trait Serve: Send + Sync {
    fn serve(&self, request: Request<RequestBody>) -> Answer;
}

impl<S: Generated + Clone + Send + Sync> Serve for S {
    fn serve(&self, request: Request<RequestBody>) -> Answer {
        self.clone().call(request)
    }
}

impl Routes {
    /// One service.
    pub fn new(service: impl Generated + NamedService + Clone + Send + Sync + 'static) -> Self {
        Self::default().add_service(service)
    }

    /// One more.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Generated + NamedService + Clone + Send + Sync + 'static,
    {
        self.0.push((S::NAME, Box::new(service)));
        self
    }

    /// The answer to a call; UNIMPLEMENTED, as generated code says it, if there is no such service.
    pub fn call(&self, request: Request<RequestBody>) -> Answer {
        let named = service_of(request.uri().path());
        match self.0.iter().find(|(name, _)| Some(*name) == named) {
            Some((_, service)) => service.serve(request),
            None => async { Ok(Status::unimplemented("").into_http()) }.boxed(),
        }
    }
}

/// The service that a path names.
fn service_of(path: &str) -> Option<&str> {
    Some(path.strip_prefix('/')?.split_once('/')?.0)
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_between_its_first_two_slashes() {
        for (path, service) in [
            ("/a.B/C", Some("a.B")),
            ("/a.B/", Some("a.B")),
            ("/a.B/C/D", Some("a.B")),
            ("//C", Some("")),
            ("/a.B", None),
            ("a.B/C", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(service_of(path), service, "{path:?}");
        }
    }
}
