//! Traces: a call and the calls that it causes, across processes.
//!
//! Every call is a span. The context travels in W3C's `traceparent` header, from a client to the
//! Post service and on to the User service. Spans are tracing's, with their own target and level,
//! so that they cost nothing unless [`Traces`] collects them and exports them by OTLP.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, Tracer},
};
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tracing::{Span, Subscriber, field::Empty, level_filters::LevelFilter, trace_span};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::{
    Layer,
    filter::{Filtered, Targets},
    registry::LookupSpan,
};

/// How long the export of the last spans may take when a server ends.
const FLUSH: Duration = Duration::from_secs(3);

/// Exports spans.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Exports to a collector that speaks OTLP over gRPC, such as `http://127.0.0.1:4317`. A
    /// separate thread sends spans in batches. While the collector cannot be reached, spans are
    /// dropped, and a warning is logged.
    ///
    /// Must be called within a tokio runtime that runs until [`finish`](Self::finish).
    ///
    /// # Errors
    /// `url` is not a URL.
    pub fn export_to(url: &str) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(url).build()?;
        let resource = Resource::builder().with_service_name("quartet").build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        Ok(Self(provider.with_resource(resource).build()))
    }

    /// The layer that collects the spans of this process.
    pub fn layer<S>(&self) -> Filtered<OpenTelemetryLayer<S, Tracer>, Targets, S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let spans = Targets::new().with_target("spans", LevelFilter::TRACE);
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer("quartet"));
        layer.with_location(false).with_threads(false).with_filter(spans)
    }

    /// Sends the last spans, for three seconds at most.
    pub async fn finish(self) {
        // It blocks, and the exporter may need the calling thread.
        let flush = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH));
        match flush.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces may be lost"),
            // A panic, which the hook has reported.
            Err(_) => {}
        }
    }
}

/// The span of an incoming call: a child of the caller's span.
pub fn serving(method: &'static str, headers: &HeaderMap) -> Span {
    let span = trace_span!(
        target: "spans", "serve", otel.name = method, otel.kind = "server", rpc.system = "grpc",
        rpc.method = method, rpc.grpc.status_code = Empty, otel.status_code = Empty,
    );
    if !span.is_disabled() {
        // Fails only if no layer collects spans.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    }
    span
}

/// The span of an outgoing call: a child of the current span.
pub fn calling(method: &'static str) -> Span {
    trace_span!(
        target: "spans", "call", otel.name = method, otel.kind = "client", rpc.system = "grpc",
        rpc.method = method,
    )
}

/// Records in a span how its call ended.
pub fn ended(span: &Span, code: tonic::Code) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", code as i32);
    if is_servers_fault(code) {
        span.record("otel.status_code", "ERROR");
    }
}

/// OpenTelemetry's rule for server spans.
fn is_servers_fault(code: tonic::Code) -> bool {
    use tonic::Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss)
}

/// Adds the context of the current span to the metadata of a call.
pub fn inject(metadata: &mut MetadataMap) {
    let span = Span::current();
    if !span.is_disabled() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut Metadata(metadata));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Metadata<'a>(&'a mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (AsciiMetadataKey::from_bytes(key.as_bytes()), value.parse())
        {
            self.0.insert(key, value);
        }
    }
}
