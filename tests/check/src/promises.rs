//! The promises of `docs/guarantees.md`, a predicate each.

use crate::{history::History, view::View};
use finder::Finder;

pub use finder::Broken;
pub use promise::Promise;
pub use time::CATCH_UP;

mod finder;
mod promise;

mod acknowledgements;
mod reading;
mod time;
mod writing;

/// Every promise that this history breaks, each time it does.
pub fn check(history: &History) -> Vec<Broken> {
    let view = View::new(history);
    Promise::ALL.iter().flat_map(|promise| broken(*promise, &view)).collect()
}

/// Each time that a history breaks this promise.
fn broken(promise: Promise, view: &View<'_>) -> Vec<Broken> {
    let mut found = Finder::new(promise);
    match promise {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)] // test code
mod tests;
