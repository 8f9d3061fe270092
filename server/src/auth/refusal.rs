//! Why a token is refused.

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It was valid until its `exp`.
    #[error("it has expired")]
    Expired,
    /// It cannot be trusted.
    #[error("{0}")]
    Invalid(String),
}
