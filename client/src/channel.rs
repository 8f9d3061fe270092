//! What calls are made on: a channel to one server or many.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::time::Instant;
use tonic::{Status, body::Body};
use tower::Service;

use crate::{
    Error,
    backoff::Exponential,
    balance::{Balancer, Plan},
    chain::{self, Carried, Chained, TraceContext},
    connect::{ClientParameters, Settings},
    credentials::Credentials,
    dial::{Address, Dialer},
    retry::{Caller, DEFAULT_BUFFER_BYTES},
    service_config::{MethodConfig, ServiceConfig},
    target::Target,
    tls::Tls,
    transport::{BoxedIo, Dial},
};

/// A channel to the servers of a target. Clones share its connections; generated clients work over it.
///
/// ```no_run
/// # fn example() -> Result<quartet_client::Channel, Box<dyn std::error::Error>> {
/// let config = r#"{
///     "loadBalancingConfig": [{"round_robin": {}}],
///     "methodConfig": [{"name": [{}], "waitForReady": true, "timeout": "10s"}]
/// }"#;
/// let channel = quartet_client::Channel::builder("dns:///posts.example:9001".parse()?)
///     .service_config(config.parse()?)
///     .build();
/// # Ok(channel)
/// # }
/// ```
///
/// It connects with its first call, and again whenever a connection is gone. Which server takes a call, and what becomes of one
/// that fails, is up to its [`ServiceConfig`]; without one, all calls go to the first address that answers, and a call without a
/// server fails at once. Connections end when the last clone is gone, after the streams that are open on them.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Without the chain.
    calls: Calls,
    carried: Carried,
    chained: Chained<Status>,
    /// Whether nobody on the way can read it.
    is_secure: bool,
}

/// The server that took a call: an extension of every response of a [`Channel`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServedBy(pub Address);

impl Channel {
    /// A channel to `target`, to be described further.
    pub fn builder(target: Target) -> Builder {
        Builder {
            target,
            config: ServiceConfig::default(),
            keepalive: ClientParameters::default(),
            dial: None,
            is_secure: false,
            connect_backoff: Exponential::connection(),
            buffer_bytes: DEFAULT_BUFFER_BYTES,
            stream_window: None,
        }
    }

    /// The same channel for calls that must all have ended by then, however often they are retried and resumed. Each call tells the
    /// server how much time is left (`grpc-timeout`), and both sides end it with DEADLINE_EXCEEDED.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        let carried = Carried { deadline: Some(deadline), ..self.carried.clone() };
        self.carrying(carried)
    }

    /// The same channel for calls that are part of something. Without it, they are a trace of their own.
    #[must_use]
    pub fn with_trace_context(self, trace: TraceContext) -> Self {
        let carried = Carried { trace, ..self.carried.clone() };
        self.carrying(carried)
    }

    /// The same channel for calls that say who makes them.
    ///
    /// # Errors
    /// [`Error::Plaintext`] if everybody on the way could read it.
    pub fn with_credentials(self, credentials: Credentials) -> Result<Self, Error> {
        if !credentials.fit(self.is_secure) {
            return Err(Error::Plaintext);
        }
        let carried = Carried { credentials: Some(credentials), ..self.carried.clone() };
        Ok(self.carrying(carried))
    }

    fn carrying(self, carried: Carried) -> Self {
        let chained = chain::around(self.calls.clone(), carried.clone());
        Self { carried, chained, ..self }
    }

    /// Connects now rather than with the first call, and waits until every server that the policy wants to connect to has answered or
    /// failed. Without it, the first calls of round_robin go to the servers that were the first to answer.
    pub async fn settle(&self) {
        self.calls.0.balancer.settle().await;
    }

    /// What holds for the calls of a method, by its path.
    pub(crate) fn method(&self, path: &str) -> Arc<MethodConfig> {
        self.calls.0.config.method(path).clone()
    }
}

/// A channel before it is made.
#[derive(Clone)]
pub struct Builder {
    target: Target,
    config: ServiceConfig,
    keepalive: ClientParameters,
    /// `None`: TCP and unix sockets, in plaintext.
    dial: Option<Arc<dyn Dial>>,
    /// Whether nobody on the way can read it.
    is_secure: bool,
    connect_backoff: Exponential,
    buffer_bytes: usize,
    stream_window: Option<u32>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Builder {
    /// How calls are balanced, retried and limited.
    #[must_use]
    pub fn service_config(self, config: ServiceConfig) -> Self {
        Self { config, ..self }
    }

    /// How a dead connection is noticed.
    #[must_use]
    pub fn keepalive(self, keepalive: ClientParameters) -> Self {
        Self { keepalive, ..self }
    }

    /// How connections are opened, instead of by TCP and unix sockets. They count as plaintext.
    #[must_use]
    pub fn dialer(self, dial: impl Dial) -> Self {
        Self { dial: Some(Arc::new(dial)), is_secure: false, ..self }
    }

    /// How TCP is encrypted. An `https://` target needs it.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        let dial = Dialer { tls: Some(tls) };
        Self { dial: Some(Arc::new(dial)), is_secure: true, ..self }
    }

    /// The pauses between attempts to connect to one address.
    #[must_use]
    pub fn connect_backoff(self, connect_backoff: Exponential) -> Self {
        Self { connect_backoff, ..self }
    }

    /// Bytes of each request that are kept so that it can be sent again. A call that sends more cannot be retried.
    #[must_use]
    pub fn retry_buffer(self, buffer_bytes: usize) -> Self {
        Self { buffer_bytes, ..self }
    }

    /// Bytes that one stream may have under way before they are read.
    #[must_use]
    pub fn stream_window(self, bytes: u32) -> Self {
        Self { stream_window: Some(bytes), ..self }
    }

    /// The channel. It must be made within a tokio runtime, which will run its tasks.
    pub fn build(self) -> Channel {
        for ignored in &self.config.ignored {
            tracing::warn!(key = ignored, "ignored in the service config");
        }
        let mut settings = Settings::of(&self.target, self.keepalive);
        settings.stream_window = self.stream_window.unwrap_or(settings.stream_window);
        let is_secure = self.is_secure || self.target.is_local();
        let dial = self.dial.unwrap_or_else(|| match self.target.is_secure() {
            // Nobody shall believe that it is encrypted.
            true => Arc::new(async |_: Address| -> io::Result<BoxedIo> {
                Err(io::Error::other("an https:// target needs Builder::tls"))
            }),
            false => Arc::new(Dialer::default()),
        });
        let plan = Plan {
            dial,
            settings,
            backoff: self.connect_backoff,
            health: self.config.health_check.clone(),
        };
        let balancer = Balancer::start(self.target.place, self.config.balancing, plan);
        let caller = Arc::new(Caller::new(balancer, self.config, self.buffer_bytes));
        let (calls, carried) = (Calls(caller), Carried::default());
        let chained = chain::around(calls.clone(), carried.clone());
        Channel { calls, carried, chained, is_secure }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = <Chained<Status> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.chained.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.chained.call(request)
    }
}

/// What is below the chain: calls that are balanced and retried.
#[derive(Debug, Clone)]
struct Calls(Arc<Caller>);

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.clone().call(request))
    }
}
