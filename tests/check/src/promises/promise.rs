//! The promises by name.

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
    /// Of the posts that match, none between a stream's start and the last position it sent is left
    /// out.
    Reliable,
    /// Any position received is a valid start; another log's is refused, never silently skipped.
    Resumable,
    /// A position is sent only after everything up to it; nothing at or before it follows.
    Bookmarkable,
    /// What was delivered or acknowledged is in the log, as it was sent.
    Durable,
    /// One `post_id` is stored at most once, and nothing is stored that nobody sent.
    ExactlyOnce,
    /// The posts that one call newly stores stand in the log in the order sent.
    WritersOrder,
    /// Created and acknowledged before another is first sent: a smaller sequence.
    RealTime,
    /// A list started after an acknowledgement contains that post.
    Fresh,
    /// One per publish, in publish order; the answer to an upload counts what was sent.
    Receipts,
    /// Joining and leaving take effect exactly at the position that the answer names.
    Filter,
    /// 30 s after faults end, every connected reader has a position past every post acknowledged
    /// before.
    Live,
    /// A post comes with the name of its writer.
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
