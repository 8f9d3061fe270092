//! What a peer may send besides requests: the rules, without I/O.
//!
//! Pings follow grpc-go's `EnforcementPolicy` (`internal/transport/http2_server.go`, `handlePing`).
//! The other frames that cost the server something and the peer nothing draw on a [`FrameBudget`].

use tokio::time::Instant;

use super::frames::{Header, kind};
use crate::{keepalive::EnforcementPolicy, settings::FrameBudget};

/// A rule that a peer broke: the debug text of its GOAWAY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation(pub &'static str);

/// Pings more often than the enforcement policy allows. grpc-go's clients know this text, and ping
/// half as often from then on.
pub const TOO_MANY_PINGS: Violation = Violation("too_many_pings");
/// Frames that open no stream, carry no data and answer nothing.
pub const TOO_MANY_FRAMES: Violation = Violation("too_many_control_frames");
/// Streams that were reset before they had an answer, or that had to be refused.
pub const TOO_MANY_RESETS: Violation = Violation("too_many_resets");
/// Larger windows than any data would need.
pub const TOO_MANY_WINDOW_UPDATES: Violation = Violation("too_many_window_updates");

/// What one peer has used of its allowance.
#[derive(Debug)]
pub struct Allowance {
    enforcement: EnforcementPolicy,
    budget: FrameBudget,
    last_ping: Option<Instant>,
    strikes: u32,
    /// Frames that are left of the budget.
    frames: u32,
    window_updates: u32,
    refilled: Instant,
}

impl Allowance {
    /// For a connection that begins now.
    pub fn new(enforcement: EnforcementPolicy, budget: FrameBudget, now: Instant) -> Self {
        Self {
            enforcement,
            budget,
            last_ping: None,
            strikes: 0,
            frames: budget.frames,
            window_updates: budget.window_updates,
            refilled: now,
        }
    }

    /// Notes a frame from the peer, which has so many streams open.
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
            kind::SETTINGS if !frame.is_ack() => {
                self.spend(self.budget.settings_cost, TOO_MANY_FRAMES)
            }
            kind::RST_STREAM => self.spend(1, TOO_MANY_RESETS),
            kind::WINDOW_UPDATE => {
                let left = self.window_updates.checked_sub(1).ok_or(TOO_MANY_WINDOW_UPDATES);
                left.map(|left| self.window_updates = left)
            }
            _ => self.spend(1, TOO_MANY_FRAMES),
        }
    }

    /// Notes a frame to the peer.
    ///
    /// # Errors
    /// The rule that the peer broke, as this answer shows: the connection must end.
    pub fn sent(&mut self, frame: Header) -> Result<(), Violation> {
        match frame.kind {
            kind::HEADERS | kind::DATA => {
                self.strikes = 0;
                self.last_ping = None;
                self.earn_frame();
                let kib = if frame.kind == kind::DATA { frame.length as u32 / 1024 } else { 0 };
                self.earn_window_updates(self.budget.window_updates_per_frame + kib);
                Ok(())
            }
            // The peer will answer it.
            kind::PING | kind::SETTINGS if !frame.is_ack() => {
                self.earn_frame();
                Ok(())
            }
            kind::RST_STREAM => self.spend(1, TOO_MANY_RESETS),
            _ => Ok(()),
        }
    }

    // ANCHOR: ping
    fn ping(&mut self, now: Instant, streams: usize) -> Result<(), Violation> {
        let least = if streams == 0 && !self.enforcement.permit_without_stream {
            self.budget.ping_without_stream
        } else {
            self.enforcement.min_time
        };
        let too_soon = self.last_ping.is_some_and(|last| now < last + least);
        self.last_ping = Some(now);
        self.strikes += u32::from(too_soon);
        if self.strikes > self.budget.ping_strikes { Err(TOO_MANY_PINGS) } else { Ok(()) }
    }
    // ANCHOR_END: ping

    fn refill(&mut self, now: Instant) {
        let seconds = now.duration_since(self.refilled).as_secs();
        if seconds > 0 {
            self.refilled = now;
            let per_second = self.budget.refill_per_second;
            let refill = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(per_second);
            self.frames = self.frames.saturating_add(refill).min(self.budget.frames);
            // Time alone gives back no more than there was at the beginning.
            let missing = self.budget.window_updates.saturating_sub(self.window_updates);
            self.window_updates += refill.min(missing);
        }
    }

    fn earn_frame(&mut self) {
        self.frames = (self.frames + 1).min(self.budget.frames);
    }

    fn earn_window_updates(&mut self, earned: u32) {
        let most = self.budget.max_window_updates;
        self.window_updates = self.window_updates.saturating_add(earned).min(most);
    }

    fn spend(&mut self, cost: u32, broken: Violation) -> Result<(), Violation> {
        self.frames = self.frames.checked_sub(cost).ok_or(broken)?;
        Ok(())
    }
}
