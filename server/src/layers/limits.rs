//! The layer that limits the calls of a user: how many it may begin per second, and have open.
//!
//! A caller that is not authenticated counts by its address, or over a unix socket by the user of
//! its process. A call is open until its response's body ends or is dropped, so a stream counts for
//! as long as it lives. Health checks and reflection are not limited, or the server's health would
//! depend on its users; nor are calls within the process.

use std::{collections::HashMap, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use http::{Extensions, Request};
use parking_lot::Mutex;
use quartet::reason;
use quartet_connection::{
    Address, Peer, RequestBody,
    admission::{Admission, Permit},
    layer::{
        Inner,
        watch::{Hold, answer},
    },
};
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::service_fn;

use crate::{auth::Caller, error, methods};

/// After so many calls, users that have not called for a while are forgotten.
const FORGET: usize = 4096;

/// How many calls a user may make. The default is any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls that a user may begin each second; as many may come at once.
    pub max_calls_per_second: Option<NonZeroU32>,
    /// Calls that a user may have open at once.
    pub max_open_calls: Option<NonZeroU32>,
}

/// A service that refuses calls beyond the limits of their user, with RESOURCE_EXHAUSTED.
// ANCHOR: limits
pub fn around(mut service: impl Inner, limits: Limits) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        answer(limits.admit(&request).map(|permit| (service.call(request), Hold(permit))))
    })
}
// ANCHOR_END: limits

/// The limits and what each user has used of them. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    rate: Option<Arc<Rate>>,
    open: Option<Arc<Admission<User>>>,
}

/// Who a call counts against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum User {
    Named(Arc<str>),
    At(IpAddr),
    /// Over a unix socket: the user of the process, if the system says.
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
            Address::Ip(address) => Some(User::At(address.ip())),
            Address::Unix { uid } => Some(User::Local(uid)),
            Address::Memory => None,
        }
    }
}

impl Limits {
    /// These limits, of which nothing is used yet.
    pub fn new(limits: CallLimits) -> Self {
        let open = |most: NonZeroU32| Admission::new(usize::MAX, most.get() as usize);
        Self {
            rate: limits.max_calls_per_second.map(|most| Arc::new(Rate::new(most))),
            open: limits.max_open_calls.map(open),
        }
    }

    /// A permit that the call keeps for as long as it is open.
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

/// How fast each user may call: the generic cell rate algorithm. A user may call when its last
/// calls, at one per interval, were due less than a second from now.
#[derive(Debug)]
struct Rate {
    /// The time between two calls at the limit.
    interval: Duration,
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    /// When the next call of each user is due, if it calls at the limit.
    due: HashMap<User, Instant>,
    calls: usize,
}

impl Rate {
    /// How much a user may be ahead of its due calls: a second's calls may come at once.
    const BURST: Duration = Duration::from_secs(1);

    fn new(most: NonZeroU32) -> Self {
        Self { interval: Duration::from_secs(1) / most.get(), users: Mutex::default() }
    }

    /// Counts a call, or says how long to wait for the next.
    fn take(&self, user: &User) -> Result<(), Duration> {
        let now = Instant::now();
        let mut users = self.users.lock();
        let Users { due, calls } = &mut *users;
        if calls.is_multiple_of(FORGET) {
            due.retain(|_, due| *due > now);
        }
        *calls += 1;
        let due = due.entry(user.clone()).or_insert(now);
        let next = now.max(*due) + self.interval;
        let wait = next.saturating_duration_since(now + Self::BURST);
        if !wait.is_zero() {
            return Err(wait);
        }
        *due = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_counts_by_its_name_or_else_by_its_address_or_local_user() {
        let path = "/post.v1.PostService/ListPosts";
        let mut call = Extensions::new();
        assert_eq!(User::of(path, &call), None, "a call within the process");
        let address = Address::Unix { uid: Some(7) };
        call.insert(Peer { address, certificate_names: None });
        assert_eq!(User::of(path, &call), Some(User::Local(Some(7))));
        let address = Address::Ip(([10, 0, 0, 1], 4711).into());
        call.insert(Peer { address, certificate_names: None });
        assert_eq!(User::of(path, &call), Some(User::At([10, 0, 0, 1].into())));
        call.insert(Caller { user_id: "ann".into(), scopes: Default::default(), expires: None });
        assert_eq!(User::of(path, &call), Some(User::Named("ann".into())));
        assert_eq!(User::of("/grpc.health.v1.Health/Check", &call), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_may_begin_so_many_calls_a_second_and_others_are_not_affected() {
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
    async fn a_user_that_has_not_called_for_a_while_is_forgotten() {
        let rate = Rate::new(NonZeroU32::new(10).unwrap());
        for n in 0..FORGET {
            rate.take(&User::Named(n.to_string().into())).unwrap();
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        rate.take(&User::Named("ann".into())).unwrap();
        assert_eq!(rate.users.lock().due.len(), 1);
    }
}
