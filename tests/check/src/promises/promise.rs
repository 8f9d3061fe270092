//! The promises, and how one is broken.

use std::fmt;

use serde::Serialize;

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
    /// All of them, as `docs/guarantees.md` lists them.
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

    /// As `docs/guarantees.md` calls it.
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
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A promise that was broken, and where it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// To whom, on which of its calls; none if the log itself breaks it.
    pub call: Option<(String, u32)>,
    /// The number of the event that shows it, from 0, if one does.
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
