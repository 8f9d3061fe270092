//! Errors of the log.

use std::{io, sync::Arc};

/// Why an append, a read or a close failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The disk failed, now or during an earlier append. Posts in flight may or may not be stored.
    #[error("the log's disk failed: {0}")]
    Failed(Arc<io::Error>),
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
    /// The log was opened for reading only.
    #[error("the log is read-only")]
    ReadOnly,
    /// Stored bytes do not match their checksum, or are missing.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The segment file.
        file: String,
        /// Bytes from the start of the file to the damage.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        LogError::Failed(Arc::new(error))
    }
}

impl LogError {
    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, LogError::Failed(error) if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another log of this process, has it open.
    #[error("the log in {directory} is in use by another process")]
    InUse {
        /// The directory of the log.
        directory: String,
    },
    /// The directory holds no log, and opening for reading creates none.
    #[error("there is no log in {directory}")]
    NoLog {
        /// The directory.
        directory: String,
    },
    /// The log cannot be read, or is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Log(error.into())
    }
}
