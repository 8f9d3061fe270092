//! The endpoint for Prometheus: `GET /metrics` over HTTP/1, on a listener of its own.
//!
//! It is separate from the gRPC port, so that callers cannot read metrics, and Prometheus needs no
//! access to the services.

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
use crate::listen::{self, ListenError};

/// Connections served at once; one or two are usual. Further ones wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a request may take to arrive, and a response to be sent.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The content type of OpenMetrics text, which Prometheus reads.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers requests for metrics.
#[derive(Debug)]
pub struct MetricsEndpoint(TcpListener);

impl MetricsEndpoint {
    /// Listens on an address; port 0 picks a free one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        Ok(Self(listen::tcp(address).await?))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until `stop` is cancelled.
    pub async fn serve(self, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut answers = JoinSet::new();
        let answering = async {
            loop {
                while answers.len() >= MAX_CONNECTIONS {
                    // The result is ignored: a broken request concerns its peer alone.
                    answers.join_next().await;
                }
                match self.0.accept().await {
                    Ok((stream, _)) => _ = answers.spawn(answer(stream, metrics.clone())),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection for metrics");
                        sleep(ACCEPT_PAUSE).await;
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
    http.timer(TokioTimer::new()).header_read_timeout(TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let connection = http.keep_alive(false).serve_connection(TokioIo::new(stream), respond);
    if let Ok(Err(error)) = timeout(TIMEOUT, connection).await {
        tracing::debug!(%error, "a connection for metrics failed");
    }
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, OPENMETRICS, metrics.text()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET it\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
