//! Events for people who want to see what a channel does.

/// The [`tracing`] target of the events that explain a channel to its user: the state of each
/// connection, each attempt of a call, and the delays between attempts. They have level DEBUG.
pub const EXPLAIN: &str = "quartet_channel::explain";
