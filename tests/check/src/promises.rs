//! The promises of `docs/guarantees.md`, one predicate each.

use std::fmt;

use serde::Serialize;

use crate::{
    history::{Ended, History},
    view::{Call, Index, View},
};

mod acknowledgements;
mod reading;
mod time;
mod writing;

pub use time::CATCH_UP;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// On one stream, and over all streams of one resumed reader, sequences strictly increase.
    Ordered,
    /// No stream sends a post at or before its start position, or one post twice.
    Unique,
    /// Of the matching posts, none between a stream's start and the last position it sent is
    /// missing.
    Reliable,
    /// Every position received is a valid start; a position of another log is refused, never
    /// skipped silently.
    Resumable,
    /// A position is sent only after everything up to it; nothing at or before it follows.
    Bookmarkable,
    /// Delivered and acknowledged posts are in the log, as they were sent.
    Durable,
    /// One `post_id` is stored at most once, and only posts that were sent are stored.
    ExactlyOnce,
    /// The posts that one call newly stores are in the log in the order sent.
    WritersOrder,
    /// A post acknowledged before another was first sent has the smaller sequence.
    RealTime,
    /// A list started after an acknowledgement contains that post.
    Fresh,
    /// One receipt per publish, in publish order; the answer to an upload counts what was sent.
    Receipts,
    /// Joins and leaves take effect exactly at the position that the answer names.
    Filter,
    /// 30 s after faults end, every connected reader has a position past every post acknowledged
    /// before.
    Live,
    /// A post carries the name of its writer.
    Authored,
}

impl Promise {
    /// All promises, in the order of `docs/guarantees.md`.
    pub const ALL: [Promise; 14] = [
        Promise::Ordered,
        Promise::Unique,
        Promise::Reliable,
        Promise::Resumable,
        Promise::Bookmarkable,
        Promise::Durable,
        Promise::ExactlyOnce,
        Promise::WritersOrder,
        Promise::RealTime,
        Promise::Fresh,
        Promise::Receipts,
        Promise::Filter,
        Promise::Live,
        Promise::Authored,
    ];

    /// Its name in `docs/guarantees.md`.
    pub fn name(self) -> &'static str {
        match self {
            Promise::Ordered => "Ordered",
            Promise::Unique => "Unique",
            Promise::Reliable => "Reliable",
            Promise::Resumable => "Resumable",
            Promise::Bookmarkable => "Bookmarkable",
            Promise::Durable => "Durable",
            Promise::ExactlyOnce => "Exactly once",
            Promise::WritersOrder => "Writer's order",
            Promise::RealTime => "Real time",
            Promise::Fresh => "Fresh",
            Promise::Receipts => "Receipts",
            Promise::Filter => "Filter",
            Promise::Live => "Live",
            Promise::Authored => "Authored",
        }
    }

    fn check(self, view: &View<'_>) -> Vec<Broken> {
        let mut found = Finder { promise: self, broken: Vec::new() };
        match self {
            Promise::Ordered => reading::ordered(view, &mut found),
            Promise::Unique => reading::unique(view, &mut found),
            Promise::Reliable => reading::reliable(view, &mut found),
            Promise::Resumable => reading::resumable(view, &mut found),
            Promise::Bookmarkable => reading::bookmarkable(view, &mut found),
            Promise::Filter => reading::filter(view, &mut found),
            Promise::Authored => reading::authored(view, &mut found),
            Promise::Durable => writing::durable(view, &mut found),
            Promise::ExactlyOnce => writing::exactly_once(view, &mut found),
            Promise::WritersOrder => writing::writers_order(view, &mut found),
            Promise::Receipts => acknowledgements::receipts(view, &mut found),
            Promise::RealTime => time::real_time(view, &mut found),
            Promise::Fresh => time::fresh(view, &mut found),
            Promise::Live => time::live(view, &mut found),
        }
        found.broken
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A broken promise, and where it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The promise.
    pub promise: Promise,
    /// The client and the number of its call; `None` if the log itself breaks it.
    pub call: Option<(String, u32)>,
    /// The number of the event that shows it, from 0, if there is one.
    pub event: Option<usize>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.promise)?;
        if let Some((client, call)) = &self.call {
            write!(f, "{client}, call {call}")?;
        } else {
            write!(f, "the log")?;
        }
        if let Some(event) = self.event {
            write!(f, ", event {event}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// All violations of promises in a history.
pub fn check(history: &History) -> Vec<Broken> {
    let view = View::new(history);
    Promise::ALL.iter().flat_map(|promise| promise.check(&view)).collect()
}

/// Whether the contract allows this end for a valid call: OK, ended by its client, or a temporary
/// error after which the client continues. A protocol violation that the client library detects is
/// never allowed for a writer; for a reader it breaks the order.
fn can_go_on(ended: &Ended) -> bool {
    const BY_THE_CLIENT: [&str; 2] = ["LEFT", "CANCELLED"];
    const PASSING: [&str; 5] =
        ["LOST", "TRUNCATED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"];
    let code = ended.code.as_str();
    code == "OK" || BY_THE_CLIENT.contains(&code) || PASSING.contains(&code)
}

/// The violations that a predicate found.
struct Finder {
    promise: Promise,
    broken: Vec<Broken>,
}

impl Finder {
    fn on(&mut self, call: &Call<'_>, event: Index, why: impl Into<String>) {
        let call = Some((call.client.to_owned(), call.number));
        self.add(call, Some(event), why.into());
    }

    fn in_log(&mut self, why: impl Into<String>) {
        self.add(None, None, why.into());
    }

    fn add(&mut self, call: Option<(String, u32)>, event: Option<Index>, why: String) {
        self.broken.push(Broken { promise: self.promise, call, event, why });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // test code
mod tests;
