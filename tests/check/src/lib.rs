//! The order checker: what clients sent, were told and saw, and the log as it was read afterwards,
//! in; broken promises out.
//!
//! It believes nobody. A [`History`] is what a test recorded outside of the server; [`check`]
//! compares it with the promises of `docs/guarantees.md`, one predicate each, and names the
//! promise, the client and the event that breaks it. [`void`] says whether the run was worth
//! checking at all: a run in which nothing went wrong proves nothing about what happens when
//! something does.
//!
//! Pure functions: no clock, no file, no connection. Histories are lines of JSON, so that a run can
//! be checked again elsewhere and later; the program `quartet-check` does that.
//!
//! Reading order: [`history`], then [`promises`], then [`record`], which makes events of messages.

pub mod history;
pub mod promises;
pub mod record;
mod validity;
mod view;

pub use history::History;
pub use promises::{Broken, Promise, check};
pub use validity::void;
