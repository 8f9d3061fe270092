//! From the text of an endpoint to a channel.

use quartet_channel::{Channel, TlsSettings};

use crate::error::Error;

/// The endpoint of the clients, unless one is configured.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:9001";

/// A channel to `endpoint` with default settings. It connects with its first call, and again after
/// a connection is lost.
///
/// `endpoint` is `http://HOST:PORT`, `https://HOST:PORT`, `unix:PATH` or another
/// [`Target`](quartet_channel::Target). Call it within a tokio runtime.
///
/// # Errors
/// [`Error::Setup`].
pub fn connect(endpoint: &str) -> Result<Channel, Error> {
    Ok(quartet_channel::connect(endpoint, &TlsSettings::default())?)
}
