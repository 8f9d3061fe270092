//! The error of every part.

/// A bench says what went wrong, and a person reads it.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
