//! Observability: the access log, metrics and traces.

pub mod access_log;
pub mod metrics;
pub mod traces;
