//! The layer that records calls: method, caller, messages, and how each call ends.
//!
//! Every call ends here exactly once: with a status, with a panic, or because the caller
//! disconnected. Then the access log gets its line and the metrics its figures.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use quartet_connection::{
    Lane, Meter, RequestBody,
    layer::{
        Inner,
        watch::{Polled, Watch, answer},
    },
};
use quartet_wire::framing::Framing;
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::service_fn;
use tracing::Span;

use crate::{
    auth::Caller,
    call::{Call, CallEnd},
    methods,
    observe::{
        access_log,
        metrics::{CallFigures, CallMetrics},
        traces,
    },
};

/// Where calls are recorded besides the access log and traces.
#[derive(Debug, Default)]
pub struct Observers {
    /// Metrics, if an endpoint serves them.
    pub metrics: Option<CallMetrics>,
}

/// Wraps a service so that its calls are recorded.
pub fn around(mut service: impl Inner, observers: Arc<Observers>) -> impl Inner {
    service_fn(move |mut request: Request<RequestBody>| {
        let recording = Arc::new(Recording::begin(&request, observers.clone()));
        request.extensions_mut().insert(recording.clone());
        request.body_mut().count_for(recording.clone());
        let span = recording.span.clone();
        let open = OpenCall::new(recording);
        let below = span.in_scope(|| service.call(request));
        answer(Ok((below, open)))
    })
}

/// Wraps a service so that the records of its calls name the caller. It belongs inside
/// authentication.
pub fn name_caller(mut service: impl Inner) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        let extensions = request.extensions();
        if let (Some(recording), Some(caller)) =
            (extensions.get::<Arc<Recording>>(), Caller::of(extensions))
        {
            // Cannot be set already: there is one authentication layer.
            let _ = recording.call.user.set(caller.user_id.clone());
        }
        service.call(request)
    })
}

/// The record of a call: an extension of its request.
#[derive(Debug)]
struct Recording {
    call: Call,
    /// Whether each of its messages is logged.
    logs_messages: bool,
    /// The span of the call.
    span: Span,
    began: Instant,
    observers: Arc<Observers>,
}

impl Recording {
    fn begin(request: &Request<RequestBody>, observers: Arc<Observers>) -> Self {
        let call = Call::of(request);
        let method = methods::name(call.name.method());
        if let Some(metrics) = &observers.metrics {
            metrics.started(method);
        }
        Self {
            call,
            logs_messages: access_log::logs_messages(),
            span: traces::serving(method, request.headers()),
            began: Instant::now(),
            observers,
        }
    }

    fn log_message(&self, way: &str, bytes: u32) {
        if self.logs_messages {
            access_log::message(&self.call, way, bytes);
        }
    }

    fn end(&self, end: &CallEnd) {
        let Self { call, span, began, observers, .. } = self;
        let took = began.elapsed();
        access_log::ended(call, end, took);
        traces::ended(span, end.code);
        if let Some(metrics) = &observers.metrics {
            let figures = CallFigures {
                code: end.code,
                took,
                sent_bytes: call.sent.bytes(),
                received_bytes: call.received.bytes(),
            };
            metrics.ended(methods::name(call.name.method()), &figures);
        }
    }
}

/// While a lane sends messages, the body is not polled: each count has one writer at a time.
impl Meter for Recording {
    fn received(&self, bytes: u32) {
        self.call.received.add(bytes);
        self.log_message("received", bytes);
    }

    fn sent(&self, bytes: u32) {
        self.call.sent.add(bytes);
        self.log_message("sent", bytes);
    }
}

/// A call that has not ended. Dropping this ends it.
struct OpenCall {
    recording: Arc<Recording>,
    /// Splits the response's body into messages, to count them.
    framing: Framing,
    end: Option<CallEnd>,
    /// Whether the inner layers are being polled. If this is dropped meanwhile, they panicked.
    polling: bool,
}

impl OpenCall {
    fn new(recording: Arc<Recording>) -> Self {
        Self { recording, framing: Framing::default(), end: None, polling: false }
    }

    fn note_status(&mut self, headers: &HeaderMap) {
        self.end = CallEnd::from_headers(headers);
    }

    /// Polls the inner layers within the span of the call.
    fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.polling = true;
        let polled = self.recording.span.in_scope(poll);
        self.polling = false;
        polled
    }
}

impl Watch for OpenCall {
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        let Ok(response) = ready!(self.within(|| below.poll(cx)));
        self.note_status(response.headers());
        if self.end.is_none() && !response.status().is_success() {
            // Not a gRPC response: a client of gRPC makes UNKNOWN of it.
            self.end = Some(CallEnd::without_reason(Code::Unknown));
        }
        if let Some(lane) = response.extensions().get::<Lane>() {
            lane.count_for(self.recording.clone());
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
                (Some(data), _) => self.framing.pass(data, |bytes| self.recording.sent(bytes)),
                (_, Some(trailers)) => self.note_status(trailers),
                _ => {}
            }
        }
        polled
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or_else(|| {
            let panicked = self.polling || std::thread::panicking();
            // Without a status: the caller cancelled, or its connection broke.
            CallEnd::without_reason(if panicked { Code::Internal } else { Code::Cancelled })
        });
        self.recording.end(&end);
    }
}
