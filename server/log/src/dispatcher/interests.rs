//! Which waiters follow which tags and users.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
};

use quartet::limits::SKIPPED_POSTS;
use smol_str::SmolStr;

use super::waiter::Waiter;
use crate::{
    filter::{Filter, Tags},
    records::Record,
};

/// The registered waiters, indexed by what they follow.
#[derive(Debug, Default)]
pub(super) struct Interests {
    next_id: u64,
    waiters: BTreeMap<u64, Follower>,
    /// Those whose filter names neither tag nor user.
    all: Followers,
    by_tag: HashMap<SmolStr, Followers>,
    by_user: HashMap<SmolStr, Followers>,
    /// Sequences at which to check whether a waiter owes its client a bookmark, the lowest first.
    /// One item per waiter.
    bookmarks: BinaryHeap<Reverse<(u64, u64)>>,
}

/// Followers in the order of their registration, so that the same posts wake them in the same
/// order. A vector takes the least memory for few followers, which most tags have; a removal among
/// thousands moves the later ones.
#[derive(Debug, Default)]
struct Followers(Vec<(u64, Follower)>);

impl Followers {
    fn insert(&mut self, id: u64, follower: Follower) {
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        let at = self.0.partition_point(|(other, _)| *other < id);
        self.0.insert(at, (id, follower));
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

/// A waiter and what it follows.
#[derive(Debug, Clone)]
struct Follower {
    filter: Arc<Filter>,
    waiter: Arc<Waiter>,
    /// Whether the index alone decides a match, so that the filter need not be checked.
    indexed_fully: bool,
}

impl Follower {
    fn new(filter: Arc<Filter>, waiter: Arc<Waiter>) -> Self {
        let indexed_fully = filter.user_ids.is_empty() || matches!(filter.tags, Tags::All);
        Self { filter, waiter, indexed_fully }
    }
}

impl Interests {
    /// Whether there are no waiters.
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// All waiters.
    pub(super) fn waiters(&self) -> impl Iterator<Item = &Arc<Waiter>> {
        self.waiters.values().map(|follower| &follower.waiter)
    }

    /// Adds a waiter and returns its id. Posts up to `examined` were examined without it.
    pub(super) fn add(&mut self, filter: Arc<Filter>, waiter: Arc<Waiter>, examined: u64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.bookmarks.push(Reverse((examined + SKIPPED_POSTS, id)));
        self.index(id, Follower::new(filter, waiter));
        id
    }

    /// Replaces the filter of a waiter.
    pub(super) fn replace(&mut self, id: u64, filter: Arc<Filter>) {
        if let Some(Follower { waiter, .. }) = self.unindex(id) {
            self.index(id, Follower::new(filter, waiter));
        }
    }

    /// Removes a waiter.
    pub(super) fn remove(&mut self, id: u64) {
        self.unindex(id);
        // Its bookmark item is removed when due, or here once most items belong to removed waiters.
        if self.bookmarks.len() > 64 && self.bookmarks.len() > 2 * self.waiters.len() {
            self.bookmarks.retain(|Reverse((_, id))| self.waiters.contains_key(id));
        }
    }

    fn index(&mut self, id: u64, follower: Follower) {
        match &follower.filter.tags {
            Tags::All if follower.filter.user_ids.is_empty() => {
                self.all.insert(id, follower.clone());
            }
            Tags::All => {
                let users = follower.filter.user_ids.iter().map(String::as_str);
                insert(&mut self.by_user, users, id, &follower);
            }
            Tags::AnyOf(tags) => {
                insert(&mut self.by_tag, tags.iter().map(|tag| &**tag), id, &follower)
            }
        }
        self.waiters.insert(id, follower);
    }

    fn unindex(&mut self, id: u64) -> Option<Follower> {
        let follower = self.waiters.remove(&id)?;
        self.all.remove(id);
        match &follower.filter.tags {
            Tags::All => {
                remove(&mut self.by_user, follower.filter.user_ids.iter().map(String::as_str), id);
            }
            Tags::AnyOf(tags) => remove(&mut self.by_tag, tags.iter().map(|tag| &**tag), id),
        }
        Some(follower)
    }

    /// Notes the matches of a new post and adds the waiters to notify to `found`.
    pub(super) fn find(&self, record: &Record, found: &mut Vec<Arc<Waiter>>) {
        let post = record.view();
        let by_tag = post.tags().filter_map(|tag| self.by_tag.get(tag));
        let by_user = self.by_user.get(post.user_id());
        let followers = by_tag.chain(by_user).chain([&self.all]);
        for (_, follower) in followers.flat_map(|followers| &followers.0) {
            if (follower.indexed_fully || follower.filter.matches(post))
                && follower.waiter.may_match(record.sequence, record.sequence)
            {
                found.push(follower.waiter.clone());
            }
        }
    }

    /// Adds the waiters that have skipped so many posts that they owe their client a bookmark.
    pub(super) fn find_overdue(&mut self, examined: u64, found: &mut Vec<Arc<Waiter>>) {
        while let Some(Reverse((due, id))) = self.bookmarks.peek().copied()
            && due <= examined
        {
            self.bookmarks.pop();
            let Some(follower) = self.waiters.get(&id) else { continue };
            let due = follower.waiter.position() + SKIPPED_POSTS;
            if due <= examined {
                found.push(follower.waiter.clone());
            }
            self.bookmarks.push(Reverse((due.max(examined + 1), id)));
        }
    }

    /// Number of index entries of any kind, and of bookmark items.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let Self { next_id: _, waiters, all, by_tag, by_user, bookmarks } = self;
        (waiters.len() + all.0.len() + by_tag.len() + by_user.len(), bookmarks.len())
    }
}

fn insert<'a>(
    index: &mut HashMap<SmolStr, Followers>,
    terms: impl Iterator<Item = &'a str>,
    id: u64,
    follower: &Follower,
) {
    for term in terms {
        index.entry(term.into()).or_default().insert(id, follower.clone());
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
