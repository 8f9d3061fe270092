//! A cursor's registration with a dispatcher.

use std::sync::{Arc, Weak};

use quartet_runtime::{gauge::Held, observer::Observer};

use super::{Dispatcher, waiter::Waiter};
use crate::filter::Filter;

/// Registers a cursor with a dispatcher until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    dispatcher: Arc<Dispatcher>,
    waiter: Arc<Waiter>,
    id: u64,
    /// Matches up to here were not noted: the filter was not registered yet.
    known_from: u64,
    _open: Held,
}

/// What is known of the posts after a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing up to this sequence matches; what follows may.
    MayMatchAfter(u64),
    /// Nothing up to this sequence matches; nothing is known of what follows.
    NothingUpTo(u64),
}

impl Registration {
    /// Registers a cursor with this filter.
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, filter: Arc<Filter>) -> Self {
        let waiter = Arc::<Waiter>::default();
        let mut interests = dispatcher.interests.lock();
        // Under the lock, so that no post is examined between these two lines.
        let known_from = dispatcher.examined();
        let id = interests.add(filter, waiter.clone(), known_from);
        waiter.reset(known_from);
        drop(interests);
        let open = dispatcher.cursors.hold();
        Self { dispatcher, waiter, id, known_from, _open: open }
    }

    /// Replaces the filter and the position of the cursor, which may be further back.
    pub(crate) fn change(&mut self, filter: Arc<Filter>, position: u64) {
        let mut interests = self.dispatcher.interests.lock();
        interests.replace(self.id, filter);
        self.known_from = self.dispatcher.examined();
        self.waiter.set_position(position);
        self.waiter.reset(self.known_from);
    }

    /// Tells that the cursor has examined the log up to here, without asking for news.
    pub(crate) fn set_position(&self, position: u64) {
        self.waiter.set_position(position);
    }

    /// What is known of the posts after `position`, up to which the cursor has examined the log.
    pub(crate) fn news(&self, position: u64) -> News {
        self.waiter.set_position(position);
        // Before the matches: all of them up to `examined` are noted by now.
        let examined = self.dispatcher.examined();
        if position < self.known_from {
            return News::MayMatchAfter(position);
        }
        match self.waiter.start_of_match(position) {
            Some(start) => News::MayMatchAfter(start),
            None => News::NothingUpTo(position.max(examined)),
        }
    }

    /// Waits until there may be news. Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.waiter.woken().await;
    }

    /// Notifies this observer of news from now on, before the waiting task is woken. Only the first
    /// call of a registration has an effect.
    pub(crate) fn observe(&self, observer: &Weak<dyn Observer>) {
        self.waiter.observe(observer);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.dispatcher.interests.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt as _;
    use quartet::post::v1::PostMessage;

    use super::*;
    use crate::{filter::Tags, memory::MemoryLog, new_posts::NewPost, post_log::PostLog as _};

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
    async fn only_the_followers_of_a_post_are_woken() {
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
            // Every cursor examines the new post, woken or not.
            waiters.iter().for_each(|waiter| _ = waiter.news(n as u64 + 1));
        }
    }

    #[tokio::test]
    async fn a_waiter_that_was_not_woken_knows_that_no_post_matched() {
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
    async fn posts_before_a_filter_was_registered_may_match() {
        let log = Arc::new(MemoryLog::new());
        let dispatcher = Dispatcher::new(log.clone());
        publish(&dispatcher, &log, &["a"], "1").await;
        let mut waiter = Registration::new(dispatcher.clone(), filter(&["b"], &[]));
        assert_eq!(waiter.news(0), News::MayMatchAfter(0), "it was not registered yet");
        publish(&dispatcher, &log, &["a"], "1").await;
        assert_eq!(waiter.news(1), News::NothingUpTo(2));
        waiter.change(filter(&["a"], &[]), 1);
        assert_eq!(waiter.news(1), News::MayMatchAfter(1));
    }

    #[tokio::test]
    async fn a_dropped_registration_leaves_nothing_behind() {
        let log = Arc::new(MemoryLog::new());
        let dispatcher = Dispatcher::new(log);
        for _ in 0..1000 {
            let filters = [filter(&["a", "b"], &[]), filter(&[], &["1"]), filter(&[], &[])];
            drop(filters.map(|filter| Registration::new(dispatcher.clone(), filter)));
        }
        let (entries, bookmarks) = dispatcher.interests.lock().sizes();
        assert_eq!(entries, 0);
        assert!(bookmarks <= 65, "{bookmarks} bookmarks");
    }
}
