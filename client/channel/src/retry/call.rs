//! A call, and single attempts of it.

use std::{fmt::Display, mem, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response};
use quartet_wire::{code, timeout};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, body::Body};

use super::{
    buffer::ReplayableBody,
    channel_core::ChannelCore,
    message_size::MessageSize,
    response::{Deadline, ResponseBody, deadline_exceeded, own_status},
    single_message::SingleMessage,
};
use crate::{
    address::ServedBy,
    balance::SendError,
    cause::Cause,
    explain::EXPLAIN,
    http2::Delivery,
    response::{GrpcBody, code_of},
    service_config::{CallPolicy, MethodConfig},
};

/// How many attempts preceded this one.
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";
/// When the server accepts the next attempt, among the trailers; -1 for never.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A call, as all its attempts share it.
pub(super) struct OutgoingCall {
    pub(super) core: Arc<ChannelCore>,
    head: Request<()>,
    pub(super) body: ReplayableBody,
    deadline: Option<Instant>,
    pub(super) config: Arc<MethodConfig>,
}

/// An attempt without a response, or with one that is only an error status.
pub(super) struct FailedAttempt {
    pub(super) code: Code,
    delivery: Delivery,
    pub(super) pushback: Option<Pushback>,
    /// The result of the call, if this attempt was the last.
    pub(super) result: Box<Result<Response<Body>, Status>>,
}

/// What a server says about the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushback {
    After(Duration),
    Never,
}

impl OutgoingCall {
    /// A call that ends by the earlier of the request's own timeout and that of its method.
    pub(super) fn new(core: Arc<ChannelCore>, request: Request<Body>) -> Self {
        let config = core.config.method(request.uri().path()).clone();
        let now = Instant::now();
        // An invalid timeout is sent unchanged, for the server to refuse.
        let own = request.headers().get(timeout::GRPC_TIMEOUT);
        let own = own.and_then(|value| timeout::parse(value.to_str().ok()?));
        let timeouts = [own, config.timeout].into_iter().flatten();
        let deadline = timeouts.filter_map(|timeout| now.checked_add(timeout)).min();
        let (head, body) = request.into_parts();
        let body = ReplayableBody::new(body, core.buffer_bytes, config.max_request_message_bytes);
        Self { core, head: Request::from_parts(head, ()), body, deadline, config }
    }

    /// Makes one attempt with this body, after `previous` others.
    pub(super) async fn attempt(
        &self,
        body: Body,
        previous: u32,
    ) -> Result<Response<Body>, FailedAttempt> {
        let mut last_failure = None;
        let picking = self
            .core
            .balancer
            .pick(self.config.wait_for_ready, |status| last_failure = Some(status));
        let picked =
            self.before_deadline(picking).await.unwrap_or_else(|_| Err(never_ready(last_failure)));
        let connection = picked.map_err(|status| {
            self.explain(previous, "no server", code::name(status.code()));
            FailedAttempt::without_connection(status)
        })?;
        let server = connection.address().clone();
        let sending = connection.send(self.request(body, previous));
        let outcome = match self.before_deadline(sending).await {
            Ok(Ok(response)) => self.judge(response),
            Ok(Err(SendError { status, delivery })) => {
                let status = own_status(status, self.deadline);
                let delivery = self.believed(delivery);
                Err(FailedAttempt::without_response(SendError { status, delivery }))
            }
            Err(status) => {
                let delivery = Delivery::Possible;
                Err(FailedAttempt::without_response(SendError { status, delivery }))
            }
        };
        let code =
            outcome.as_ref().err().map_or("the response begins", |failed| code::name(failed.code));
        self.explain(previous, &server, code);
        let mut response = outcome?;
        response.extensions_mut().insert(ServedBy(server));
        Ok(response)
    }

    fn explain(&self, previous: u32, server: impl Display, outcome: &str) {
        let (attempt, path) = (previous + 1, self.head.uri().path());
        let method = path.rsplit('/').next().unwrap_or(path);
        tracing::debug!(target: EXPLAIN, "{method}, attempt {attempt}, {server}: {outcome}");
    }

    fn request(&self, body: Body, previous: u32) -> Request<Body> {
        let mut request = self.head.clone().map(|()| body);
        let headers = request.headers_mut();
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            headers.insert(timeout::GRPC_TIMEOUT, timeout::format(left));
        }
        if previous > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(previous));
        }
        request
    }

    /// Commits the call to a response that has begun. A response whose head is also its end, and
    /// reports an error, is a failed attempt.
    fn judge(&self, response: Response<GrpcBody>) -> Result<Response<Body>, FailedAttempt> {
        // A head has a status only if it ends the response.
        let code = code_of(response.headers()).filter(|&code| code != Code::Ok);
        let pushback = pushback(response.headers());
        let single = self.single_message();
        // The status OK in a head ends a response without messages.
        if let Some(Err(cause)) = single.as_ref().map(|one| one.check_end(response.headers())) {
            let (status, delivery) = (cause.into(), Delivery::Possible);
            return Err(FailedAttempt::without_response(SendError { status, delivery }));
        }
        let response = response.map(|incoming| {
            Body::new(ResponseBody {
                incoming,
                deadline: self.deadline.map(Deadline::new),
                size: self.config.max_response_message_bytes.map(MessageSize::new),
                single,
                throttle: self.core.throttle.clone(),
            })
        });
        let Some(code) = code else {
            self.body.commit();
            return Ok(response);
        };
        let result = Box::new(Ok(response));
        Err(FailedAttempt { code, delivery: Delivery::Possible, pushback, result })
    }

    /// A refusal of a stream is believed if no harm is done where it is wrong, by a proxy: part of
    /// the request is missing, so that no application can have acted on it, or the method or the
    /// config says that it may run twice.
    fn believed(&self, delivery: Delivery) -> Delivery {
        let may_run_twice = || match &self.config.policy {
            CallPolicy::Once => self.core.idempotent.contains(self.head.uri().path()),
            CallPolicy::Retry(policy) => {
                policy.retryable_status_codes.contains(&Code::Unavailable)
                    || self.core.idempotent.contains(self.head.uri().path())
            }
            CallPolicy::Hedge(_) => true,
        };
        match delivery {
            Delivery::Refused if self.body.is_whole() && !may_run_twice() => Delivery::Possible,
            _ => delivery,
        }
    }

    /// Counts the messages of the response, if the method answers with one.
    fn single_message(&self) -> Option<SingleMessage> {
        let is_single = self.core.single_responses.contains(self.head.uri().path());
        is_single.then(SingleMessage::default)
    }

    /// Runs work until the deadline of the call.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED.
    pub(super) async fn before_deadline<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Status> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, work).await.map_err(|_| deadline_exceeded()),
            None => Ok(work.await),
        }
    }
}

/// The status of a call whose deadline passed before a server was ready: as in grpc-go, with the
/// reason why none was.
fn never_ready(failure: Option<Status>) -> Status {
    let failure = failure.map(|failure| format!(": {}", failure.message())).unwrap_or_default();
    Cause::Deadline(format!(" while waiting for a server{failure}")).into()
}

impl FailedAttempt {
    /// Nothing was sent, but another attempt would not find a connection either.
    fn without_connection(status: Status) -> Self {
        Self::without_response(SendError { status, delivery: Delivery::Possible })
    }

    fn without_response(SendError { status, delivery }: SendError) -> Self {
        Self { code: status.code(), delivery, pushback: None, result: Box::new(Err(status)) }
    }

    /// Whether the attempt may be repeated without a policy, because no server application has seen
    /// it (gRFC A6, transparent retries): without limit if it was never sent, and once per call if
    /// a server says so. `refused` keeps whether that one was used.
    pub(super) fn may_be_repeated(&self, refused: &mut bool) -> bool {
        match self.delivery {
            Delivery::NeverSent => true,
            Delivery::Excluded | Delivery::Refused => !mem::replace(refused, true),
            Delivery::Possible => false,
        }
    }
}

fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    let value = headers.get(PUSHBACK)?;
    let millis = value.to_str().ok().and_then(|text| text.parse().ok());
    Some(millis.map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis))))
}
