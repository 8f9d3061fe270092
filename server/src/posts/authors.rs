//! Names of authors: the Post service's client of the User service.
//!
//! Post and User are two services. Post stores only user ids and requests the names from User, over
//! gRPC, even when both run in one process. Names are cached for `FRESH`. Readers that need the
//! same name share one call, and a stale name is used while it is refreshed, so no reader waits for
//! a known name.
//!
//! While User is down or slow, known names stay in use. A call that needs an unknown name fails,
//! and its caller retries.
//!
//! User servers of the Go blog series have the service under the blog's name only. A name that is
//! UNIMPLEMENTED is followed by the other one, and the name that answered is asked first from then
//! on, until it is UNIMPLEMENTED in turn.

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, try_join_all},
};
use parking_lot::{Mutex, RwLock};
use quartet::{
    codec,
    limits::AUTHOR_CHARS,
    page::OutgoingPosts,
    reason,
    user::v1::{GetUserRequest, GetUserResponse, user_service_client::UserServiceClient},
    v1::user::user_client::UserClient,
};
use quartet_channel::Channel;
use quartet_log::Record;
use smol_str::SmolStr;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Status};
use tracing::Instrument as _;

use crate::{error, methods, observe::traces};

/// How long a name counts as fresh.
const FRESH: Duration = Duration::from_secs(60);
/// How long "no such user" counts as fresh: short, because users are added, and a refused post is
/// refused for good.
const UNKNOWN_FRESH: Duration = Duration::from_secs(5);
/// How long a stale name is used after a failed refresh before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Timeout of a call to the User service. It starts with the call, not with a reader that joins it.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of cached names, about 20 MB. When full, unknown users are evicted first, then
/// stale names, then all.
const MAX_NAMES: usize = 100_000;

/// A user's name, or `None` if the User service does not know the user.
pub type Author = Option<SmolStr>;

/// The User service did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the User service is unavailable")]
pub struct UserServiceUnavailable;

impl From<UserServiceUnavailable> for Status {
    fn from(error: UserServiceUnavailable) -> Self {
        error::retryable(
            Code::Unavailable,
            reason::USER_SERVICE_UNAVAILABLE,
            format!("{error}, and a name that is needed is not known yet"),
        )
    }
}

/// The cached names for the readers of one log, and the calls for missing ones.
#[derive(Debug, Clone)]
pub struct Authors(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    users: UserServiceClient<Channel>,
    blogs_users: UserClient<Channel>,
    /// Whether the blog's name of the service answered last, and so is asked first.
    ask_blogs_first: AtomicBool,
    names: RwLock<Names>,
    /// Calls in flight. They run as tasks, so that a cancelled reader does not cancel the call for
    /// others.
    calls: Mutex<HashMap<String, Call>>,
    tasks: TaskTracker,
}

/// `SmolStr` keeps short ids and names inline, so that a lookup reads memory once.
#[derive(Debug, Default)]
struct Names {
    /// The answers of the User service, by user id.
    of_id: HashMap<SmolStr, Known>,
    /// The same by the log's numbers of writers, for writers of posts that were read. Joining a
    /// page needs no lookup by id.
    of_number: Vec<Option<Known>>,
}

type Call = Shared<BoxFuture<'static, Result<Author, UserServiceUnavailable>>>;

#[derive(Debug, Clone)]
struct Known {
    author: Author,
    fresh_until: Instant,
}

impl Authors {
    /// Requests names from the User service behind this channel.
    pub fn new(users: impl Into<Channel>) -> Self {
        let users = users.into();
        Self(Arc::new(Inner {
            users: UserServiceClient::new(users.clone()),
            blogs_users: UserClient::new(users),
            ask_blogs_first: AtomicBool::new(false),
            names: RwLock::default(),
            calls: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The name of a user. Cancel-safe.
    pub async fn get(&self, user_id: &str) -> Result<Author, UserServiceUnavailable> {
        let known = self.0.names.read().of_id.get(user_id).cloned();
        match known {
            Some(known) if known.is_fresh() => Ok(known.author),
            // A stale name is better than a wait. A stale "no such user" is not: it would refuse
            // posts for good.
            Some(Known { author: Some(name), .. }) => {
                drop(self.call(user_id)); // It runs as a task.
                Ok(Some(name))
            }
            _ => self.call(user_id).await,
        }
    }

    /// Whether the cache has a fresh entry of an existing user. If not, [`get`](Self::get) asks.
    pub fn knows(&self, user_id: &str, now: Instant) -> bool {
        let names = self.0.names.read();
        let known = names.of_id.get(user_id);
        known.is_some_and(|known| known.author.is_some() && known.fresh_until > now)
    }

    /// Posts with the names of their authors, "" for an unknown user. Cancel-safe.
    pub async fn join<'a>(
        &self,
        records: impl Iterator<Item = &'a Record> + Clone,
    ) -> Result<OutgoingPosts, UserServiceUnavailable> {
        if let Some(posts) = self.join_known(records.clone()) {
            return Ok(posts);
        }
        let users: BTreeMap<_, _> =
            records.clone().map(|record| (record.user, record.view().user_id())).collect();
        let found = try_join_all(users.values().map(|user_id| self.get(user_id))).await?;
        if users.range(..MAX_NAMES as u32).next().is_some() {
            self.0.names.write().number(&users);
        }
        let found: HashMap<_, _> = users.into_keys().zip(found).collect();
        let posts = join(records, |user| found.get(&user));
        Ok(posts.expect("invariant: `found` has every user of the records"))
    }

    /// The same, if all names are cached and fresh.
    fn join_known<'a>(
        &self,
        records: impl Iterator<Item = &'a Record> + Clone,
    ) -> Option<OutgoingPosts> {
        let (names, now) = (self.0.names.read(), Instant::now());
        join(records, |user| {
            let known = names.of_number.get(user as usize)?.as_ref()?;
            (known.fresh_until > now).then_some(&known.author)
        })
    }

    /// Waits for the calls in flight, which takes at most the timeout of one call.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The call in flight for this user; starts one if there is none.
    fn call(&self, user_id: &str) -> Call {
        let mut calls = self.0.calls.lock();
        if let Some(call) = calls.get(user_id) {
            return call.clone();
        }
        let task = self.0.tasks.spawn(
            self.clone()
                .ask_once(user_id.to_owned())
                .instrument(traces::calling(methods::name(methods::user_v1::GET_USER))),
        );
        // The task fails to answer only if its runtime shuts down.
        let answer = task.map(|ended| ended.unwrap_or(Err(UserServiceUnavailable)));
        let call = answer.boxed().shared();
        calls.insert(user_id.to_owned(), call.clone());
        call
    }

    /// Asks, and then removes the call from those in flight, also if it panics.
    async fn ask_once(self, user_id: String) -> Result<Author, UserServiceUnavailable> {
        let answer = AssertUnwindSafe(self.ask(&user_id)).catch_unwind().await;
        // The answer is cached by now, so a reader finds either the call or the answer.
        self.0.calls.lock().remove(&user_id);
        answer.unwrap_or(Err(UserServiceUnavailable))
    }

    async fn ask(&self, user_id: &str) -> Result<Author, UserServiceUnavailable> {
        // A status of the User service is mapped, never forwarded: its text and metadata are not
        // for our callers.
        let author = match timeout(CALL_TIMEOUT, self.get_user(user_id)).await {
            // The blog's server answers for an unknown user without a user.
            Ok(Ok(response)) => Ok(response
                .user_message
                .map(|user| codec::truncate(&user.name, AUTHOR_CHARS).into())),
            Ok(Err(status)) if status.code() == Code::NotFound => Ok(None),
            Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), status.message())),
            Err(_) => Err(format!("no answer within {CALL_TIMEOUT:?}")),
        };
        match author {
            Ok(author) => Ok(self.keep(user_id.to_owned(), author)),
            Err(why) => {
                tracing::warn!(user_id, why, "the User service did not answer");
                self.keep_stale(user_id);
                Err(UserServiceUnavailable)
            }
        }
    }

    /// Asks under the name that answered last, and under the other one if that is UNIMPLEMENTED.
    async fn get_user(&self, user_id: &str) -> Result<GetUserResponse, Status> {
        let blogs_first = self.0.ask_blogs_first.load(Ordering::Relaxed);
        let answer = self.get_user_under(blogs_first, user_id).await;
        if !answer.as_ref().is_err_and(|status| status.code() == Code::Unimplemented) {
            return answer;
        }
        let other = self.get_user_under(!blogs_first, user_id).await;
        let has_answered = match &other {
            Ok(_) => true,
            Err(status) => status.code() == Code::NotFound,
        };
        if has_answered {
            self.0.ask_blogs_first.store(!blogs_first, Ordering::Relaxed);
        }
        other
    }

    async fn get_user_under(&self, blogs: bool, user_id: &str) -> Result<GetUserResponse, Status> {
        let mut request = Request::new(GetUserRequest { user_id: user_id.to_owned() });
        traces::inject(request.metadata_mut());
        let response = match blogs {
            false => self.0.users.clone().get_user(request).await,
            true => self.0.blogs_users.clone().get_user(request).await,
        };
        traces::answered(response.as_ref().map_or_else(Status::code, |_| Code::Ok));
        response.map(tonic::Response::into_inner)
    }

    fn keep(&self, user_id: String, author: Author) -> Author {
        let known = &mut self.0.names.write().of_id;
        if known.len() >= MAX_NAMES && !known.contains_key(&*user_id) {
            // Unknown users first: a caller that invents ids must not evict the names of others.
            known.retain(|_, known| known.author.is_some());
            if known.len() >= MAX_NAMES {
                known.retain(|_, known| known.is_fresh());
            }
            if known.len() >= MAX_NAMES {
                known.clear();
            }
        }
        let fresh_until = Instant::now() + if author.is_some() { FRESH } else { UNKNOWN_FRESH };
        known.insert(user_id.into(), Known { author: author.clone(), fresh_until });
        author
    }

    fn keep_stale(&self, user_id: &str) {
        if let Some(known) =
            self.0.names.write().of_id.get_mut(user_id).filter(|k| k.author.is_some())
        {
            known.fresh_until = Instant::now() + RETRY_AFTER;
        }
    }
}

/// Touches each post once, when it is copied. `None` if `author` lacks one.
fn join<'a, 'n>(
    records: impl Iterator<Item = &'a Record> + Clone,
    author: impl Fn(u32) -> Option<&'n Author>,
) -> Option<OutgoingPosts> {
    let (count, stored) =
        records.clone().fold((0, 0), |(n, bytes), record| (n + 1, bytes + record.post.len()));
    let mut posts = OutgoingPosts::with_capacity(count, stored);
    for record in records {
        let name = author(record.user)?.as_deref().unwrap_or_default();
        posts.push(&record.post, name, record.sequence as i64);
    }
    Some(posts)
}

impl Names {
    /// Caches the names of these writers by their numbers.
    fn number(&mut self, users: &BTreeMap<u32, &str>) {
        for (number, user_id) in users.range(..MAX_NAMES as u32) {
            let number = *number as usize;
            if self.of_number.len() <= number {
                self.of_number.resize(number + 1, None);
            }
            self.of_number[number] = self.of_id.get(*user_id).cloned();
        }
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        Instant::now() < self.fresh_until
    }
}
