//! One thing that is tried behind a proxy.

use futures::future::LocalBoxFuture;

use super::site::Site;

/// What is tried at a site of its own.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Whether TLS protects both connections.
    pub(super) encrypted: bool,
    pub(super) run: fn(Site) -> LocalBoxFuture<'static, Verdict>,
}

impl Case {
    /// Without TLS.
    pub(super) const fn new(
        name: &'static str,
        run: fn(Site) -> LocalBoxFuture<'static, Verdict>,
    ) -> Self {
        Self { name, encrypted: false, run }
    }

    /// With TLS.
    pub(super) const fn encrypted(self, name: &'static str) -> Self {
        Self { name, encrypted: true, ..self }
    }
}

/// How a case ended: a few words, or what went wrong.
pub type Verdict = Result<String, String>;

pub(super) fn words(error: impl ToString) -> String {
    error.to_string()
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
