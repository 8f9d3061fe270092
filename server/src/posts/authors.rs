//! Names of authors: the Post service's client of the User service.
//!
//! Post and User are two services. Post stores user ids only and asks User for the names, over
//! gRPC, even when both run in one process. A name is asked for once in `FRESH`, by one call
//! however many readers need it, and never once per post. An older name serves on while it is asked
//! for again: nobody waits for a name that is known.
//!
//! So while User is down or slow, names that were known go on; a name that was never known fails
//! the caller, who tries again.

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
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
    user::v1::{GetUserRequest, user_service_client::UserServiceClient},
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
/// How long "no such user" counts as fresh: users are added, and a refusal is final.
const UNKNOWN_FRESH: Duration = Duration::from_secs(5);
/// How long a stale name serves after a failed refresh before the next try.
const RETRY: Duration = Duration::from_secs(5);
/// How long a call to the User service may take. It belongs to the call, not to one of those who
/// wait for it.
const CALL: Duration = Duration::from_secs(2);
/// Names kept at most: some 20 MB. Beyond it, stale ones go first, then any.
const KEPT: usize = 100_000;

/// A user's name, or `None` for a user that User does not know.
pub type Author = Option<SmolStr>;

/// The User service did not say who somebody is.
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

/// The names that are known to the readers of one log, and the calls for those that are not.
#[derive(Debug, Clone)]
pub struct Authors(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    users: UserServiceClient<Channel>,
    names: RwLock<Names>,
    /// Calls in flight. They run as tasks: a caller that leaves does not take the answer from the
    /// others.
    calls: Mutex<HashMap<String, Call>>,
    tasks: TaskTracker,
}

/// Short ids and short names stand in the tables themselves: a look for a name is one look at
/// memory.
#[derive(Debug, Default)]
struct Names {
    /// What User said.
    of_id: HashMap<SmolStr, Known>,
    /// The same by the log's numbers of writers, for who was read of: pages are joined without a
    /// look for an id.
    of_number: Vec<Option<Known>>,
}

type Call = Shared<BoxFuture<'static, Result<Author, UserServiceUnavailable>>>;

#[derive(Debug, Clone)]
struct Known {
    author: Author,
    fresh_until: Instant,
}

impl Authors {
    /// Asks the User service behind this channel.
    pub fn new(users: impl Into<Channel>) -> Self {
        Self(Arc::new(Inner {
            users: UserServiceClient::new(users.into()),
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
            // A stale name is better than a wait; a stale "no such user" is not, because it would
            // refuse posts for good.
            Some(Known { author: Some(name), .. }) => {
                drop(self.call(user_id)); // It runs as a task, whoever waits for it.
                Ok(Some(name))
            }
            _ => self.call(user_id).await,
        }
    }

    /// Whether there is such a user, as far as it is known by now and fresh: if not,
    /// [`get`](Self::get) tells.
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
        if users.range(..KEPT as u32).next().is_some() {
            self.0.names.write().number(&users);
        }
        let found: HashMap<_, _> = users.into_keys().zip(found).collect();
        let posts = join(records, |user| found.get(&user));
        Ok(posts.expect("invariant: each of them was asked for"))
    }

    /// The same, if all names are at hand.
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

    /// Waits for the calls in flight, at most as long as one may take.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Joins the call for this user, or starts it.
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
        // The task ends without an answer only if its runtime does.
        let answer = task.map(|ended| ended.unwrap_or(Err(UserServiceUnavailable)));
        let call = answer.boxed().shared();
        calls.insert(user_id.to_owned(), call.clone());
        call
    }

    /// A call that makes way for the next one, also if it panics and nobody waits for it.
    async fn ask_once(self, user_id: String) -> Result<Author, UserServiceUnavailable> {
        let answer = AssertUnwindSafe(self.ask(&user_id)).catch_unwind().await;
        // By now its answer is known: nobody finds neither.
        self.0.calls.lock().remove(&user_id);
        answer.unwrap_or(Err(UserServiceUnavailable))
    }

    async fn ask(&self, user_id: &str) -> Result<Author, UserServiceUnavailable> {
        let mut users = self.0.users.clone();
        let mut request = Request::new(GetUserRequest { user_id: user_id.to_owned() });
        traces::inject(request.metadata_mut());
        // A downstream status is mapped, never passed on: its text and metadata are not for our
        // callers.
        let author = match timeout(CALL, users.get_user(request)).await {
            Ok(Ok(response)) => {
                let user = response.into_inner().user_message.unwrap_or_default();
                Ok(Some(codec::truncate(&user.name, AUTHOR_CHARS).into()))
            }
            Ok(Err(status)) if status.code() == Code::NotFound => Ok(None),
            Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), status.message())),
            Err(_) => Err(format!("no answer within {CALL:?}")),
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

    fn keep(&self, user_id: String, author: Author) -> Author {
        let known = &mut self.0.names.write().of_id;
        if known.len() >= KEPT && !known.contains_key(&*user_id) {
            // Ids that nobody has go first: whoever makes them up shall not cost others their
            // names.
            known.retain(|_, known| known.author.is_some());
            if known.len() >= KEPT {
                known.retain(|_, known| known.is_fresh());
            }
            if known.len() >= KEPT {
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
            known.fresh_until = Instant::now() + RETRY;
        }
    }
}

/// Each post is touched once, when it is copied. `None` if an author is not among these.
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
    /// Notes whose numbers these are.
    fn number(&mut self, users: &BTreeMap<u32, &str>) {
        for (number, user_id) in users.range(..KEPT as u32) {
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
