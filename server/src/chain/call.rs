//! The layer that watches calls: who asks for what, what passes, and how each of them ends.
//!
//! Every call ends exactly once here, however it does: with a status, with a panic, or because nobody waits for it any
//! more. Then its line goes to the access log and its figures to the metrics.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, uri::PathAndQuery};
use http_body::Body;
use quartet_wire::framing::Framing;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::service_fn;
use tracing::Span;

use super::{
    Inner, access_log,
    count::Count,
    methods,
    request_id::RequestId,
    watch::{Polled, Watch, answer},
};
use crate::{
    auth::Caller,
    connection::{Lane, Peer, RequestBody},
    metrics::CallMetrics,
    traces,
};

/// Who is told of calls.
#[derive(Debug, Default)]
pub struct Observers {
    /// Their metrics, if anybody may ask for them.
    pub metrics: Option<CallMetrics>,
}

/// A service whose calls are watched.
pub fn around(mut service: impl Inner, observers: Arc<Observers>) -> impl Inner {
    service_fn(move |mut request: Request<RequestBody>| {
        let call = Arc::new(Call::begin(&request, observers.clone()));
        request.extensions_mut().insert(call.clone());
        request.body_mut().watch(call.clone());
        let span = call.span.clone();
        let open = Open::new(call);
        let below = span.in_scope(|| service.call(request));
        answer(Ok((below, open)))
    })
}

/// A service whose calls are known by their user, as soon as they have one.
pub fn name_caller(mut service: impl Inner) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        let extensions = request.extensions();
        if let (Some(call), Some(caller)) = (extensions.get::<Arc<Call>>(), Caller::of(extensions))
        {
            // There is one authentication.
            let _ = call.user.set(caller.user_id.clone());
        }
        service.call(request)
    })
}

/// What a call is called.
#[derive(Debug, Clone)]
pub struct Name {
    path: Option<PathAndQuery>,
    request_id: Option<HeaderValue>,
}

impl Name {
    /// Of a request.
    pub fn of(request: &Request<RequestBody>) -> Self {
        let id = request.extensions().get::<RequestId>();
        let request_id = id.map(|RequestId(id)| id.clone());
        Self { path: request.uri().path_and_query().cloned(), request_id }
    }

    /// The path of the request, as it came.
    pub fn method(&self) -> &str {
        self.path.as_ref().map_or("", PathAndQuery::path)
    }

    /// What else it goes by; "" without the layer that names calls.
    pub fn request_id(&self) -> &str {
        self.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default()
    }
}

/// A call: an extension of its request, for the layers below.
#[derive(Debug)]
pub struct Call {
    /// What it is called.
    pub name: Name,
    /// Where it comes from, if that can be told.
    pub address: Option<SocketAddr>,
    /// Messages of the caller.
    pub received: Count,
    /// Messages to the caller.
    pub sent: Count,
    /// Whether each of them is logged.
    log_messages: bool,
    user: OnceLock<Arc<str>>,
    /// What is done for it is done within this.
    span: Span,
    began: Instant,
    observers: Arc<Observers>,
}

impl Call {
    fn begin(request: &Request<RequestBody>, observers: Arc<Observers>) -> Self {
        let name = Name::of(request);
        let method = methods::name(name.method());
        if let Some(metrics) = &observers.metrics {
            metrics.started(method);
        }
        Self {
            name,
            address: Peer::of(request.extensions()).address,
            received: Count::default(),
            sent: Count::default(),
            log_messages: access_log::tells_messages(),
            user: OnceLock::new(),
            span: traces::serving(method, request.headers()),
            began: Instant::now(),
            observers,
        }
    }

    /// Who makes it, if that is known by now.
    pub fn user(&self) -> Option<&str> {
        self.user.get().map(|user| &**user)
    }

    /// Counts the messages of the caller that begin in these bytes.
    pub fn note_received(&self, framing: &mut Framing, data: &[u8]) {
        self.note(&self.received, "received", framing, data);
    }

    fn note_sent(&self, framing: &mut Framing, data: &[u8]) {
        self.note(&self.sent, "sent", framing, data);
    }

    /// Counts a message that went past the body. While any go there the body is not polled, so a count has one writer at a time.
    pub(crate) fn note_sent_whole(&self, message: &[u8]) {
        self.note_sent(&mut Framing::default(), message);
    }

    fn note(&self, count: &Count, way: &str, framing: &mut Framing, data: &[u8]) {
        framing.pass(data, |bytes| {
            count.add(bytes);
            if self.log_messages {
                access_log::message(self, way, bytes);
            }
        });
    }

    fn end(&self, end: &End) {
        let took = self.began.elapsed();
        access_log::ended(self, end, took);
        traces::ended(&self.span, end.code);
        if let Some(metrics) = &self.observers.metrics {
            metrics.ended(methods::name(self.name.method()), self, end.code, took);
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub struct End {
    /// The status.
    pub code: Code,
    /// Of its `ErrorInfo`.
    pub reason: Option<String>,
}

impl End {
    fn of(headers: &HeaderMap) -> Option<Self> {
        // Most calls end well, and need no more than a look.
        if headers.get(Status::GRPC_STATUS)? == "0" {
            return Some(Self { code: Code::Ok, reason: None });
        }
        let status = Status::from_header_map(headers)?;
        let reason = status.get_details_error_info().map(|info| info.reason);
        Some(Self { code: status.code(), reason })
    }

    fn without_status(code: Code) -> Self {
        Self { code, reason: None }
    }
}

/// A call that has not ended. Dropping it is its end.
struct Open {
    call: Arc<Call>,
    framing: Framing,
    end: Option<End>,
    /// Whether what is below is being polled: it is not any more when this is dropped, unless it panicked.
    polling: bool,
}

impl Open {
    fn new(call: Arc<Call>) -> Self {
        Self { call, framing: Framing::default(), end: None, polling: false }
    }

    fn note_status(&mut self, headers: &HeaderMap) {
        self.end = End::of(headers);
    }

    /// Does this for the call. Whoever is dropped meanwhile is dropped by a panic.
    fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.polling = true;
        let polled = self.call.span.in_scope(poll);
        self.polling = false;
        polled
    }
}

impl Watch for Open {
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        let Ok(response) = ready!(self.within(|| below.poll(cx)));
        self.note_status(response.headers());
        if let Some(lane) = response.extensions().get::<Lane>() {
            // What goes past the body is counted as well.
            lane.count_for(self.call.clone());
        }
        Poll::Ready(Ok(response))
    }

    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        let polled = self.within(|| body.poll_frame(cx));
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => self.call.note_sent(&mut self.framing, data),
                (_, Some(trailers)) => self.note_status(trailers),
                _ => {}
            }
        }
        polled
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or_else(|| {
            let panicked = self.polling || std::thread::panicking();
            // Nobody was told a status: the caller has gone, or its connection.
            End::without_status(if panicked { Code::Internal } else { Code::Cancelled })
        });
        self.call.end(&end);
    }
}
