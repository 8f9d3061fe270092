//! What a check found.

/// Nothing, or what the program does wrong, in the words that its learner reads.
pub type Verdict = Result<(), String>;
