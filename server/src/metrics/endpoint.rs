//! Where Prometheus asks: `GET /metrics` over HTTP/1, on a listener of its own.
//!
//! Apart from the gRPC port, so that whoever may call need not see this, and whoever watches need not be let in there.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::Metrics;

/// How many may ask at once: one or two do. One more waits.
const CONNECTIONS: usize = 16;
/// How long a request may take to come, and an answer to go.
const ANSWERED: Duration = Duration::from_secs(10);
/// Bytes of a request: it says GET and little else.
const REQUEST: usize = 16 * 1024;
/// The pause after an accept that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// What OpenMetrics calls its text, which Prometheus reads.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A place where metrics can be asked for.
#[derive(Debug)]
pub struct MetricsEndpoint(TcpListener);

impl MetricsEndpoint {
    /// Listens there; port 0 picks a free one.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpListener::bind(address).await?))
    }

    /// Where it is.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until it is told to stop.
    pub async fn serve(self, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut answers = JoinSet::new();
        let answering = async {
            loop {
                while answers.len() >= CONNECTIONS {
                    // Whatever came of it: a peer that cannot ask is its own loss.
                    answers.join_next().await;
                }
                match self.0.accept().await {
                    Ok((stream, _)) => _ = answers.spawn(answer(stream, metrics.clone())),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection for metrics");
                        sleep(PAUSE).await;
                    }
                }
                while answers.try_join_next().is_some() {}
            }
        };
        stop.run_until_cancelled(answering).await;
        answers.shutdown().await;
    }
}

async fn answer(stream: TcpStream, metrics: Arc<Metrics>) {
    let respond = service_fn(move |request| {
        let response = respond(&request, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(ANSWERED).max_buf_size(REQUEST);
    let connection = http.keep_alive(false).serve_connection(TokioIo::new(stream), respond);
    if let Ok(Err(error)) = timeout(ANSWERED, connection).await {
        tracing::debug!(%error, "a connection for metrics failed");
    }
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, TEXT, metrics.text()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET it\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
