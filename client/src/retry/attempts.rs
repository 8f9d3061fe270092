//! A call, from its request to the head of its response.

use std::{fmt::Display, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use quartet_wire::{code, timeout};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, body::Body};

use super::{
    buffer::Buffered,
    hedge,
    response::{self, code_of, deadline_exceeded},
    throttle::Throttle,
};
use crate::{
    EXPLAIN,
    balance::{Balancer, Failure, Seen},
    channel::ServedBy,
    service_config::{MethodConfig, Policy, RetryPolicy, ServiceConfig},
};

/// How many attempts were made before this one, for the server to know.
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";
/// When the server wants the next attempt, in its trailers; -1 for never.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Makes calls over a balancer, as a service config says.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) balancer: Balancer,
    pub(crate) config: ServiceConfig,
    pub(crate) buffer_bytes: usize,
    throttle: Option<Arc<Throttle>>,
}

/// What all attempts of a call have in common.
pub(super) struct Call {
    pub(super) caller: Arc<Caller>,
    head: Request<()>,
    pub(super) body: Buffered,
    deadline: Option<Instant>,
    pub(super) config: Arc<MethodConfig>,
}

/// An attempt that came to nothing.
pub(super) struct Failed {
    pub(super) code: Code,
    pub(super) seen: Seen,
    pub(super) pushback: Option<Pushback>,
    /// What the caller gets if this was the last.
    pub(super) result: Box<Result<Response<Body>, Status>>,
}

/// What a server says about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushback {
    After(Duration),
    Never,
}

impl Caller {
    pub(crate) fn new(balancer: Balancer, config: ServiceConfig, buffer_bytes: usize) -> Self {
        let throttle = config.retry_throttling.map(|config| Arc::new(Throttle::new(config)));
        Self { balancer, config, buffer_bytes, throttle }
    }

    /// Makes a call that must be over by the request's own timeout, and by that of its method.
    pub(crate) async fn call(
        self: Arc<Self>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let config = self.config.method(request.uri().path()).clone();
        let now = Instant::now();
        // A text that is no timeout is left to the server to refuse.
        let own = request.headers().get(timeout::GRPC_TIMEOUT);
        let own = own.and_then(|value| timeout::parse(value.to_str().ok()?));
        let timeouts = [own, config.timeout];
        let timeouts =
            timeouts.into_iter().flatten().filter_map(|timeout| now.checked_add(timeout));
        let deadline = timeouts.min();
        let (head, body) = request.into_parts();
        let body = Buffered::new(body, self.buffer_bytes, config.max_request_message_bytes);
        let head = Request::from_parts(head, ());
        Call { caller: self, head, body, deadline, config }.run().await
    }

    /// Counts a failure that another attempt might mend. Returns whether there may be one.
    pub(super) fn may_go_on(&self) -> bool {
        self.throttle.as_ref().is_none_or(|throttle| throttle.failure())
    }

    /// Whether attempts beyond the first are allowed for now.
    pub(super) fn allows_more(&self) -> bool {
        self.throttle.as_ref().is_none_or(|throttle| throttle.allows())
    }
}

impl Call {
    async fn run(self) -> Result<Response<Body>, Status> {
        match &self.config.policy {
            Policy::Hedge(policy) => match self.body.collected() {
                Some(request) => hedge::run(&self, policy, request).await,
                None => self.one_after_another(None).await,
            },
            Policy::Retry(policy) => self.one_after_another(Some(policy)).await,
            Policy::Once => self.one_after_another(None).await,
        }
    }

    async fn one_after_another(
        &self,
        policy: Option<&RetryPolicy>,
    ) -> Result<Response<Body>, Status> {
        let mut retries = policy.map(Retries::new);
        let mut refused = false;
        let mut previous = 0;
        loop {
            let failed = match self.attempt(self.body.attempt(), previous).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            if let Some(status) = self.body.failed() {
                return Err(status);
            }
            if self.body.is_committed() {
                return *failed.result;
            }
            let again = match failed.seen {
                Seen::NeverSent => true,
                Seen::Refused => !std::mem::replace(&mut refused, true),
                Seen::Perhaps => false,
            };
            if again {
                tracing::debug!(target: EXPLAIN, "no server has looked at it: again, at once");
                continue;
            }
            let delay =
                retries.as_mut().and_then(|retries| retries.next_delay(&failed, &self.caller));
            let Some(delay) = delay else { return *failed.result };
            previous += 1;
            tracing::debug!(target: EXPLAIN, "the next attempt in {delay:.0?}");
            self.in_time(sleep(delay)).await?;
        }
    }

    /// One attempt, with this body.
    pub(super) async fn attempt(
        &self,
        body: Body,
        previous: u32,
    ) -> Result<Response<Body>, Failed> {
        let mut last_trouble = None;
        let picking = self
            .caller
            .balancer
            .pick(self.config.wait_for_ready, |trouble| last_trouble = Some(trouble));
        let picked = self.in_time(picking).await.unwrap_or_else(|_| Err(never_ready(last_trouble)));
        let mut connection = picked.map_err(|status| {
            self.explain(previous, "no server", code::name(status.code()));
            Failed::before_sending(status)
        })?;
        let server = connection.address().clone();
        let sent = self.in_time(connection.send(self.request(body, previous))).await;
        let outcome = match sent {
            Ok(Ok(response)) => self.judge(response),
            Ok(Err(failure)) => Err(Failed::without_response(failure)),
            Err(status) => Err(Failed::without_response(Failure { status, seen: Seen::Perhaps })),
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

    /// A response has begun, and the call is committed to it, unless its head is also its end and tells of a failure.
    fn judge(&self, response: Response<Incoming>) -> Result<Response<Body>, Failed> {
        let failed = match code_of(response.headers()) {
            Some(Code::Ok) => None,
            None => code_of_http(response.status()),
            code => code,
        };
        let pushback = pushback(response.headers());
        let (deadline, throttle) = (self.deadline, self.caller.throttle.clone());
        let limit = self.config.max_response_message_bytes;
        let response = response.map(|body| response::body(body, deadline, limit, throttle));
        match failed {
            Some(code) => {
                Err(Failed { code, seen: Seen::Perhaps, pushback, result: Box::new(Ok(response)) })
            }
            None => {
                self.body.commit();
                Ok(response)
            }
        }
    }

    /// # Errors
    /// DEADLINE_EXCEEDED.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Status> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, work).await.map_err(|_| deadline_exceeded()),
            None => Ok(work.await),
        }
    }
}

/// As grpc-go says it: that the time is up, and what took it.
fn never_ready(trouble: Option<Status>) -> Status {
    let trouble = trouble.map(|trouble| format!(": {}", trouble.message())).unwrap_or_default();
    Status::deadline_exceeded(format!("the deadline passed while waiting for a server{trouble}"))
}

impl Failed {
    /// Never sent, but not for the reasons that are mended by trying again at once.
    fn before_sending(status: Status) -> Self {
        Self::without_response(Failure { status, seen: Seen::Perhaps })
    }

    fn without_response(Failure { status, seen }: Failure) -> Self {
        Self { code: status.code(), seen, pushback: None, result: Box::new(Err(status)) }
    }
}

/// What gRPC [makes of an HTTP status](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md) without a
/// `grpc-status`: an answer of something that stands before the server.
pub(crate) fn code_of_http(status: StatusCode) -> Option<Code> {
    match status {
        StatusCode::OK => None,
        StatusCode::BAD_REQUEST => Some(Code::Internal),
        StatusCode::UNAUTHORIZED => Some(Code::Unauthenticated),
        StatusCode::FORBIDDEN => Some(Code::PermissionDenied),
        StatusCode::NOT_FOUND => Some(Code::Unimplemented),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Some(Code::Unavailable),
        _ => Some(Code::Unknown),
    }
}

fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    let value = headers.get(PUSHBACK)?;
    let millis = value.to_str().ok().and_then(|text| text.parse().ok());
    Some(millis.map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis))))
}

/// What is left of a retry policy in a call.
struct Retries<'a> {
    policy: &'a RetryPolicy,
    backoff: crate::backoff::Exponential,
    attempts_left: u32,
}

impl<'a> Retries<'a> {
    fn new(policy: &'a RetryPolicy) -> Self {
        Self { policy, backoff: policy.backoff, attempts_left: policy.max_attempts - 1 }
    }

    /// The delay before the next attempt, if there is one. The order of the questions is grpc-go's: it decides what the
    /// throttle counts.
    fn next_delay(&mut self, failed: &Failed, caller: &Caller) -> Option<Duration> {
        let named = match failed.pushback {
            Some(Pushback::Never) => {
                caller.may_go_on();
                return None;
            }
            Some(Pushback::After(delay)) => Some(delay),
            None => None,
        };
        if !self.policy.retryable_status_codes.contains(&failed.code) || !caller.may_go_on() {
            return None;
        }
        self.attempts_left = self.attempts_left.checked_sub(1)?;
        if named.is_some() {
            self.backoff.reset();
        }
        Some(named.unwrap_or_else(|| self.backoff.next_delay()))
    }
}
