//! What the predicates share.

use super::promise::{Broken, Promise};
use crate::{
    history::Ended,
    view::{Call, Index},
};

/// Whether the contract allows this end for a valid call: OK, ended by its client, or a temporary
/// error after which the client continues. A protocol violation that the client library detects is
/// never allowed for a writer; for a reader it breaks the order.
pub(super) fn can_go_on(ended: &Ended) -> bool {
    const BY_THE_CLIENT: [&str; 2] = ["LEFT", "CANCELLED"];
    const PASSING: [&str; 5] =
        ["LOST", "TRUNCATED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"];
    let code = ended.code.as_str();
    code == "OK" || BY_THE_CLIENT.contains(&code) || PASSING.contains(&code)
}

/// What a predicate found.
pub(super) struct Finder {
    pub(super) promise: Promise,
    pub(super) broken: Vec<Broken>,
}

impl Finder {
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
