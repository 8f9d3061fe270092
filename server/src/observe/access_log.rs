//! The access log: a line for every call when it ends, at the target `access`.
//!
//! Health checks, reflection, calls within the process and single messages are logged at DEBUG, so
//! that probes do not drown the calls of users.

use std::time::Duration;

use quartet_connection::PeerAddress;
use quartet_wire::code;
use tracing::{Level, field};

use crate::{
    call::{Call, CallEnd},
    methods,
};

/// Whether single messages are logged.
pub fn logs_messages() -> bool {
    tracing::enabled!(target: "access", Level::DEBUG)
}

/// Logs a message as soon as its length is known: `way` is "received" or "sent".
pub fn message(call: &Call, way: &str, bytes: u32) {
    let request_id = call.name.request_id();
    tracing::debug!(target: "access", bytes, %request_id, "{} {way}", call.name.method());
}

/// The line of a call. A macro, because tracing needs the level at compile time.
macro_rules! line {
    ($level:ident, $call:ident, $end:ident, $took:ident) => {
        tracing::$level!(
            target: "access",
            status = %code::name($end.code),
            reason = $end.reason.as_deref().map(field::display),
            took = ?$took,
            received = $call.received.messages(),
            received_bytes = $call.received.bytes(),
            sent = $call.sent.messages(),
            sent_bytes = $call.sent.bytes(),
            peer = ($call.address != PeerAddress::Memory).then(|| field::display($call.address)),
            user = $call.user.get().map(field::display),
            request_id = %$call.name.request_id(),
            "{}",
            $call.name.method(),
        )
    };
}

/// Logs a call that has ended.
pub fn ended(call: &Call, end: &CallEnd, took: Duration) {
    // Round to microseconds.
    let took = Duration::from_micros(took.as_micros() as u64);
    if call.address == PeerAddress::Memory || methods::is_about_the_server(call.name.method()) {
        line!(debug, call, end, took);
    } else {
        line!(info, call, end, took);
    }
}
