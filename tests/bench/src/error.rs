//! Errors of a bench: text for the person who runs it.

/// Any error; a bench ends with it.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result with any error.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
