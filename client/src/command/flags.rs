//! The flags that all four commands share.

use std::time::Duration;

use quartet::{methods, post::v1::LogPosition};
use quartet_channel::{Channel, Encoding, SetupError, TraceContext, service_config::ServiceConfig};
use tokio::time::Instant;

use super::channel_flags::{Endpoint, KeepaliveFlags, TlsFlags, TokenFlags, service_config};
use crate::{connect, error::Error, position};

// A doc comment here would be the `about` of every command. The flags of the command come last,
// because the last struct that is flattened gives the command its name and its help; numbers of the
// display order show them first.
#[derive(Debug, Clone, clap::Parser)]
#[allow(missing_docs, reason = "see above")]
pub struct CommandLine<C: clap::Args> {
    /// The flags that all four share.
    #[command(flatten, next_display_order = 100)]
    pub common: CommonFlags,
    /// The flags of this command.
    #[command(flatten, next_display_order = 0, next_help_heading = None::<&str>)]
    pub own: C,
}

/// The flags that all four commands share.
#[derive(Debug, Clone, clap::Args)]
pub struct CommonFlags {
    /// The server: http(s)://HOST:PORT or unix:PATH. Several: dns:///HOST:PORT or ipv4:A:P,B:P
    ///
    /// file:PATH names a file with one address per line, which is read again when it changes.
    #[arg(
        long,
        value_name = "TARGET",
        default_value = connect::DEFAULT_ENDPOINT,
        value_parser = Endpoint
    )]
    pub endpoint: String,
    /// Give up after this time, including resumed calls (500ms, 30s, 5m)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Load balancing and retries: a gRPC service config, as JSON or in a file
    #[arg(long, value_name = "FILE|JSON", value_parser = service_config)]
    pub service_config: Option<ServiceConfig>,
    /// Compress requests and read compressed answers: gzip or zstd
    #[arg(long, value_name = "ENCODING")]
    pub compress: Option<Encoding>,
    /// Report connections and attempts on stderr
    #[arg(long)]
    pub explain: bool,
    /// The trace that the calls belong to (W3C: 00-TRACE-PARENT-01) [default: a new trace]
    #[arg(long, value_name = "CONTEXT", env = "TRACEPARENT")]
    pub traceparent: Option<TraceContext>,
    /// Print one JSON object per line, for programs
    #[arg(long)]
    pub json: bool,
    /// Detection of dead connections.
    #[command(flatten)]
    pub keepalive: KeepaliveFlags,
    /// Encryption.
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Credentials.
    #[command(flatten)]
    pub token: TokenFlags,
}

impl CommonFlags {
    /// Whether the server learns from a token or a certificate who the caller is.
    pub(super) fn has_credentials(&self) -> bool {
        self.tls.cert.is_some() || self.token.credentials().is_some()
    }

    /// A channel for the calls of this command.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub(super) fn connect(&self) -> Result<Channel, Error> {
        Ok(self.channel()?)
    }

    fn channel(&self) -> Result<Channel, SetupError> {
        let config = self.service_config.clone().unwrap_or_default();
        let builder = Channel::builder(self.endpoint.parse()?)
            .tls(&self.tls.settings())?
            .keepalive(self.keepalive.parameters())
            .service_config(config)
            .single_responses(methods::SINGLE_RESPONSES)
            .idempotent(methods::IDEMPOTENT);
        let mut channel = match self.compress {
            Some(encoding) => builder.compression(encoding),
            None => builder,
        }
        .build();
        if let Some(credentials) = self.token.credentials() {
            channel = channel.with_credentials(credentials)?;
        }
        if let Some(trace) = self.traceparent.clone() {
            channel = channel.with_trace_context(trace);
        }
        if let Some(deadline) = self.timeout.and_then(|time| Instant::now().checked_add(time)) {
            channel = channel.with_deadline(deadline);
        }
        Ok(channel)
    }
}

/// The flag of a position after which a command starts.
#[derive(Debug, Clone, clap::Args)]
pub struct AfterFlag {
    /// Only posts after this position
    #[arg(
        long,
        value_name = "N|LOG_ID:N[:CHAIN]",
        value_parser = position::parse,
        allow_negative_numbers = true
    )]
    pub after: Option<LogPosition>,
}

/// Parses a number of which there must be some.
///
/// # Errors
/// It is 0 or not a number.
pub(super) fn at_least_one(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "it must be a whole number, at least 1".to_owned())
}
