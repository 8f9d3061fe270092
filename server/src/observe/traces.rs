//! Traces: what a call led to, over several processes.
//!
//! A call is a span, and so is each call that is made for it. Their context travels in W3C's
//! `traceparent`: from a client to Post to User. Spans are tracing's, at a target and a level of
//! their own, so that they cost nothing unless they are collected: by [`Traces`], which exports
//! them by OTLP.

use http::HeaderMap;
use tonic::metadata::MetadataMap;
use tracing::{Span, field::Empty, trace_span};

#[cfg(not(feature = "otlp"))]
use no_otlp as otlp;
pub use otlp::Traces;

#[cfg(not(feature = "otlp"))]
mod no_otlp;
#[cfg(feature = "otlp")]
mod otlp;

/// The span of a call that is served, below the one that its caller names.
pub fn serving(method: &'static str, headers: &HeaderMap) -> Span {
    let span = trace_span!(
        target: "spans", "serve", otel.name = method, otel.kind = "server", rpc.system = "grpc",
        rpc.method = method, rpc.grpc.status_code = Empty, otel.status_code = Empty,
    );
    if !span.is_disabled() {
        otlp::adopt(&span, headers);
    }
    span
}

/// The span of a call that is made, below the current one.
pub fn calling(method: &'static str) -> Span {
    trace_span!(
        target: "spans", "call", otel.name = method, otel.kind = "client", rpc.system = "grpc",
        rpc.method = method,
    )
}

/// Notes in a span how its call ended.
pub fn ended(span: &Span, code: tonic::Code) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", code as i32);
    if is_servers_fault(code) {
        span.record("otel.status_code", "ERROR");
    }
}

/// OpenTelemetry's rule for the server's side of a call.
fn is_servers_fault(code: tonic::Code) -> bool {
    use tonic::Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss)
}

/// Adds the context of the current span to the metadata of a call.
pub fn inject(metadata: &mut MetadataMap) {
    let span = Span::current();
    if !span.is_disabled() {
        otlp::inject(&span, metadata);
    }
}
