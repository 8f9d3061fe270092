//! The access log: a line for every call when it has ended, at the target `access`.
//!
//! Calls about the server and those within the process are told at debug, as are single messages: a screen that shows
//! what users do shall not fill with what probes do.

use std::time::Duration;

use quartet_wire::code;
use tracing::Level;

use super::{
    call::{Call, End},
    methods,
};

/// Whether single messages are told.
pub(super) fn tells_messages() -> bool {
    tracing::enabled!(target: "access", Level::DEBUG)
}

/// A message has begun to pass.
pub(super) fn message(call: &Call, way: &str, bytes: u32) {
    let request_id = call.name.request_id();
    tracing::debug!(target: "access", bytes, %request_id, "{} {way}", call.name.method());
}

/// The line of a call, at a level that has to be known where it is written.
macro_rules! line {
    ($level:ident, $call:ident, $end:ident, $took:ident) => {
        tracing::$level!(
            target: "access",
            status = %code::name($end.code),
            reason = $end.reason.as_deref().map(tracing::field::display),
            took = ?$took,
            received = $call.received.messages(),
            received_bytes = $call.received.bytes(),
            sent = $call.sent.messages(),
            sent_bytes = $call.sent.bytes(),
            peer = $call.address.map(tracing::field::display),
            user = $call.user().map(tracing::field::display),
            request_id = %$call.name.request_id(),
            "{}",
            $call.name.method(),
        )
    };
}

/// A call has ended.
pub(super) fn ended(call: &Call, end: &End, took: Duration) {
    // Digits that say something.
    let took = Duration::from_micros(took.as_micros() as u64);
    if call.address.is_none() || methods::is_about_the_server(call.name.method()) {
        line!(debug, call, end, took);
    } else {
        line!(info, call, end, took);
    }
}
