//! Services that tonic generated, held to gRPC's rules where tonic's code has others.
//!
//! Both rules are those of gRPC's
//! [statuscodes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md): a method that takes
//! one message answers UNIMPLEMENTED to none and to two, where tonic says INTERNAL and takes the
//! first; a message that is too large is RESOURCE_EXHAUSTED, where tonic says OUT_OF_RANGE.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body as HttpBody;
use tonic::{Code, Status, server::NamedService};
use tower::Service;

use crate::{
    layer::{
        Inner,
        watch::{Answering, Polled, Watch, Watched, answer},
    },
    request::RequestBody,
};

/// How tonic 0.14 begins to say that a message is over the limit of its service.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// A service that tonic generated. [`Routes`](crate::Routes) take it in place of the service:
///
/// ```text
/// Routes::new(Generated::new(MyServer::new(handlers)).single_requests(["/my.Service/Unary"]))
/// ```
#[derive(Debug, Clone)]
pub struct Generated<S> {
    service: S,
    single_requests: Arc<[String]>,
}

impl<S> Generated<S> {
    /// This service, none of whose methods is known to take one message.
    pub fn new(service: S) -> Self {
        Self { service, single_requests: Arc::default() }
    }

    /// Names the methods that take one message, the unary and server-streaming ones, by the paths
    /// of their calls: `/package.Service/Method`.
    #[must_use]
    pub fn single_requests<P: Into<String>>(self, paths: impl IntoIterator<Item = P>) -> Self {
        Self { single_requests: paths.into_iter().map(Into::into).collect(), ..self }
    }
}

impl<S: NamedService> NamedService for Generated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Inner> Service<Request<RequestBody>> for Generated<S> {
    type Response = Response<Watched<S::Body, Corrected>>;
    type Error = Infallible;
    type Future = Answering<S::Future, Corrected>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let path = request.uri().path();
        if self.single_requests.iter().any(|single| single == path) {
            request.body_mut().expect_one_message();
        }
        answer(Ok((self.service.call(request), Corrected)))
    }
}

/// Replaces tonic's status of a message that is too large, in a head and in trailers. A handler's
/// own OUT_OF_RANGE stays.
#[derive(Debug)]
pub struct Corrected;

impl Watch for Corrected {
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        let Ok(mut response) = ready!(below.poll(cx));
        correct(response.headers_mut());
        Poll::Ready(Ok(response))
    }

    fn poll_frame(
        &mut self,
        body: Pin<&mut impl HttpBody<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        let mut polled = body.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            correct(trailers);
        }
        polled
    }
}

fn correct(headers: &mut HeaderMap) {
    let is_too_large = Status::from_header_map(headers).is_some_and(|status| {
        status.code() == Code::OutOfRange && status.message().starts_with(TOO_LARGE)
    });
    if is_too_large {
        let code = (Code::ResourceExhausted as i32).into();
        headers.insert(Status::GRPC_STATUS, code);
    }
}
