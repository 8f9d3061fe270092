//! Whether the promises of `docs/guarantees.md` hold when things break.
//!
//! - [`workload`]: clients of every kind that write, read, join, leave, stall and resume, and write down what they see.
//! - [`simulation`]: the real server and the real client library over a simulated network, disk and clock, where a seed
//!   is a run.
//! - `quartet-check`, beside this package, says which promises a run broke.
//!
//! The same workload runs against real processes that are killed (`tests/crash.rs`).

pub mod recorder;
pub mod simulation;
pub mod workload;
