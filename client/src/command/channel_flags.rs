//! The flags that describe a channel, and their conversion to settings of [`quartet_channel`].

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use clap::{Args, builder::TypedValueParser, error::ErrorKind};
use quartet_channel::{
    Credentials, InvalidTarget, Target, TlsSettings, Token, TokenSource,
    keepalive::ClientParameters,
    service_config::{InvalidConfig, ServiceConfig},
};
use quartet_wire::host_port::{has_userinfo, redacted};

/// Keepalive: how dead connections are detected.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Keepalive")]
pub struct KeepaliveFlags {
    /// Ping a server that was silent for this long; without it, never
    ///
    /// A dead link is then noticed when TCP gives up, which may take a quarter of an hour.
    #[arg(long, value_name = "DURATION", value_parser = at_least_a_second)]
    pub keepalive_time: Option<Duration>,
    /// Close the connection if nothing arrives for this long after a ping
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "20s",
        value_parser = humantime::parse_duration
    )]
    pub keepalive_timeout: Duration,
    /// Ping also when no call is open
    #[arg(long)]
    pub keepalive_permit_without_stream: bool,
}

impl Default for KeepaliveFlags {
    fn default() -> Self {
        let ClientParameters { time, timeout, permit_without_stream } = Default::default();
        Self {
            keepalive_time: time,
            keepalive_timeout: timeout,
            keepalive_permit_without_stream: permit_without_stream,
        }
    }
}

impl KeepaliveFlags {
    /// The parameters for the channel.
    pub fn parameters(&self) -> ClientParameters {
        ClientParameters {
            time: self.keepalive_time,
            timeout: self.keepalive_timeout,
            permit_without_stream: self.keepalive_permit_without_stream,
        }
    }
}

/// TLS: which servers to trust, and which certificate to present.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Encryption (https:// endpoints)")]
pub struct TlsFlags {
    /// Trust servers of this CA (PEM), instead of those that the system trusts
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Present this certificate to the server (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must be for, if it is not that of the endpoint
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
}

impl TlsFlags {
    /// The settings for the channel.
    pub fn settings(&self) -> TlsSettings {
        let Self { ca, cert, key, server_name } = self.clone();
        TlsSettings { ca, cert, key, server_name }
    }
}

/// Credentials: the source of the tokens that calls carry.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Credentials")]
pub struct TokenFlags {
    /// Call with this token; everyone who can list processes can read it here
    #[arg(long, value_name = "TOKEN", group = "token_source")]
    pub token: Option<Token>,
    /// Call with the token in this file, which is read for every call
    #[arg(long, value_name = "FILE", group = "token_source")]
    pub token_file: Option<PathBuf>,
    /// Call with the token that this command prints; it runs again when the token has expired
    #[arg(long, value_name = "COMMAND", group = "token_source")]
    pub token_command: Option<String>,
    /// Send the token over http:// too, where others on the network can read it
    #[arg(long, requires = "token_source")]
    pub insecure_token: bool,
}

impl TokenFlags {
    /// The credentials for the channel, if a flag names a source of tokens.
    pub fn credentials(&self) -> Option<Credentials> {
        let Self { token, token_file, token_command, insecure_token } = self.clone();
        let source = token
            .map(TokenSource::Fixed)
            .or(token_file.map(TokenSource::File))
            .or(token_command.map(TokenSource::Command))?;
        let credentials = Credentials::new(source);
        Some(if insecure_token { credentials.over_plaintext() } else { credentials })
    }
}

/// Parses the time of a keepalive flag. grpc-go silently raises shorter ones: in its clients, to
/// ten seconds.
///
/// # Errors
/// The text is not a duration, or the duration is shorter than one second.
pub fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) { Err("it must be at least 1s".to_owned()) } else { Ok(time) }
}

/// Parses a service config: JSON, which starts with a brace, or the path of a file.
///
/// # Errors
/// What is wrong with the config, and where.
pub(super) fn service_config(text: &str) -> Result<ServiceConfig, String> {
    if text.trim_start().starts_with('{') {
        return text.parse().map_err(|error: InvalidConfig| error.to_string());
    }
    let json =
        std::fs::read_to_string(text).map_err(|error| format!("cannot read the file: {error}"))?;
    json.parse().map_err(|error: InvalidConfig| error.to_string())
}

/// Checks an endpoint, and keeps its text for messages. Unlike clap's own parsers, it does not
/// repeat a value that contains a password.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint;

impl TypedValueParser for Endpoint {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let text = value.to_string_lossy();
        match text.parse::<Target>() {
            Err(InvalidTarget { problem, .. }) if has_userinfo(&text) => {
                let shown = redacted(&text);
                let arg = arg.map(ToString::to_string).unwrap_or_default();
                let message = format!("invalid value '{shown}' for '{arg}': {problem}\n");
                Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
            }
            _ => TypedValueParser::parse_ref(&(endpoint as fn(&str) -> _), command, arg, value),
        }
    }
}

/// Checks an endpoint.
///
/// # Errors
/// What is wrong with it.
fn endpoint(text: &str) -> Result<String, InvalidTarget> {
    text.parse::<Target>().map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::DEFAULT_ENDPOINT;

    #[test]
    fn an_endpoint_that_cannot_work_is_refused_with_a_reason() {
        for (text, problem) in
            [("", "not a URL"), ("http://", "not a URL"), ("ftp://localhost", "must start with")]
        {
            let error = endpoint(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn http_https_and_unix_sockets_are_accepted() {
        for text in [DEFAULT_ENDPOINT, "https://[::1]:9001", "unix:/run/quartet.sock"] {
            assert!(endpoint(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn keepalive_flags_default_to_those_of_the_channel() {
        assert_eq!(KeepaliveFlags::default().parameters(), ClientParameters::default());
    }

    #[test]
    fn debug_output_of_the_flags_shows_no_token() {
        let token = Some("c2VjcmV0".parse().unwrap());
        let flags = TokenFlags { token, ..TokenFlags::default() };
        assert!(flags.credentials().is_some());
        assert!(!format!("{flags:?}").contains("c2VjcmV0"));
    }
}
