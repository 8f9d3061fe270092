//! Traces: a call and the calls that it causes, across processes.
//!
//! Every call is a span. The context travels in W3C's `traceparent` header, from a client to the
//! Post service and on to the User service. Spans are tracing's, with their own target and level,
//! so that they cost nothing unless [`Traces`] collects them and exports them by OTLP.

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

/// The span of an incoming call: a child of the caller's span.
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

/// The span of an outgoing call: a child of the current span.
pub fn calling(method: &'static str) -> Span {
    trace_span!(
        target: "spans", "call", otel.name = method, otel.kind = "client", rpc.system = "grpc",
        rpc.method = method, rpc.grpc.status_code = Empty, otel.status_code = Empty,
    )
}

/// Records in the span of an incoming call how it ended.
pub fn ended(span: &Span, code: tonic::Code) {
    record(span, code, is_servers_fault(code));
}

/// Records in the current span, that of an outgoing call, how it was answered. For a client, every
/// code but OK is an error.
pub fn answered(code: tonic::Code) {
    record(&Span::current(), code, code != tonic::Code::Ok);
}

fn record(span: &Span, code: tonic::Code, is_error: bool) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", code as i32);
    if is_error {
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
        otlp::inject(&span, metadata);
    }
}
