//! The layer that logs how each call ended, at level DEBUG: `RUST_LOG=quartet_channel::chain=debug`
//! shows it.

use std::{
    fmt::Display,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Request, Response, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use quartet_wire::code;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::request_id::X_REQUEST_ID;

/// Logs the end of each call.
#[derive(Debug, Clone)]
pub(super) struct Log<S>(pub(super) S);

impl<S> Service<Request<Body>> for Log<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Display + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let open = tracing::enabled!(tracing::Level::DEBUG).then(|| OpenCall::begin(&request));
        let answer = self.0.call(request);
        match open {
            None => answer.boxed(),
            Some(open) => watch(open, answer).boxed(),
        }
    }
}

async fn watch<E: Display>(
    mut open: OpenCall,
    answer: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    match answer.await {
        Ok(response) => {
            open.note_status(response.headers());
            Ok(response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    if let Some(trailers) = frame.trailers_ref() {
                        open.note_status(trailers);
                    }
                    frame
                }))
            }))
        }
        Err(error) => {
            open.ended = format!("failed: {error}");
            Err(error)
        }
    }
}

/// A call that has not ended yet. Dropping it logs the end.
struct OpenCall {
    path: Option<PathAndQuery>,
    request_id: Option<HeaderValue>,
    began: Instant,
    /// How it ended, as far as is known.
    ended: String,
}

impl OpenCall {
    fn begin(request: &Request<Body>) -> Self {
        Self {
            path: request.uri().path_and_query().cloned(),
            request_id: request.headers().get(X_REQUEST_ID).cloned(),
            began: Instant::now(),
            ended: "abandoned".to_owned(),
        }
    }

    fn note_status(&mut self, headers: &HeaderMap) {
        let code = headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
        if let Some(code) = code {
            self.ended = code::name(code).to_owned();
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let method = self.path.as_ref().map_or("", PathAndQuery::path);
        let request_id = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        let took = Duration::from_micros(self.began.elapsed().as_micros() as u64);
        let request_id = request_id.unwrap_or_default();
        tracing::debug!(?took, %request_id, "{method} {}", self.ended);
    }
}
