//! Wakes the cursors that wait for posts: those that a new post matches, and no others.
//!
//! On each core, one task watches the head of the log, reads each new post once and looks up who follows its tags or its user. So
//! a publish costs what its matches cost, however many feeds are open.
//!
//! Guarantee: a `Waiter` always knows of the posts after `known_from` either "these may match" or
//! "nothing matched up to here". Not here: reading for the cursors. What tells them carries no posts: an observer reads for
//! itself, at once, and who has none is woken to do so.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    future::poll_fn,
    hint::black_box,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::Mutex;
use quartet::limits::SKIPPED_POSTS;
use quartet_runtime::observer::Observer;
use quartet_runtime::{
    cores::Cores,
    gauge::{Gauge, Held},
    signal::Signal,
};
use smol_str::SmolStr;
use tokio::{task::yield_now, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    filter::{Filter, Tags},
    log::{Limit, PostLog, Record, Records},
};

/// What the dispatcher reads at a time.
const READ: Limit = Limit { posts: 1024, bytes: 1024 * 1024 };
/// Waiters that are told before anybody else on the core has a turn: about a millisecond's worth.
const AT_ONCE: usize = 1024;
/// Waiters that are looked at together.
const NEAR: usize = 16;

/// A dispatcher for each core: a post wakes each core once, and there the readers that it matches.
#[derive(Debug, Clone)]
pub struct Dispatchers(Arc<[Arc<Dispatcher>]>);

impl Dispatchers {
    /// So many, which start at the head. Somebody must [`run`](Dispatcher::run) them.
    pub fn new(log: &Arc<dyn PostLog>, count: usize) -> Self {
        let cursors = Gauge::default();
        let one = |_| Dispatcher { cursors: cursors.clone(), ..Dispatcher::over(log.clone()) };
        Self((0..count).map(one).map(Arc::new).collect())
    }

    /// The one of the core that calls.
    pub fn here(&self) -> &Arc<Dispatcher> {
        &self.0[Cores::here() % self.0.len()]
    }

    /// Each of them, by core.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dispatcher>> {
        self.0.iter()
    }

    /// How many cursors there are, at all of them.
    pub fn cursors(&self) -> &Gauge {
        self.here().cursors()
    }

    /// By how many posts the furthest cursor is behind, of those that it has to look at. It looks at every cursor: for
    /// who watches, not for who serves.
    pub fn lag(&self) -> u64 {
        self.iter().map(|one| one.lag()).max().unwrap_or_default()
    }
}

/// The one reader of a core that wakes all others.
#[derive(Debug)]
pub struct Dispatcher {
    log: Arc<dyn PostLog>,
    /// Every waiter has been told of every match up to here.
    examined: AtomicU64,
    interests: Mutex<Interests>,
    cursors: Gauge,
}

impl Dispatcher {
    /// A dispatcher that starts at the head. Somebody must [`run`](Dispatcher::run) it.
    pub fn new(log: Arc<dyn PostLog>) -> Arc<Self> {
        Arc::new(Self::over(log))
    }

    fn over(log: Arc<dyn PostLog>) -> Self {
        let examined = AtomicU64::new(*log.head().borrow());
        Self { log, examined, interests: Mutex::default(), cursors: Gauge::default() }
    }

    /// How many cursors there are.
    pub fn cursors(&self) -> &Gauge {
        &self.cursors
    }

    fn lag(&self) -> u64 {
        let (interests, examined) = (self.interests.lock(), self.examined());
        let lags = interests.waiters.values().map(|entry| entry.waiter.lag(examined));
        lags.max().unwrap_or_default()
    }

    /// Watches the log until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut head = self.log.head();
        let watch = async {
            // The log keeps its head for as long as we hold it, so this cannot fail.
            while let Ok(head) = head.wait_for(|head| *head > self.examined()).await.map(|h| *h) {
                self.examine(head).await;
            }
        };
        // Cancel-safe: what was not examined yet has woken nobody, and nobody is left to wait.
        stop.run_until_cancelled(watch).await;
    }

    async fn examine(&self, head: u64) {
        while self.examined() < head && !self.pass(head) {
            let waiters = match self.log.read(self.examined(), READ).await {
                Ok(records) => self.find(&records),
                // The readers shall meet the error themselves: each reads what it was told may match.
                Err(error) => {
                    tracing::error!(%error, "cannot read new posts; waking all readers");
                    self.find_all(head)
                }
            };
            tell(&waiters).await;
        }
    }

    /// Passes over posts that nobody waits for, unread; whether nobody does. Who comes later is told of later posts.
    fn pass(&self, head: u64) -> bool {
        let interests = self.interests.lock();
        let nobody = interests.waiters.is_empty();
        if nobody {
            self.examined.store(head, Ordering::Release);
        }
        nobody
    }

    /// Notes for each waiter what matches it. Returns those that have to be told.
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

    fn find_all(&self, head: u64) -> Vec<Arc<Waiter>> {
        let mut interests = self.interests.lock();
        let first = self.examined() + 1;
        let all = interests.waiters.values().map(|entry| &entry.waiter);
        let mut found: Vec<_> =
            all.filter(|waiter| waiter.may_match(first, head)).cloned().collect();
        self.examined.store(head, Ordering::Release);
        interests.find_overdue(head, &mut found);
        found
    }

    fn examined(&self) -> u64 {
        self.examined.load(Ordering::Acquire)
    }
}

/// Tells them that there may be news, without the lock on interests: who is told may end, and take its place back.
async fn tell(waiters: &[Arc<Waiter>]) {
    let mut some = waiters.chunks(AT_ONCE).peekable();
    while let Some(waiters) = some.next() {
        // Once for all of them: on some machines it costs as much as telling one.
        let now = Instant::now();
        for near in waiters.chunks(NEAR) {
            tell_near(near, now);
        }
        if some.peek().is_some() {
            yield_now().await;
        }
    }
}

/// Looks at all of those who will act before any of them does: they are not in the cache, and looks do not wait for each
/// other, while steps that take locks do.
fn tell_near(waiters: &[Arc<Waiter>], now: Instant) {
    let observers = waiters.iter().filter_map(|waiter| waiter.observer.get());
    black_box(observers.map(Weak::strong_count).sum::<usize>());
    waiters.iter().for_each(|waiter| waiter.tell(now));
}

/// A cursor's place at the dispatcher. Dropping it takes the place back.
#[derive(Debug)]
pub struct Registration {
    dispatcher: Arc<Dispatcher>,
    waiter: Arc<Waiter>,
    id: u64,
    /// Matches up to here were not announced: the filter was not registered yet.
    known_from: u64,
    _open: Held,
}

/// What is known of the posts after a position.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing up to `first` matches; what follows may.
    MayMatchAfter(u64),
    /// Nothing up to here matches, and nobody knows yet of what follows.
    NothingUpTo(u64),
}

impl Registration {
    /// Announces a reader and what it follows.
    pub fn new(dispatcher: Arc<Dispatcher>, filter: Arc<Filter>) -> Self {
        let waiter = Arc::<Waiter>::default();
        let mut interests = dispatcher.interests.lock();
        // Under the lock: no post is examined between this line and the next.
        let known_from = dispatcher.examined();
        let id = interests.add(filter, waiter.clone(), known_from);
        waiter.known_from.store(known_from, Ordering::Relaxed);
        drop(interests);
        let open = dispatcher.cursors.hold();
        Self { dispatcher, waiter, id, known_from, _open: open }
    }

    /// Replaces what the reader follows and where it is, which may be further back.
    pub fn change(&mut self, filter: Arc<Filter>, position: u64) {
        let mut interests = self.dispatcher.interests.lock();
        interests.replace(self.id, filter);
        self.known_from = self.dispatcher.examined();
        self.waiter.known_from.store(self.known_from, Ordering::Relaxed);
        self.waiter.position.store(position, Ordering::Release);
        *self.waiter.matched.lock() = None;
    }

    /// The reader has examined the log up to here, without asking for news.
    pub fn note(&self, position: u64) {
        self.waiter.position.store(position, Ordering::Release);
    }

    /// What is known of the posts after `position`, up to which the reader has examined the log.
    pub fn news(&self, position: u64) -> News {
        self.waiter.position.store(position, Ordering::Release);
        // Before the matches: all of them up to `examined` are noted by now.
        let examined = self.dispatcher.examined();
        let mut matched = self.waiter.matched.lock();
        match *matched {
            _ if position < self.known_from => News::MayMatchAfter(position),
            Some(Matched { first, last }) if last > position => {
                News::MayMatchAfter(position.max(first - 1))
            }
            _ => {
                *matched = None;
                News::NothingUpTo(position.max(examined))
            }
        }
    }

    /// Waits until there may be news. Cancel-safe.
    pub async fn woken(&self) {
        let woken = |cx: &mut Context<'_>| {
            if self.waiter.signal.take(cx) { Poll::Ready(()) } else { Poll::Pending }
        };
        poll_fn(woken).await;
    }

    /// Tells this one of news from now on, before anybody is woken. There is one for the whole life of a registration.
    pub fn observe(&self, observer: &Weak<dyn Observer>) {
        self.waiter.observer.get_or_init(|| observer.clone());
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.dispatcher.interests.lock().remove(self.id);
    }
}

#[derive(Debug, Default)]
struct Waiter {
    signal: Signal,
    /// Who may act on news at once.
    observer: OnceLock<Weak<dyn Observer>>,
    /// How far the cursor has examined the log itself.
    position: AtomicU64,
    matched: Mutex<Option<Matched>>,
    /// That of its registration, for whoever watches.
    known_from: AtomicU64,
}

/// The matches that the cursor has not examined yet: the first, the last, and unknown ones between.
#[derive(Debug)]
struct Matched {
    first: u64,
    last: u64,
}

impl Waiter {
    /// How many posts it has to look at, matching or not.
    fn lag(&self, examined: u64) -> u64 {
        let position = self.position.load(Ordering::Acquire);
        let from = match &*self.matched.lock() {
            _ if position < self.known_from.load(Ordering::Relaxed) => position,
            Some(Matched { first, last }) if *last > position => position.max(first - 1),
            _ => examined,
        };
        examined.saturating_sub(from)
    }

    /// Notes a match. Returns whether it has to be told: if not, it knows of one already that it has not examined.
    fn may_match(&self, first: u64, last: u64) -> bool {
        if last <= self.position.load(Ordering::Acquire) {
            return false; // The cursor was faster.
        }
        match &mut *self.matched.lock() {
            Some(matched) => {
                matched.last = last;
                false
            }
            none => {
                *none = Some(Matched { first, last });
                true
            }
        }
    }

    /// Tells that there may be news.
    fn tell(&self, now: Instant) {
        let observer = self.observer.get().and_then(Weak::upgrade);
        if !observer.is_some_and(|observer| observer.notify(now)) {
            self.signal.raise();
        }
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Interests {
    next_id: u64,
    waiters: BTreeMap<u64, Entry>,
    all: Followers,
    by_tag: HashMap<SmolStr, Followers>,
    by_user: HashMap<SmolStr, Followers>,
    /// When to look whether a waiter is owed a bookmark, the earliest first. One item per waiter.
    bookmarks: BinaryHeap<Reverse<(u64, u64)>>,
}

/// In the order in which they came, so that the same posts always wake them in the same order. Most tags have few, for
/// which this is the smallest; one that leaves thousands behind moves them up.
#[derive(Debug, Default)]
struct Followers(Vec<(u64, Entry)>);

impl Followers {
    fn insert(&mut self, id: u64, entry: Entry) {
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        let at = self.0.partition_point(|(other, _)| *other < id);
        self.0.insert(at, (id, entry));
    }

    fn remove(&mut self, id: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&id, |(id, _)| *id) {
            self.0.remove(at);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Clone)]
struct Entry {
    filter: Arc<Filter>,
    waiter: Arc<Waiter>,
    /// Whether what it is found by is all that it follows, so that nobody has to look into the filter.
    certain: bool,
}

impl Entry {
    fn new(filter: Arc<Filter>, waiter: Arc<Waiter>) -> Self {
        let certain = filter.user_ids.is_empty() || matches!(filter.tags, Tags::All);
        Self { filter, waiter, certain }
    }
}

impl Interests {
    fn add(&mut self, filter: Arc<Filter>, waiter: Arc<Waiter>, examined: u64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.bookmarks.push(Reverse((examined + SKIPPED_POSTS, id)));
        self.index(id, Entry::new(filter, waiter));
        id
    }

    fn replace(&mut self, id: u64, filter: Arc<Filter>) {
        if let Some(Entry { waiter, .. }) = self.unindex(id) {
            self.index(id, Entry::new(filter, waiter));
        }
    }

    fn remove(&mut self, id: u64) {
        self.unindex(id);
        // Its bookmark item goes when it is due, or here once most items are of waiters that left.
        if self.bookmarks.len() > 64 && self.bookmarks.len() > 2 * self.waiters.len() {
            self.bookmarks.retain(|Reverse((_, id))| self.waiters.contains_key(id));
        }
    }

    fn index(&mut self, id: u64, entry: Entry) {
        match &entry.filter.tags {
            Tags::All if entry.filter.user_ids.is_empty() => {
                self.all.insert(id, entry.clone());
            }
            Tags::All => {
                let users = entry.filter.user_ids.iter().map(String::as_str);
                insert(&mut self.by_user, users, id, &entry);
            }
            Tags::AnyOf(tags) => {
                insert(&mut self.by_tag, tags.iter().map(|tag| &**tag), id, &entry)
            }
        }
        self.waiters.insert(id, entry);
    }

    fn unindex(&mut self, id: u64) -> Option<Entry> {
        let entry = self.waiters.remove(&id)?;
        self.all.remove(id);
        match &entry.filter.tags {
            Tags::All => {
                remove(&mut self.by_user, entry.filter.user_ids.iter().map(String::as_str), id);
            }
            Tags::AnyOf(tags) => remove(&mut self.by_tag, tags.iter().map(|tag| &**tag), id),
        }
        Some(entry)
    }

    fn find(&self, record: &Record, found: &mut Vec<Arc<Waiter>>) {
        let post = record.view();
        let by_tag = post.tags().filter_map(|tag| self.by_tag.get(tag));
        let by_user = self.by_user.get(post.user_id());
        let followers = by_tag.chain(by_user).chain([&self.all]);
        for (_, entry) in followers.flat_map(|followers| &followers.0) {
            if (entry.certain || entry.filter.matches(post))
                && entry.waiter.may_match(record.sequence, record.sequence)
            {
                found.push(entry.waiter.clone());
            }
        }
    }

    /// Finds the waiters that have passed over so many posts that they owe their client a bookmark.
    fn find_overdue(&mut self, examined: u64, found: &mut Vec<Arc<Waiter>>) {
        while let Some(Reverse((due, id))) = self.bookmarks.peek().copied()
            && due <= examined
        {
            self.bookmarks.pop();
            let Some(entry) = self.waiters.get(&id) else { continue };
            let due = entry.waiter.position.load(Ordering::Acquire) + SKIPPED_POSTS;
            if due <= examined {
                found.push(entry.waiter.clone());
            }
            self.bookmarks.push(Reverse((due.max(examined + 1), id)));
        }
    }
}

fn insert<'a>(
    index: &mut HashMap<SmolStr, Followers>,
    terms: impl Iterator<Item = &'a str>,
    id: u64,
    entry: &Entry,
) {
    for term in terms {
        index.entry(term.into()).or_default().insert(id, entry.clone());
    }
}

fn remove<'a>(
    index: &mut HashMap<SmolStr, Followers>,
    terms: impl Iterator<Item = &'a str>,
    id: u64,
) {
    for term in terms {
        if let Some(followers) = index.get_mut(term) {
            followers.remove(id);
            if followers.is_empty() {
                index.remove(term);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt as _;
    use quartet::post::v1::PostMessage;

    use super::*;
    use crate::log::{NewPost, memory::MemoryLog};

    fn filter(tags: &[&str], user_ids: &[&str]) -> Arc<Filter> {
        let set = |terms: &[&str]| terms.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let tags = if tags.is_empty() { Tags::All } else { set(tags).into() };
        Arc::new(Filter { tags, user_ids: set(user_ids) })
    }

    async fn publish(dispatcher: &Dispatcher, log: &MemoryLog, tags: &[&str], user_id: &str) {
        let post = PostMessage {
            post_id: format!("p{}", *log.head().borrow()),
            user_id: user_id.to_owned(),
            tags: tags.iter().map(ToString::to_string).collect(),
            ..PostMessage::default()
        };
        let post = NewPost::of(&post, prost_types::Timestamp::default());
        log.append(vec![post].into()).await.unwrap().await.unwrap();
        let head = *log.head().borrow();
        dispatcher.examine(head).await;
    }

    fn is_woken(registration: &Registration) -> bool {
        registration.woken().now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_waiter_whose_tag_or_user_nobody_published_is_not_woken() {
        let log = Arc::new(MemoryLog::new());
        let dispatcher = Dispatcher::new(log.clone());
        let register = |tags: &[&str], users: &[&str]| {
            Registration::new(dispatcher.clone(), filter(tags, users))
        };
        let waiters = [
            register(&["a"], &[]),
            register(&["b"], &[]),
            register(&["a", "b"], &[]),
            register(&[], &["1"]),
            register(&["a"], &["2"]),
            register(&[], &[]),
        ];
        let published: [(&[&str], &str, [bool; 6]); 4] = [
            (&["a"], "1", [true, false, true, true, false, true]),
            (&["b", "a"], "2", [true, true, true, false, true, true]),
            (&["c"], "3", [false, false, false, false, false, true]),
            (&[], "1", [false, false, false, true, false, true]),
        ];
        for (n, (tags, user_id, woken)) in published.into_iter().enumerate() {
            publish(&dispatcher, &log, tags, user_id).await;
            assert_eq!(waiters.each_ref().map(is_woken), woken, "{tags:?} by {user_id}");
            // All of them look, as those do that are woken.
            waiters.iter().for_each(|waiter| _ = waiter.news(n as u64 + 1));
        }
    }

    #[tokio::test]
    async fn a_waiter_that_was_not_woken_knows_that_nothing_matched() {
        let log = Arc::new(MemoryLog::new());
        let dispatcher = Dispatcher::new(log.clone());
        let waiter = Registration::new(dispatcher.clone(), filter(&["a"], &[]));
        publish(&dispatcher, &log, &["b"], "1").await;
        assert_eq!(waiter.news(0), News::NothingUpTo(1));
        for tag in ["b", "a", "b"] {
            publish(&dispatcher, &log, &[tag], "1").await;
        }
        assert_eq!(waiter.news(1), News::MayMatchAfter(2));
        assert_eq!(waiter.news(3), News::NothingUpTo(4));
    }

    #[tokio::test]
    async fn what_a_new_filter_missed_may_match() {
        let log = Arc::new(MemoryLog::new());
        let dispatcher = Dispatcher::new(log.clone());
        publish(&dispatcher, &log, &["a"], "1").await;
        let mut waiter = Registration::new(dispatcher.clone(), filter(&["b"], &[]));
        assert_eq!(waiter.news(0), News::MayMatchAfter(0), "it was not there yet");
        publish(&dispatcher, &log, &["a"], "1").await;
        assert_eq!(waiter.news(1), News::NothingUpTo(2));
        waiter.change(filter(&["a"], &[]), 1);
        assert_eq!(waiter.news(1), News::MayMatchAfter(1));
    }

    #[tokio::test]
    async fn a_waiter_that_leaves_leaves_nothing_behind() {
        let log = Arc::new(MemoryLog::new());
        let dispatcher = Dispatcher::new(log);
        for _ in 0..1000 {
            let filters = [filter(&["a", "b"], &[]), filter(&[], &["1"]), filter(&[], &[])];
            drop(filters.map(|filter| Registration::new(dispatcher.clone(), filter)));
        }
        let interests = dispatcher.interests.lock();
        assert!(interests.waiters.is_empty() && interests.all.is_empty());
        assert!(interests.by_tag.is_empty() && interests.by_user.is_empty());
        assert!(interests.bookmarks.len() <= 65, "{} bookmarks", interests.bookmarks.len());
    }
}
