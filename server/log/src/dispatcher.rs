//! Wakes the cursors that a new post may match, and no others.
//!
//! On each core one task watches the head of the log, reads each new post once and looks up the
//! followers of its tags and its author. So the cost of a publish grows with its matches, not with
//! the number of open feeds.
//!
//! Guarantee: for the posts after its `known_from`, a waiter always knows either "these may match"
//! or "nothing matched up to here". Not here: reading on behalf of cursors. A wake-up carries no
//! posts: an observer reads at once by itself, and a cursor without one is woken to read.

use std::{
    hint::black_box,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use quartet_runtime::{cores::Cores, gauge::Gauge};
use tokio::{task::yield_now, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    post_log::PostLog,
    records::{Limit, Records},
};
use interests::Interests;
use waiter::Waiter;

mod interests;
pub(crate) mod registration;
mod waiter;

/// What a dispatcher reads at a time.
const READ: Limit = Limit { posts: 1024, bytes: 1024 * 1024 };
/// Waiters that are notified before other tasks of the core get a turn: about a millisecond's
/// worth.
const NOTIFIED_AT_ONCE: usize = 1024;
/// Waiters whose memory is fetched together.
const PREFETCHED: usize = 16;

/// One dispatcher per core: a new post wakes each core once, which then wakes its own readers.
#[derive(Debug, Clone)]
pub struct Dispatchers(Arc<[Arc<Dispatcher>]>);

impl Dispatchers {
    /// Creates `count` dispatchers that start at the head of the log. The caller
    /// [runs](Dispatcher::run) each on its core.
    pub fn new(log: &Arc<dyn PostLog>, count: usize) -> Self {
        let cursors = Gauge::default();
        let one = |_| Dispatcher { cursors: cursors.clone(), ..Dispatcher::over(log.clone()) };
        Self((0..count).map(one).map(Arc::new).collect())
    }

    /// The dispatcher of the calling core.
    pub fn here(&self) -> &Arc<Dispatcher> {
        &self.0[Cores::here() % self.0.len()]
    }

    /// All dispatchers, in the order of their cores.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dispatcher>> {
        self.0.iter()
    }

    /// Number of open cursors on all cores.
    pub fn cursors(&self) -> &Gauge {
        self.here().cursors()
    }

    /// Number of posts that the furthest cursor is behind, counting posts that may match. Visits
    /// every cursor: meant for monitoring, not for serving.
    pub fn lag(&self) -> u64 {
        self.iter().map(|one| one.lag()).max().unwrap_or_default()
    }
}

/// The reader of new posts on one core, which wakes all other readers there.
#[derive(Debug)]
pub struct Dispatcher {
    log: Arc<dyn PostLog>,
    /// Every waiter knows of every match up to this sequence.
    examined: AtomicU64,
    interests: Mutex<Interests>,
    cursors: Gauge,
}

impl Dispatcher {
    /// A dispatcher that starts at the head of the log. The caller [runs](Dispatcher::run) it.
    pub fn new(log: Arc<dyn PostLog>) -> Arc<Self> {
        Arc::new(Self::over(log))
    }

    fn over(log: Arc<dyn PostLog>) -> Self {
        let examined = AtomicU64::new(*log.head().borrow());
        Self { log, examined, interests: Mutex::default(), cursors: Gauge::default() }
    }

    /// Number of open cursors, shared by all dispatchers of one [`Dispatchers`].
    pub fn cursors(&self) -> &Gauge {
        &self.cursors
    }

    fn lag(&self) -> u64 {
        let (interests, examined) = (self.interests.lock(), self.examined());
        interests.waiters().map(|waiter| waiter.lag(examined)).max().unwrap_or_default()
    }

    /// Watches the log and wakes cursors until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut head = self.log.head();
        let watch = async {
            // Cannot fail: we hold the log, which holds the sender.
            while let Ok(head) = head.wait_for(|head| *head > self.examined()).await.map(|h| *h) {
                self.examine(head).await;
            }
        };
        // Cancel-safe: posts that were not examined have woken no cursor, and none waits any more.
        stop.run_until_cancelled(watch).await;
    }

    async fn examine(&self, head: u64) {
        while self.examined() < head && !self.skip_if_idle(head) {
            let waiters = match self.log.read(self.examined(), READ).await {
                Ok(records) => self.find(&records),
                // Each reader then meets the error itself.
                Err(error) => {
                    tracing::error!(%error, "cannot read new posts; waking all readers");
                    self.find_all(head)
                }
            };
            notify(&waiters).await;
        }
    }

    /// Skips posts unread if there is no waiter, and returns whether it did. A later waiter learns
    /// only of later posts.
    fn skip_if_idle(&self, head: u64) -> bool {
        let interests = self.interests.lock();
        let idle = interests.is_empty();
        if idle {
            self.examined.store(head, Ordering::Release);
        }
        idle
    }

    /// Notes the matches of each waiter. Returns the waiters to notify.
    fn find(&self, records: &Records) -> Vec<Arc<Waiter>> {
        let mut found = Vec::new();
        let Some(last) = records.last() else { return found };
        let mut interests = self.interests.lock();
        for record in records.iter() {
            interests.find(record, &mut found);
        }
        self.examined.store(last.sequence, Ordering::Release);
        interests.find_overdue(last.sequence, &mut found);
        found
    }

    /// Notes for every waiter that any post up to `head` may match. Returns the waiters to notify.
    fn find_all(&self, head: u64) -> Vec<Arc<Waiter>> {
        let mut interests = self.interests.lock();
        let first = self.examined() + 1;
        let waiters = interests.waiters().filter(|waiter| waiter.may_match(first, head));
        let mut found: Vec<_> = waiters.cloned().collect();
        self.examined.store(head, Ordering::Release);
        interests.find_overdue(head, &mut found);
        found
    }

    fn examined(&self) -> u64 {
        self.examined.load(Ordering::Acquire)
    }
}

/// Notifies waiters, without the lock on interests: a notified reader may end and unregister.
async fn notify(waiters: &[Arc<Waiter>]) {
    let mut chunks = waiters.chunks(NOTIFIED_AT_ONCE).peekable();
    while let Some(waiters) = chunks.next() {
        // Once per chunk: on some machines reading the clock costs as much as notifying a waiter.
        let now = Instant::now();
        for few in waiters.chunks(PREFETCHED) {
            notify_few(few, now);
        }
        if chunks.peek().is_some() {
            yield_now().await;
        }
    }
}

/// Reads from every observer before it notifies any: the observers are not in the CPU cache, and
/// plain reads overlap while steps that take locks do not.
fn notify_few(waiters: &[Arc<Waiter>], now: Instant) {
    let observers = waiters.iter().filter_map(|waiter| waiter.observer());
    black_box(observers.map(Weak::strong_count).sum::<usize>());
    waiters.iter().for_each(|waiter| waiter.notify(now));
}
