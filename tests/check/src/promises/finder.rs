//! What the predicates find.

use std::fmt;

use serde::Serialize;

use super::promise::Promise;
use crate::{
    history::Ended,
    view::{Call, Index},
};

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

/// Whether a call ended as the contract has it for calls that are made rightly: well, by its
/// client, or by something that passes and after which the client goes on. What the client library
/// refuses to believe is none of these for a writer; for a reader it is a matter of order.
pub(super) fn can_go_on(ended: &Ended) -> bool {
    const BY_THE_CLIENT: [&str; 2] = ["LEFT", "CANCELLED"];
    const PASSING: [&str; 5] =
        ["LOST", "TRUNCATED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"];
    let code = ended.code.as_str();
    code == "OK" || BY_THE_CLIENT.contains(&code) || PASSING.contains(&code)
}

/// What a predicate found.
pub(super) struct Finder {
    promise: Promise,
    pub(super) broken: Vec<Broken>,
}

impl Finder {
    /// Nothing found yet.
    pub(super) fn new(promise: Promise) -> Self {
        Self { promise, broken: Vec::new() }
    }

    pub(super) fn on(&mut self, call: &Call<'_>, event: Index, why: impl Into<String>) {
        let call = Some((call.client.to_owned(), call.number));
        self.add(call, Some(event), why.into());
    }

    pub(super) fn in_log(&mut self, why: impl Into<String>) {
        self.add(None, None, why.into());
    }

    fn add(&mut self, call: Option<(String, u32)>, event: Option<Index>, why: String) {
        self.broken.push(Broken { promise: self.promise, call, event, why });
    }
}
