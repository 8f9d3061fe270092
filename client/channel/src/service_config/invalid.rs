//! Why a service config is refused.

/// Why a service config is refused. It is refused as a whole, because half of one may be worse than
/// none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidConfig {
    /// Where the error is: `methodConfig[0].retryPolicy.maxAttempts`.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

/// Refuses the value at this path.
pub(super) fn refuse<T>(
    path: impl Into<String>,
    problem: impl Into<String>,
) -> Result<T, InvalidConfig> {
    Err(InvalidConfig { path: path.into(), problem: problem.into() })
}
