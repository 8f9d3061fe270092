//! The layer that adds a token to each call, and notes which tokens the server refuses.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tower::Service;

use crate::credentials::{Credentials, Token};

/// Adds a token to each call, if there are credentials.
#[derive(Debug, Clone)]
pub(super) struct Authorize<S> {
    inner: S,
    credentials: Option<Credentials>,
}

impl<S> Authorize<S> {
    pub(super) fn new(inner: S, credentials: Option<Credentials>) -> Self {
        Self { inner, credentials }
    }
}

impl<S> Service<Request<Body>> for Authorize<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: From<Status> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.credentials.clone() {
            None => Either::Left(self.inner.call(request)),
            Some(credentials) => {
                // This call takes the service that is ready; the clone is for the next one.
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                Either::Right(call_with(credentials, ready, request).boxed())
            }
        }
    }
}

/// Makes a call with a token.
///
/// # Errors
/// Those of the call, and the status that says why there is no token.
async fn call_with<S>(
    credentials: Credentials,
    mut inner: S,
    mut request: Request<Body>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: From<Status>,
{
    match credentials.authorize(request.headers_mut()).await {
        Ok(token) => Ok(watch(credentials, token, inner.call(request).await?)),
        Err(status) => Err(status.into()),
    }
}

/// Looks for UNAUTHENTICATED in the head and the trailers of a response. If it is there, the next
/// call uses another token.
fn watch(credentials: Credentials, token: Token, response: Response<Body>) -> Response<Body> {
    let mut watched = WatchedBody { inner: Body::empty(), credentials, token };
    watched.note(response.headers());
    response.map(|body| {
        watched.inner = body;
        Body::new(watched)
    })
}

/// The body of a response to a call with a token.
struct WatchedBody {
    inner: Body,
    credentials: Credentials,
    token: Token,
}

impl WatchedBody {
    fn note(&self, headers: &HeaderMap) {
        let code = headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
        if code == Some(Code::Unauthenticated) {
            self.credentials.refuse(&self.token);
        }
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.note(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::credentials::TokenSource;

    /// The second of two calls with a fixed token to a server that gives these responses.
    async fn second_call(respond: fn() -> Response<Body>) -> Option<Status> {
        let server = service_fn(move |_| async move { Ok::<_, Status>(respond()) });
        let credentials = Credentials::new(TokenSource::Fixed("secret".parse().unwrap()));
        let mut channel = Authorize::new(server, Some(credentials));
        let first = channel.ready().await.unwrap().call(Request::default()).await.unwrap();
        first.into_body().collect().await.unwrap();
        channel.ready().await.unwrap().call(Request::default()).await.err()
    }

    #[tokio::test]
    async fn a_token_refused_in_the_head_or_the_trailers_is_not_sent_again() {
        let in_head = || Status::unauthenticated("expired").into_http();
        let in_trailers = || {
            let trailers =
                Status::unauthenticated("expired").into_http::<Body>().into_parts().0.headers;
            let frame = Ok::<_, Status>(Frame::trailers(trailers));
            Response::new(Body::new(StreamBody::new(futures::stream::iter([frame]))))
        };
        for respond in [in_head, in_trailers as fn() -> Response<Body>] {
            let status = second_call(respond).await.unwrap();
            assert!(status.message().contains("there is no other"), "{status:?}");
        }
        assert!(second_call(|| Response::new(Body::empty())).await.is_none());
    }
}
