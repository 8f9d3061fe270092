//! From the text of an endpoint to a channel.

use quartet::methods;
use quartet_channel::{Channel, SetupError, TlsSettings};

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
    let builder = Channel::builder(endpoint.parse().map_err(SetupError::from)?);
    let builder = builder.tls(&TlsSettings::default())?;
    let builder = builder.single_responses(methods::SINGLE_RESPONSES);
    Ok(builder.idempotent(methods::IDEMPOTENT).build())
}
