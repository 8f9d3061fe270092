//! Reflection, `grpc.reflection.v1` and `v1alpha`: tools learn the methods and messages here, and
//! need no `.proto` files.
//!
//! tonic-reflection implements it. It does not learn of a shutdown, so the request stream is ended
//! then, as if the tool had half-closed. That ends the call with OK, and the task that
//! tonic-reflection spawned for it.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::StreamExt as _;
use http::{Request, Response};
use http_body_util::{BodyStream, StreamBody};
use quartet::methods::grpc_health_v1;
use quartet_connection::{RequestBody, Routes, Stop};
use tonic::{body::Body, server::NamedService};
use tonic_reflection::server::{Builder, Error};
use tower::Service;

/// Adds both versions of reflection for these services.
pub(crate) fn describe(routes: Routes, services: &[&'static str]) -> Result<Routes, Error> {
    let described = || {
        let described = Builder::configure()
            .register_encoded_file_descriptor_set(quartet::FILE_DESCRIPTOR_SET)
            .with_service_name(grpc_health_v1::SERVICE);
        services.iter().copied().fold(described, Builder::with_service_name)
    };
    let (v1, v1alpha) = (described().build_v1()?, described().build_v1alpha()?);
    Ok(routes.add_service(UntilStop(v1)).add_service(UntilStop(v1alpha)))
}

/// Wraps a service so that its request streams end when the connection [stops](Stop).
#[derive(Clone)]
struct UntilStop<S>(S);

impl<S: NamedService> NamedService for UntilStop<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<RequestBody>> for UntilStop<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> S::Future {
        let stop = Stop::of(request.extensions());
        self.0.call(request.map(|body| {
            let stopped = async move { stop.due().await };
            Body::new(StreamBody::new(BodyStream::new(body).take_until(Box::pin(stopped))))
        }))
    }
}
