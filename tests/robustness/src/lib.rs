//! Checks the promises of `docs/guarantees.md` under faults.
//!
//! - [`workload`]: clients of every kind that write, read, join, leave, stall and resume, and
//!   record what they see.
//! - [`simulation`]: the real server and the real client library over a simulated network, disk and
//!   clock, where a seed is a run.
//! - [`crash`]: the same clients against real processes that are killed, lose power and meet
//!   failing disks.
//! - [`proxies`]: the same clients, and every kind of call, behind real reverse proxies.
//! - `quartet-check`, beside this package, reports which promises a run broke.

pub mod crash;
mod intercepted;
mod process;
pub mod proxies;
pub mod recorder;
pub mod report;
pub mod simulation;
mod stored;
pub mod workload;
