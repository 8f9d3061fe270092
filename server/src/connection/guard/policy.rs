//! What a peer may send besides requests: the rules, without I/O.
//!
//! Pings follow grpc-go's `EnforcementPolicy` (`internal/transport/http2_server.go`, `handlePing`). The other frames that
//! cost the server something and the peer nothing draw on a budget, which everything that the server answers refills: an
//! honest client never comes near its end, a flood is there within a few hundred frames.

use std::time::Duration;

use tokio::time::Instant;

use super::frames::{Header, kind};
use crate::keepalive::EnforcementPolicy;

/// Pings too soon that are forgiven, as in grpc-go.
const PING_STRIKES: u32 = 2;
/// How often a client without streams may ping that must not, as in grpc-go.
const PING_WITHOUT_STREAM: Duration = Duration::from_secs(2 * 60 * 60);

/// The budget for frames that ask for work and give none.
const BUDGET: u32 = 400;
/// What comes back to it by itself, per second.
const REFILL: u32 = 100;
/// New settings may touch every stream.
const SETTINGS_COST: u32 = 10;

/// WINDOW_UPDATE frames that a client may send before it has received anything. The same come back per second as to the
/// budget.
const WINDOW_UPDATES: u32 = 200;
/// How many more for each HEADERS or DATA frame that it was sent, beside one for each KiB of data. Clients grant window
/// for every message that they wait for, also where the answer turns out to have none.
const WINDOW_UPDATES_PER_FRAME: u32 = 4;
/// How many it may save up: as many as a client needs that reads late and grants window for every frame.
const MOST_WINDOW_UPDATES: u32 = 2000;

/// A rule that a peer broke: the debug text of its GOAWAY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation(pub &'static str);

/// Pings more often than the enforcement policy allows. grpc-go's clients know this text and ping half as often.
pub const TOO_MANY_PINGS: Violation = Violation("too_many_pings");
/// Frames that open no stream, carry no data and answer nothing.
pub const TOO_MANY_FRAMES: Violation = Violation("too_many_control_frames");
/// Streams that were reset before they had an answer, or that had to be refused.
pub const TOO_MANY_RESETS: Violation = Violation("too_many_resets");
/// More room for data than any data would need.
pub const TOO_MANY_WINDOW_UPDATES: Violation = Violation("too_many_window_updates");

/// What one peer has used of what it may.
#[derive(Debug)]
pub struct Policy {
    enforcement: EnforcementPolicy,
    last_ping: Option<Instant>,
    strikes: u32,
    budget: u32,
    refilled: Instant,
    window_updates: u32,
}

impl Policy {
    /// For a connection that begins now.
    pub fn new(enforcement: EnforcementPolicy, now: Instant) -> Self {
        Self {
            enforcement,
            last_ping: None,
            strikes: 0,
            budget: BUDGET,
            refilled: now,
            window_updates: WINDOW_UPDATES,
        }
    }

    /// A frame from the peer, while it has so many streams open.
    ///
    /// # Errors
    /// The rule that it breaks: the connection must end.
    pub fn received(
        &mut self,
        frame: Header,
        now: Instant,
        streams: usize,
    ) -> Result<(), Violation> {
        self.refill(now);
        match frame.kind {
            kind::HEADERS | kind::CONTINUATION => Ok(()),
            kind::DATA if frame.length > 0 || frame.ends_stream() => Ok(()),
            kind::PING if !frame.is_ack() => self.ping(now, streams),
            kind::SETTINGS if !frame.is_ack() => self.spend(SETTINGS_COST, TOO_MANY_FRAMES),
            kind::RST_STREAM => self.spend(1, TOO_MANY_RESETS),
            kind::WINDOW_UPDATE => {
                let left = self.window_updates.checked_sub(1).ok_or(TOO_MANY_WINDOW_UPDATES);
                left.map(|left| self.window_updates = left)
            }
            _ => self.spend(1, TOO_MANY_FRAMES),
        }
    }

    /// A frame to the peer.
    ///
    /// # Errors
    /// The rule that it shows to be broken: the connection must end.
    pub fn sent(&mut self, frame: Header) -> Result<(), Violation> {
        match frame.kind {
            kind::HEADERS | kind::DATA => {
                self.strikes = 0;
                self.last_ping = None;
                self.budget = (self.budget + 1).min(BUDGET);
                let kib = if frame.kind == kind::DATA { frame.length as u32 / 1024 } else { 0 };
                self.earn_window_updates(WINDOW_UPDATES_PER_FRAME + kib);
                Ok(())
            }
            // The peer will answer it.
            kind::PING | kind::SETTINGS if !frame.is_ack() => {
                self.budget = (self.budget + 1).min(BUDGET);
                Ok(())
            }
            kind::RST_STREAM => self.spend(1, TOO_MANY_RESETS),
            _ => Ok(()),
        }
    }

    // ANCHOR: ping
    fn ping(&mut self, now: Instant, streams: usize) -> Result<(), Violation> {
        let least = if streams == 0 && !self.enforcement.permit_without_stream {
            PING_WITHOUT_STREAM
        } else {
            self.enforcement.min_time
        };
        let too_soon = self.last_ping.is_some_and(|last| now < last + least);
        self.last_ping = Some(now);
        self.strikes += u32::from(too_soon);
        if self.strikes > PING_STRIKES { Err(TOO_MANY_PINGS) } else { Ok(()) }
    }
    // ANCHOR_END: ping

    fn refill(&mut self, now: Instant) {
        let seconds = now.duration_since(self.refilled).as_secs();
        if seconds > 0 {
            self.refilled = now;
            let refill = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(REFILL);
            self.budget = self.budget.saturating_add(refill).min(BUDGET);
            // Time alone gives back no more than there was at the beginning.
            let missing = WINDOW_UPDATES.saturating_sub(self.window_updates);
            self.window_updates += refill.min(missing);
        }
    }

    fn earn_window_updates(&mut self, earned: u32) {
        self.window_updates = (self.window_updates + earned).min(MOST_WINDOW_UPDATES);
    }

    fn spend(&mut self, cost: u32, broken: Violation) -> Result<(), Violation> {
        self.budget = self.budget.checked_sub(cost).ok_or(broken)?;
        Ok(())
    }
}
