//! The server's metrics, as text for Prometheus.
//!
//! Metrics of calls have gRPC's OpenTelemetry names, as Prometheus writes them
//! (`grpc.server.call.duration` is `grpc_server_call_duration_seconds`), and gRFC A66's buckets.
//! Labels have a fixed set of values: the methods of this suite, [`OTHER`](crate::methods::OTHER)
//! for any other path, and gRPC's status codes.
//!
//! `docs/reference/observability.md` lists all metrics. Not here: counting, which the
//! [`record`](crate::layers::record) layer does, and only if there is an endpoint.

use std::{fmt, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use quartet_connection::ConnectionGauges;
use quartet_log::Dispatchers;
use quartet_wire::code;
use tonic::Code;

use log::LogInstruments;

pub mod endpoint;
pub mod log;

/// gRFC A66's buckets for latencies, in seconds.
const SECONDS: [f64; 41] = [
    0.0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005,
    0.006, 0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16,
    0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];
/// gRFC A66's buckets for sizes, in bytes.
const BYTES: [f64; 14] = [
    0.0,
    1024.0,
    2048.0,
    4096.0,
    16384.0,
    65536.0,
    262144.0,
    1048576.0,
    4194304.0,
    16777216.0,
    67108864.0,
    268435456.0,
    1073741824.0,
    4294967296.0,
];

/// All metrics of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// The metrics of calls, of the log if there is one, and of open connections, streams and
    /// cursors.
    pub fn new(
        calls: &CallMetrics,
        log: &LogInstruments,
        gauges: ConnectionGauges,
        dispatchers: Option<Dispatchers>,
    ) -> Self {
        let mut registry = Registry::default();
        calls.register(&mut registry);
        if dispatchers.is_some() {
            log.register(&mut registry);
        }
        registry.register_collector(Box::new(OpenNow { gauges, dispatchers }));
        Self { registry }
    }

    /// The present values, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Began {
    grpc_method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    grpc_method: &'static str,
    grpc_status: &'static str,
}

type Histograms = Family<Ended, Histogram, fn() -> Histogram>;

/// The figures of a call that has ended.
#[derive(Debug, Clone, Copy)]
pub struct CallFigures {
    /// The code of its status.
    pub code: Code,
    /// From the head of the request to the end of the response.
    pub took: Duration,
    /// Bytes of the messages to the caller, compressed and without prefixes.
    pub sent_bytes: u64,
    /// Bytes of the messages from the caller, likewise.
    pub received_bytes: u64,
}

/// Metrics of calls. Clones share them.
#[derive(Debug, Clone)]
pub struct CallMetrics {
    started: Family<Began, Counter>,
    duration: Histograms,
    sent: Histograms,
    received: Histograms,
}

impl Default for CallMetrics {
    fn default() -> Self {
        let of_bytes = || Family::new_with_constructor((|| Histogram::new(BYTES)) as fn() -> _);
        Self {
            started: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            sent: of_bytes(),
            received: of_bytes(),
        }
    }
}

impl CallMetrics {
    fn register(&self, registry: &mut Registry) {
        let calls = registry.sub_registry_with_prefix("grpc_server_call");
        calls.register("started", "Calls that began", self.started.clone());
        let help = "From the head of a request to the end of its response";
        calls.register_with_unit("duration", help, Unit::Seconds, self.duration.clone());
        let (sent, received) =
            ("sent_total_compressed_message_size", "rcvd_total_compressed_message_size");
        let help = "Bytes of all messages that a call sent";
        calls.register_with_unit(sent, help, Unit::Bytes, self.sent.clone());
        let help = "Bytes of all messages that a call received";
        calls.register_with_unit(received, help, Unit::Bytes, self.received.clone());
    }

    /// Counts a call that begins.
    pub fn started(&self, grpc_method: &'static str) {
        self.started.get_or_create(&Began { grpc_method }).inc();
    }

    /// Counts a call that has ended.
    pub fn ended(&self, grpc_method: &'static str, figures: &CallFigures) {
        let labels = Ended { grpc_method, grpc_status: code::name(figures.code) };
        self.duration.get_or_create(&labels).observe(figures.took.as_secs_f64());
        self.sent.get_or_create(&labels).observe(figures.sent_bytes as f64);
        self.received.get_or_create(&labels).observe(figures.received_bytes as f64);
    }
}

/// Gauges of open connections, streams and cursors, read when the metrics are.
#[derive(Debug)]
struct OpenNow {
    gauges: ConnectionGauges,
    dispatchers: Option<Dispatchers>,
}

impl Collector for OpenNow {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help, count: u64| {
            let gauge = ConstGauge::new(count);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        let ConnectionGauges { connections, streams } = &self.gauges;
        gauge("quartet_connections", "Connections that are open", connections.get() as u64)?;
        gauge("quartet_streams", "Streams that are open", streams.get() as u64)?;
        let Some(dispatchers) = &self.dispatchers else { return Ok(()) };
        let cursors = dispatchers.cursors().get() as u64;
        gauge("quartet_cursors", "Readers of the log: lists and feeds", cursors)?;
        let help = "Posts by which the furthest reader is behind, of those it has to look at";
        gauge("quartet_cursor_lag_posts", help, dispatchers.lag())
    }
}
