//! One thing that is tried behind a proxy.

use futures::future::LocalBoxFuture;

use super::site::Site;

/// A case: its name, and what it does at a site of its own.
pub(super) type Case = (&'static str, fn(Site) -> LocalBoxFuture<'static, Verdict>);

/// How a case ended: a few words, or what went wrong.
pub type Verdict = Result<String, String>;

pub(super) fn words(error: impl ToString) -> String {
    error.to_string()
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
