//! Why a command failed.

use std::{io, time::Duration};

use crate::error::Error;

/// Why a command failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A call failed.
    #[error("{rpc} at {endpoint}: {error}")]
    Call {
        /// The name of the RPC.
        rpc: &'static str,
        /// The target that was called.
        endpoint: String,
        /// Why the call failed.
        #[source]
        error: Error,
    },
    /// The time of `--timeout` has passed.
    #[error("timed out after {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// The user interrupted a command that was not complete.
    #[error("interrupted")]
    Interrupted,
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// An input cannot be read.
    #[error("cannot read {0}: {1}")]
    Input(String, #[source] io::Error),
    /// The command is complete, but a part of its work failed.
    #[error("{0}")]
    Partial(String),
}
