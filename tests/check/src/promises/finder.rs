//! What the predicates share.

use super::promise::{Broken, Promise};
use crate::{
    history::Ended,
    view::{Call, Index},
};

/// Whether a call ended as the contract has it for calls that are made rightly: well, by its client, or by something that
/// passes and after which the client goes on. What the client library refuses to believe is none of these for a writer;
/// for a reader it is a matter of order.
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
