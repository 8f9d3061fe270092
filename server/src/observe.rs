//! What a server shows of itself: the access log, metrics and traces.

pub mod access_log;
pub mod metrics;
pub mod traces;
