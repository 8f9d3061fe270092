//! The order checker: compares what clients sent and received in a run with the log as it was read
//! afterwards, and reports broken promises.
//!
//! It trusts neither side. A [`History`] is what a test recorded outside of the server; [`check`]
//! compares it with the promises of `docs/guarantees.md`, one predicate each, and names the
//! promise, the client and the event that breaks it. [`void`] says whether the run was worth
//! checking: a run without faults proves nothing about faults.
//!
//! Pure functions: no clock, no file, no connection. Histories are lines of JSON, so that a run can
//! be checked again elsewhere; the program `quartet-check` does that.
//!
//! Reading order: [`history`], then [`promises`], then [`record`], which converts messages to
//! events.

pub mod history;
pub mod promises;
pub mod record;
mod validity;
mod view;

pub use history::History;
pub use promises::{Broken, Promise, check};
pub use validity::void;
