//! Hedging: the same call several times, beside each other, and the first good answer counts.
//!
//! Only for requests that are complete at once, which those of unary and server-streaming calls are. Attempts that are not needed any
//! more are reset. The method must be one that may be done twice: that is what the config says by naming it.

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::FuturesUnordered};
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, body::Body};

use super::attempts::{Call, Failed, Pushback};
use crate::{balance::Seen, service_config::HedgingPolicy};

pub(super) async fn run(
    call: &Call,
    policy: &HedgingPolicy,
    request: Vec<Bytes>,
) -> Result<Response<Body>, Status> {
    let attempt = |previous| call.attempt(body(&request), previous);
    let mut under_way = FuturesUnordered::from_iter([attempt(0)]);
    let mut plan = Plan::new(policy);
    loop {
        tokio::select! {
            biased;
            Some(ended) = under_way.next() => {
                let failed: Failed = match ended {
                    Ok(response) => return Ok(response),
                    Err(failed) => failed,
                };
                if plan.is_fatal(call, &failed) || (under_way.is_empty() && !plan.goes_on(call)) {
                    return *failed.result;
                }
            }
            () = sleep_until(plan.next_at), if plan.goes_on(call) => {
                under_way.push(attempt(plan.begin()));
            }
        }
    }
}

fn body(request: &[Bytes]) -> Body {
    let frames: Vec<_> =
        request.iter().cloned().map(|bytes| Ok::<_, Status>(Frame::data(bytes))).collect();
    Body::new(StreamBody::new(stream::iter(frames)))
}

/// When the next attempt begins.
struct Plan<'a> {
    policy: &'a HedgingPolicy,
    begun: u32,
    next_at: Instant,
    /// A server has asked for no more.
    stopped: bool,
    /// An attempt that no server looked at was made again.
    refused: bool,
}

impl<'a> Plan<'a> {
    fn new(policy: &'a HedgingPolicy) -> Self {
        Self {
            policy,
            begun: 1,
            next_at: Instant::now() + policy.hedging_delay,
            stopped: false,
            refused: false,
        }
    }

    fn goes_on(&self, call: &Call) -> bool {
        // Without any attempt that counts, this is the first, which needs no leave.
        let has_leave = !self.stopped && call.caller.allows_more();
        self.begun == 0 || (has_leave && self.begun < self.policy.max_attempts)
    }

    /// Returns how many were begun before.
    fn begin(&mut self) -> u32 {
        self.next_at = Instant::now() + self.policy.hedging_delay;
        self.begun += 1;
        self.begun - 1
    }

    /// Whether this failure is that of the call. If not, the next attempt begins now, or when the server says.
    fn is_fatal(&mut self, call: &Call, failed: &Failed) -> bool {
        let again = match failed.seen {
            Seen::NeverSent => true,
            Seen::Refused => !std::mem::replace(&mut self.refused, true),
            Seen::Perhaps => false,
        };
        if again {
            // It does not count as one.
            self.begun -= 1;
            self.next_at = Instant::now();
            return false;
        }
        if !self.policy.non_fatal_status_codes.contains(&failed.code) {
            return true;
        }
        // Whether another one may follow is asked for when it would begin.
        call.caller.may_go_on();
        self.next_at = Instant::now();
        match failed.pushback {
            Some(Pushback::Never) => self.stopped = true,
            Some(Pushback::After(delay)) => self.next_at += delay,
            None => {}
        }
        false
    }
}
