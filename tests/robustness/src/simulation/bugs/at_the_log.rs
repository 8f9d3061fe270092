//! Bugs of a log.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use quartet_log::{
    Appending, Identity, Limit, LogError, NewPosts, Outcome, PostLog, Records, UserPage, hash_id,
};
use tokio::sync::watch;

use super::bug::Bug;

thread_local! {
    /// How often ids were forgotten. Thread-local: a simulation has its own thread.
    static FORGOTTEN: Cell<u32> = const { Cell::new(0) };
}

/// Forgets all taken ids from now on.
pub(super) fn forget() {
    FORGOTTEN.set(FORGOTTEN.get() + 1);
}

pub(super) fn forgetful_hash(identity: &Identity, post_id: &str) -> u32 {
    hash_id(identity, post_id) ^ FORGOTTEN.get().wrapping_mul(0x9e37_79b9)
}

#[derive(Debug)]
pub(super) struct BuggyLog {
    log: Arc<dyn PostLog>,
    bug: Bug,
    /// The sequence that the next append should get.
    next: AtomicU64,
    /// The appends that were acknowledged and will be stored later.
    held: Mutex<Option<NewPosts>>,
}

impl BuggyLog {
    pub(super) fn new(log: Arc<dyn PostLog>, bug: Bug) -> Self {
        let next = AtomicU64::new(*log.head().borrow() + 1);
        Self { log, bug, next, held: Mutex::default() }
    }

    fn head_now(&self) -> u64 {
        *self.log.head().borrow()
    }
}

/// An append that returns these outcomes instead.
fn answered(outcomes: Vec<Outcome>) -> Appending {
    let (promise, appending) = Appending::new();
    // The receiver is in scope, so the send succeeds.
    let _ = promise.send(Ok(outcomes));
    appending
}

#[tonic::async_trait]
impl PostLog for BuggyLog {
    fn log_id(&self) -> &str {
        self.log.log_id()
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.log.head()
    }

    async fn append(&self, posts: NewPosts) -> Result<Appending, LogError> {
        let count = posts.len() as u64;
        match self.bug {
            Bug::AcknowledgedBeforeCommit => {
                drop(self.log.append(posts).await?);
                let first = self.next.fetch_add(count, Ordering::Relaxed);
                Ok(answered((first..first + count).map(Outcome::Created).collect()))
            }
            Bug::LaterAppendOvertakes => {
                let held = self.held.lock().take();
                let first = self.head_now() + 1;
                if held.is_none() && first.is_multiple_of(3) {
                    *self.held.lock() = Some(posts);
                    return Ok(answered((first..first + count).map(Outcome::Created).collect()));
                }
                let appending = self.log.append(posts).await?;
                if let Some(held) = held {
                    drop(self.log.append(held).await?);
                }
                Ok(appending)
            }
            Bug::AppendReversed => {
                let reversed = posts.into_iter().rev().collect();
                let mut outcomes = self.log.append(reversed).await?.await?;
                outcomes.reverse();
                Ok(answered(outcomes))
            }
            Bug::OtherContentIsADuplicate | Bug::DuplicateToldAsCreated => {
                let outcomes = self.log.append(posts).await?.await?;
                let changed = outcomes.into_iter().map(|outcome| match (self.bug, outcome) {
                    (Bug::OtherContentIsADuplicate, Outcome::IdTaken) => Outcome::Duplicate(1),
                    (Bug::DuplicateToldAsCreated, Outcome::Duplicate(n)) => Outcome::Created(n),
                    (_, outcome) => outcome,
                });
                Ok(answered(changed.collect()))
            }
            _ => self.log.append(posts).await,
        }
    }

    async fn read(&self, after: u64, limit: Limit) -> Result<Records, LogError> {
        let after = match self.bug {
            Bug::DroppedWhenTheRingLaps => after.max(self.head_now().saturating_sub(24)),
            _ => after,
        };
        self.log.read(after, limit).await
    }

    async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError> {
        let mut page = self.log.read_user(user_id, after, limit).await?;
        if self.bug == Bug::UserIndexLags && !page.more {
            page.records.pop();
        }
        Ok(page)
    }

    async fn close(&self) -> Result<(), LogError> {
        self.log.close().await
    }
}
