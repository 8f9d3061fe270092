//! Whether the promises of `docs/guarantees.md` hold when things break.
//!
//! - [`workload`]: clients of every kind that write, read, join, leave, stall and resume, and write
//!   down what they see.
//! - [`simulation`]: the real server and the real client library over a simulated network, disk and
//!   clock, where a seed is a run.
//! - [`crash`]: the same clients against real processes, which are killed, lose power and meet
//!   disks that fail.
//! - `quartet-check`, beside this package, says which promises a run broke.

pub mod crash;
mod intercepted;
pub mod recorder;
pub mod report;
pub mod simulation;
mod stored;
pub mod workload;
