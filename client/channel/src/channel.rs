//! The channel and its builder.

use std::{
    collections::HashSet,
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, uri::Scheme};
use quartet_wire::compression::Encoding;
use tokio::time::Instant;
use tonic::{Status, body::Body};
use tower::Service;

use crate::{
    address::Address,
    backoff::Exponential,
    balance::{Balancer, SubchannelConfig},
    chain::{self, CallContext, Layered, TraceContext},
    credentials::Credentials,
    dial::Dialer,
    error::SetupError,
    http2::Settings,
    keepalive::ClientParameters,
    retry::{ChannelCore, DEFAULT_BUFFER_BYTES, RetryService},
    service_config::{Balancing, MethodConfig, ServiceConfig},
    target::{Encryption, Target},
    tls::{Tls, TlsSettings},
    transport::{BoxedIo, Dial},
};

/// A channel to a [`Target`] with default settings, which connects with its first call.
///
/// Call it within a tokio runtime.
///
/// # Errors
/// [`SetupError::Target`] and [`SetupError::Tls`].
pub fn connect(target: &str, tls: &TlsSettings) -> Result<Channel, SetupError> {
    Ok(Channel::builder(target.parse()?).tls(tls)?.build())
}

/// A channel to the servers of a [`Target`]. Clones share its connections. Generated clients work
/// over it as they do over tonic's own.
///
/// It connects with its first call, and again after a connection is lost. Its [`ServiceConfig`]
/// decides which server gets a call, and whether a call that failed is retried. Without one, all
/// calls go to the first address that accepts, and a call fails at once if there is none.
///
/// Connections close when the last clone is dropped and their open streams have ended.
#[derive(Debug, Clone)]
pub struct Channel {
    /// The service without the layers.
    inner: RetryService,
    context: CallContext,
    layered: Layered<Status>,
    /// Whether only the two ends can read what is sent: TLS, or a unix socket.
    is_private: bool,
}

impl Channel {
    /// Describes a channel to `target`.
    pub fn builder(target: Target) -> Builder {
        Builder {
            target,
            config: ServiceConfig::default(),
            keepalive: ClientParameters::default(),
            transport: Transport::Plaintext,
            connect_backoff: Exponential::connection(),
            buffer_bytes: DEFAULT_BUFFER_BYTES,
            stream_window: None,
            single_responses: HashSet::new(),
            idempotent: HashSet::new(),
            compression: None,
        }
    }

    /// The same channel, whose calls must end by `deadline`, retries included. Each call sends the
    /// time that is left (`grpc-timeout`), and both sides end it with DEADLINE_EXCEEDED.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        let context = CallContext { deadline: Some(deadline), ..self.context.clone() };
        self.with_context(context)
    }

    /// The same channel, whose calls belong to `trace`. By default, the calls of a channel are a
    /// trace of their own.
    #[must_use]
    pub fn with_trace_context(self, trace: TraceContext) -> Self {
        let context = CallContext { trace, ..self.context.clone() };
        self.with_context(context)
    }

    /// The same channel, whose calls carry `credentials`.
    ///
    /// # Errors
    /// [`SetupError::Plaintext`] if the channel uses neither TLS nor a unix socket, unless the
    /// credentials allow it.
    pub fn with_credentials(self, credentials: Credentials) -> Result<Self, SetupError> {
        if !credentials.may_be_sent(self.is_private) {
            return Err(SetupError::Plaintext);
        }
        let context = CallContext { credentials: Some(credentials), ..self.context.clone() };
        Ok(self.with_context(context))
    }

    fn with_context(self, context: CallContext) -> Self {
        let layered = chain::around(self.inner.clone(), context.clone());
        Self { context, layered, ..self }
    }

    /// Connects now, and waits until every server that the balancing policy connects to has
    /// accepted or failed once. Without it, the first calls of round_robin go to the servers that
    /// accept first. Cancel-safe.
    pub async fn settle(&self) {
        self.inner.0.balancer.settle().await;
    }

    /// The config of a method, by the path of its calls: `/package.Service/Method`.
    pub fn method(&self, path: &str) -> Arc<MethodConfig> {
        self.inner.0.config.method(path).clone()
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = <Layered<Status> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.layered.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.layered.call(request)
    }
}

/// Describes a [`Channel`] before it is built.
#[derive(Clone)]
pub struct Builder {
    target: Target,
    config: ServiceConfig,
    keepalive: ClientParameters,
    transport: Transport,
    connect_backoff: Exponential,
    buffer_bytes: usize,
    stream_window: Option<u32>,
    single_responses: HashSet<String>,
    idempotent: HashSet<String>,
    compression: Option<Encoding>,
}

/// How connections are opened.
#[derive(Clone)]
enum Transport {
    /// TCP without TLS, and unix sockets.
    Plaintext,
    Tls(Tls),
    Custom(Arc<dyn Dial>),
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets how calls are balanced, retried, hedged and limited.
    #[must_use]
    pub fn service_config(self, config: ServiceConfig) -> Self {
        Self { config, ..self }
    }

    /// Sets how dead connections are detected.
    #[must_use]
    pub fn keepalive(self, keepalive: ClientParameters) -> Self {
        Self { keepalive, ..self }
    }

    /// Opens connections with `dialer`, instead of over TCP and unix sockets. They count as
    /// plaintext.
    #[must_use]
    pub fn dialer(self, dialer: impl Dial) -> Self {
        Self { transport: Transport::Custom(Arc::new(dialer)), ..self }
    }

    /// Sets how TLS is used. An `https://` target needs a call of this, if only with the default
    /// settings. Targets in gRPC's notation (`dns:`, `ipv4:`, `ipv6:`, `file:` and `HOST:PORT`) do
    /// not say whether connections are encrypted: they are if any setting differs from the default.
    ///
    /// # Errors
    /// [`SetupError::Tls`] if a file or name cannot be used, or the target is `http://` or a unix
    /// socket, which are never encrypted.
    pub fn tls(self, settings: &TlsSettings) -> Result<Self, SetupError> {
        match self.target.encryption() {
            Encryption::Never if settings.is_any_set() => {
                Err(SetupError::Tls("TLS settings need an https:// target".to_owned()))
            }
            Encryption::Never => Ok(self),
            Encryption::IfSet if !settings.is_any_set() => Ok(self),
            Encryption::Always | Encryption::IfSet => {
                let tls = Tls::new(self.target.authority().host(), settings);
                Ok(Self { transport: Transport::Tls(tls.map_err(SetupError::Tls)?), ..self })
            }
        }
    }

    /// Sets the delays between attempts to connect to one address. Default: gRPC's, from 1 s to
    /// 120 s.
    #[must_use]
    pub fn connect_backoff(self, connect_backoff: Exponential) -> Self {
        Self { connect_backoff, ..self }
    }

    /// Sets how many bytes of each request are kept for another attempt. A call whose request is
    /// larger is not retried once that much was sent. Default: 256 KiB.
    #[must_use]
    pub fn retry_buffer(self, bytes: usize) -> Self {
        Self { buffer_bytes: bytes, ..self }
    }

    /// Sets the flow-control window of each stream, in bytes: how much the server may send before
    /// it is read. Default: 8 MiB.
    #[must_use]
    pub fn stream_window(self, bytes: u32) -> Self {
        Self { stream_window: Some(bytes), ..self }
    }

    /// Names the methods that answer with one message, the unary and client-streaming ones, by the
    /// paths of their calls: `/package.Service/Method`. A response with another number of messages
    /// is then UNIMPLEMENTED, as gRPC's status codes say. Without it, tonic takes the first message
    /// and ignores the others.
    #[must_use]
    pub fn single_responses<P: Into<String>>(self, paths: impl IntoIterator<Item = P>) -> Self {
        Self { single_responses: paths.into_iter().map(Into::into).collect(), ..self }
    }

    /// Names the methods that may run twice without harm, those with an `idempotency_level`, by the
    /// paths of their calls. A complete request whose stream is reset with REFUSED_STREAM is sent
    /// once more without a policy only to these: the word of a server can be relied on (RFC 9113,
    /// 8.7), that of a proxy cannot.
    #[must_use]
    pub fn idempotent<P: Into<String>>(self, paths: impl IntoIterator<Item = P>) -> Self {
        Self { idempotent: paths.into_iter().map(Into::into).collect(), ..self }
    }

    /// Compresses requests, and reads answers that are compressed alike. A server that does not
    /// read the encoding answers UNIMPLEMENTED. A message that would not become smaller is sent as
    /// it is. Limits of a service config hold for messages as they are on the wire; decompressed,
    /// one of a response has at most 4 MiB.
    #[must_use]
    pub fn compression(self, encoding: Encoding) -> Self {
        Self { compression: Some(encoding), ..self }
    }

    /// Builds the channel. Call it within a tokio runtime, which runs the channel's tasks.
    pub fn build(self) -> Channel {
        for key in &self.config.ignored {
            tracing::warn!(key, "unknown key in the service config");
        }
        let scheme = self.transport.scheme(&self.target);
        let mut settings = Settings::new(&self.target, scheme, self.keepalive);
        settings.stream_window = self.stream_window.unwrap_or(settings.stream_window);
        let config = SubchannelConfig {
            dialer: self.transport.dialer(&self.target),
            settings,
            backoff: self.connect_backoff,
            health: match self.config.balancing {
                Balancing::RoundRobin => self.config.health_check.clone(),
                // As in grpc-go, and in gRFC A17.
                Balancing::PickFirst { .. } => None,
            },
        };
        let source = self.target.source().clone();
        let balancer = Balancer::start(source, self.config.balancing, config);
        let core = ChannelCore::new(
            balancer,
            self.config,
            self.buffer_bytes,
            self.single_responses,
            self.idempotent,
        );
        let inner = RetryService(Arc::new(core));
        let context = CallContext { compression: self.compression, ..CallContext::default() };
        let layered = chain::around(inner.clone(), context.clone());
        Channel { inner, context, layered, is_private: self.transport.is_private(&self.target) }
    }
}

impl Transport {
    fn dialer(&self, target: &Target) -> Arc<dyn Dial> {
        match self {
            Self::Custom(dialer) => dialer.clone(),
            Self::Tls(tls) => Arc::new(Dialer { tls: Some(tls.clone()) }),
            // Never fall back to plaintext where encryption was asked for.
            Self::Plaintext if target.is_https() => Arc::new(no_tls),
            Self::Plaintext => Arc::new(Dialer::default()),
        }
    }

    /// The `:scheme` of requests: that of their connections, by gRPC's PROTOCOL-HTTP2.
    fn scheme(&self, target: &Target) -> Scheme {
        match self {
            Self::Tls(_) => Scheme::HTTPS,
            Self::Plaintext | Self::Custom(_) if target.is_https() => Scheme::HTTPS,
            Self::Plaintext | Self::Custom(_) => Scheme::HTTP,
        }
    }

    fn is_private(&self, target: &Target) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Plaintext | Self::Custom(_) => target.is_local(),
        }
    }
}

async fn no_tls(_: Address) -> io::Result<BoxedIo> {
    Err(io::Error::other("an https:// target needs Builder::tls"))
}
