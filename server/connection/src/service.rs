//! What answers the requests of a connection.

use std::{
    any::Any,
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _};

use crate::request::RequestBody;

/// The future of a response.
pub type ResponseFuture = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// An error of any kind.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The service of a listener: [`Routes`](crate::Routes), with or without layers around them. Clones
/// share it.
#[derive(Clone)]
pub struct HttpService {
    answer: Arc<dyn Fn(Request<RequestBody>) -> ResponseFuture + Send + Sync>,
    keeps_deadlines: bool,
}

impl HttpService {
    /// A service of which each call gets a clone, once that is ready. An error becomes the status
    /// that [`Status::from_error`] finds in it.
    ///
    /// [`serve`](crate::serve) ends its calls at their deadlines.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let answer = move |request| answer(service.clone(), request);
        Self { answer: Arc::new(answer), keeps_deadlines: false }
    }

    /// Says that the service ends its calls at their deadlines by a layer of
    /// [`deadline`](crate::deadline) that it has, so that [`serve`](crate::serve) adds none. A
    /// layer outside of that one sees how such calls end.
    #[must_use]
    pub fn keeping_deadlines(self) -> Self {
        Self { keeps_deadlines: true, ..self }
    }

    /// Whether [`serve`](crate::serve) need not add deadlines.
    pub(crate) fn keeps_deadlines(&self) -> bool {
        self.keeps_deadlines
    }

    /// The response to a request.
    pub fn call(&self, request: Request<RequestBody>) -> ResponseFuture {
        (self.answer)(request)
    }
}

impl Service<Request<RequestBody>> for HttpService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    /// Always ready: each call waits for its own clone of the service.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> ResponseFuture {
        HttpService::call(self, request)
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("keeps_deadlines", &self.keeps_deadlines)
            .finish_non_exhaustive()
    }
}

/// The answer of a service, called as soon as it is ready.
pub(crate) fn answer<S, B>(mut service: S, request: Request<RequestBody>) -> ResponseFuture
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    // Nearly every service is ready at once, and then its future need not be wrapped.
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => boxed(service.call(request)),
        Poll::Ready(Err(error)) => {
            let response = refused(error);
            Box::pin(async move { Ok(response) })
        }
        Poll::Pending => boxed(service.oneshot(request)),
    }
}

/// The same future if it is boxed already, as those of generated code are.
fn boxed<F, B, E>(future: F) -> ResponseFuture
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    E: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut future = Some(future);
    let boxed = (&mut future as &mut dyn Any).downcast_mut::<Option<ResponseFuture>>();
    if let Some(answer) = boxed.and_then(Option::take) {
        return answer;
    }
    let future = future.expect("invariant: it is taken only to be returned");
    future.map(|result| Ok(result.map_or_else(refused, |response| response.map(Body::new)))).boxed()
}

fn refused(error: impl Into<BoxError>) -> Response<Body> {
    Status::from_error(error.into()).into_http()
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[test]
    fn a_future_that_is_boxed_already_is_not_boxed_again() {
        let future: ResponseFuture = ready(Ok(Response::new(Body::empty()))).boxed();
        let at = std::ptr::from_ref(&*future).addr();
        assert_eq!(std::ptr::from_ref(&*boxed(future)).addr(), at);
    }

    #[tokio::test]
    async fn an_error_of_a_layer_becomes_a_status() {
        let Ok(response) = boxed(ready(Err::<Response<Body>, BoxError>("it failed".into()))).await;
        assert_eq!(response.headers()[Status::GRPC_STATUS], "2");
    }
}
