//! The layer that limits the calls of each user: calls per second, and open calls.
//!
//! Unauthenticated callers count by their address, or over a unix socket by the user of their
//! process. A call is open until its response's body ends or is dropped, so a stream counts for its
//! whole life. Health checks are not limited, because the server's health must not depend on its
//! users; nor are reflection and calls within the process.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{NotUntil, Quota, RateLimiter, clock::Clock, state::keyed::HashMapStateStore};
use http::{Extensions, Request};
use quartet::reason;
use quartet_connection::{
    Peer, PeerAddress, RequestBody,
    admission::{Admission, Permit},
    layer::{
        Inner,
        watch::{Hold, answer},
    },
};
use tonic::{Code, Status};
use tower::service_fn;

use crate::{auth::Caller, error, methods};

/// Interval, in calls, at which users without recent calls are forgotten.
const FORGET: usize = 4096;

/// Limits of a user's calls. The default sets none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls that a user may begin per second, also as a burst.
    pub max_calls_per_second: Option<NonZeroU32>,
    /// Calls that a user may have open at once.
    pub max_open_calls: Option<NonZeroU32>,
}

/// Wraps a service so that calls beyond the user's limits get RESOURCE_EXHAUSTED.
// ANCHOR: limits
pub fn around(mut service: impl Inner, limits: Limits) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        answer(limits.admit(&request).map(|permit| (service.call(request), Hold(permit))))
    })
}
// ANCHOR_END: limits

/// The limits, and how much of them each user has used. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    rate: Option<Arc<Rate>>,
    open: Option<Arc<Admission<User>>>,
}

/// The user that a call counts against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum User {
    Named(Arc<str>),
    At(IpAddr),
    /// Over a unix socket: the user of the process, if known.
    Local(Option<u32>),
}

impl User {
    /// `None` for a call that is not limited.
    fn of(path: &str, request: &Extensions) -> Option<Self> {
        if methods::is_about_the_server(path) {
            return None;
        }
        if let Some(caller) = Caller::of(request) {
            return Some(User::Named(caller.user_id.clone()));
        }
        match Peer::of(request).address {
            PeerAddress::Ip(address) => Some(User::At(address.ip())),
            PeerAddress::Unix { uid } => Some(User::Local(uid)),
            PeerAddress::Memory => None,
        }
    }
}

impl Limits {
    /// Limits of which nothing is used yet.
    pub fn new(limits: CallLimits) -> Self {
        let open = |most: NonZeroU32| Admission::new(usize::MAX, most.get() as usize);
        Self {
            rate: limits.max_calls_per_second.map(|most| Arc::new(Rate::new(most))),
            open: limits.max_open_calls.map(open),
        }
    }

    /// A permit for the call to hold while it is open.
    fn admit(&self, request: &Request<RequestBody>) -> Result<Option<Permit<User>>, Status> {
        if self.rate.is_none() && self.open.is_none() {
            return Ok(None);
        }
        let user = User::of(request.uri().path(), request.extensions());
        let Some(user) = user else { return Ok(None) };
        if let Some(rate) = &self.rate {
            rate.take(&user).map_err(too_fast)?;
        }
        let Some(open) = &self.open else { return Ok(None) };
        open.admit(Some(user)).map(Some).ok_or_else(too_many)
    }
}

fn too_fast(wait: Duration) -> Status {
    let message = "this user begins too many calls";
    error::retryable_after(wait, Code::ResourceExhausted, reason::RATE_LIMITED, message)
}

fn too_many() -> Status {
    let message = "this user has too many calls open";
    error::retryable(Code::ResourceExhausted, reason::TOO_MANY_CALLS, message)
}

/// The rate limit of each user.
#[derive(Debug)]
struct Rate {
    limiter: RateLimiter<User, HashMapStateStore<User>, RuntimeClock>,
    calls: AtomicUsize,
}

impl Rate {
    fn new(most: NonZeroU32) -> Self {
        let limiter = RateLimiter::hashmap_with_clock(Quota::per_second(most), RuntimeClock);
        Self { limiter, calls: AtomicUsize::new(0) }
    }

    /// Counts a call, or returns how long to wait before the next.
    fn take(&self, user: &User) -> Result<(), Duration> {
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET) {
            self.limiter.retain_recent();
        }
        let wait = |until: NotUntil<Instant>| until.wait_time_from(RuntimeClock.now());
        self.limiter.check_key(user).map_err(wait)
    }
}

/// The runtime's clock, which tests and simulations can stop.
#[derive(Debug, Clone, Copy)]
struct RuntimeClock;

impl Clock for RuntimeClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_limited_by_user_id_else_by_address_or_local_user() {
        let path = "/post.v1.PostService/ListPosts";
        let mut call = Extensions::new();
        assert_eq!(User::of(path, &call), None, "a call within the process");
        let address = PeerAddress::Unix { uid: Some(7) };
        call.insert(Peer { address, certificate_names: None });
        assert_eq!(User::of(path, &call), Some(User::Local(Some(7))));
        let address = PeerAddress::Ip(([10, 0, 0, 1], 4711).into());
        call.insert(Peer { address, certificate_names: None });
        assert_eq!(User::of(path, &call), Some(User::At([10, 0, 0, 1].into())));
        call.insert(Caller { user_id: "ann".into(), scopes: Default::default(), expires: None });
        assert_eq!(User::of(path, &call), Some(User::Named("ann".into())));
        assert_eq!(User::of("/grpc.health.v1.Health/Check", &call), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_limit_of_one_user_does_not_affect_others() {
        let rate = Rate::new(NonZeroU32::new(10).unwrap());
        let [ann, bob] = ["ann", "bob"].map(|name| User::Named(name.into()));
        for _ in 0..10 {
            rate.take(&ann).unwrap();
        }
        let wait = rate.take(&ann).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(100), "{wait:?}");
        rate.take(&bob).unwrap();
        tokio::time::advance(wait).await;
        rate.take(&ann).unwrap();
        assert!(rate.take(&ann).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_without_recent_calls_is_forgotten() {
        let rate = Rate::new(NonZeroU32::new(10).unwrap());
        for n in 0..FORGET {
            rate.take(&User::Named(n.to_string().into())).unwrap();
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        rate.take(&User::Named("ann".into())).unwrap();
        assert_eq!(rate.limiter.len(), 1);
    }
}
