//! The channel against servers whose every answer is scripted by the test.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "a test binary has no users")]

mod world;

mod balancing;
mod hedging;
mod links;
mod resets;
mod responses;
mod retry;
