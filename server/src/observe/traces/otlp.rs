//! Spans of OpenTelemetry: their export by OTLP, and their context in `traceparent`.

use std::{error::Error, time::Duration};

use http::{HeaderMap, HeaderName};
use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, Tracer},
};
use quartet_wire::host_port::{InvalidHostPort, has_userinfo};
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tracing::{Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::{
    Layer,
    filter::{Filtered, Targets},
    registry::LookupSpan,
};

/// How long the last spans may take to be sent when a server ends.
const FLUSH: Duration = Duration::from_secs(3);

/// Exports spans.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Exports to a collector that speaks OTLP over gRPC, such as `http://127.0.0.1:4317`. Spans
    /// are sent in batches by a thread of its own; while the collector cannot be reached they are
    /// dropped, which the log says.
    ///
    /// Call it within a tokio runtime, which must run until [`finish`](Self::finish).
    ///
    /// # Errors
    /// `url` is not a URL, or has a user or a password, which are not repeated.
    pub fn export_to(url: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        if has_userinfo(url) {
            return Err(InvalidHostPort::Userinfo.into());
        }
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
        // What is of interest inside this process only is left out.
        let layer = layer.with_location(false).with_threads(false).with_target(false);
        layer.with_tracked_inactivity(false).with_filter(spans)
    }

    /// Sends the last spans, for three seconds at most.
    pub async fn finish(self) {
        // It blocks, and what it waits for may need the calling thread.
        let flush = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH));
        match flush.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces may be lost"),
            // A panic, which the hook has reported.
            Err(_) => {}
        }
    }
}

/// Makes the span that these headers name the parent of `span`.
pub(super) fn adopt(span: &Span, headers: &HeaderMap) {
    // It fails only if no layer collects spans.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
}

/// Adds the context of a span to the metadata of a call.
pub(super) fn inject(span: &Span, metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut Metadata(metadata));
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
