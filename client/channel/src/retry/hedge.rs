//! Hedging: several attempts of a call at the same time, of which the first success counts.
//!
//! Only for requests that are complete at once, as those of unary and server-streaming calls are.
//! Attempts that are no longer needed are reset. The method must tolerate being executed twice;
//! naming it in the service config asserts that.

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::FuturesUnordered};
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, body::Body};

use super::call::{FailedAttempt, OutgoingCall, Pushback};
use crate::service_config::HedgingPolicy;

/// Makes a call with this request.
pub(super) async fn run(
    call: &OutgoingCall,
    policy: &HedgingPolicy,
    request: Vec<Bytes>,
) -> Result<Response<Body>, Status> {
    let attempt = |previous| call.attempt(body(&request), previous);
    let mut under_way = FuturesUnordered::from_iter([attempt(0)]);
    let mut schedule = Schedule::new(policy);
    loop {
        tokio::select! {
            biased;
            Some(ended) = under_way.next() => {
                let failed: FailedAttempt = match ended {
                    Ok(response) => return Ok(response),
                    Err(failed) => failed,
                };
                let is_fatal = schedule.is_fatal(call, &failed);
                if is_fatal || (under_way.is_empty() && !schedule.may_start(call)) {
                    return *failed.result;
                }
            }
            () = sleep_until(schedule.next_at), if schedule.may_start(call) => {
                under_way.push(attempt(schedule.start()));
            }
        }
    }
}

fn body(request: &[Bytes]) -> Body {
    let frames: Vec<_> =
        request.iter().cloned().map(|bytes| Ok::<_, Status>(Frame::data(bytes))).collect();
    Body::new(StreamBody::new(stream::iter(frames)))
}

/// When the next attempt starts.
struct Schedule<'a> {
    policy: &'a HedgingPolicy,
    /// Attempts that count, including the first.
    started: u32,
    next_at: Instant,
    /// A server asked for no further attempts.
    stopped: bool,
    /// The one repetition of a refused attempt was used.
    refused: bool,
}

impl<'a> Schedule<'a> {
    fn new(policy: &'a HedgingPolicy) -> Self {
        Self {
            policy,
            started: 1,
            next_at: Instant::now() + policy.hedging_delay,
            stopped: false,
            refused: false,
        }
    }

    fn may_start(&self, call: &OutgoingCall) -> bool {
        // The first attempt that counts needs no permission.
        let is_permitted = !self.stopped && call.core.allows_retries();
        self.started == 0 || (is_permitted && self.started < self.policy.max_attempts)
    }

    /// Counts another attempt. Returns how many preceded it.
    fn start(&mut self) -> u32 {
        self.next_at = Instant::now() + self.policy.hedging_delay;
        self.started += 1;
        self.started - 1
    }

    /// Whether this failure ends the call. If not, the next attempt starts now, or when the server
    /// asks for it.
    fn is_fatal(&mut self, call: &OutgoingCall, failed: &FailedAttempt) -> bool {
        if failed.may_be_repeated(&mut self.refused) {
            // It does not count as an attempt.
            self.started -= 1;
            self.next_at = Instant::now();
            return false;
        }
        if !self.policy.non_fatal_status_codes.contains(&failed.code) {
            return true;
        }
        // Whether another attempt is allowed is decided when it would start.
        call.core.record_failure();
        self.next_at = Instant::now();
        match failed.pushback {
            Some(Pushback::Never) => self.stopped = true,
            Some(Pushback::After(delay)) => self.next_at += delay,
            None => {}
        }
        false
    }
}
