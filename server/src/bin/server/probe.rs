//! `server health`: asks a server for its health, as an orchestrator's probe does.

use std::{
    io::{self, Write},
    pin::pin,
    time::Duration,
};

use async_stream::try_stream;
use clap::Args;
use futures::{Stream, StreamExt as _};
use quartet::health::v1::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use quartet_client::{
    Channel, Error,
    command::{TlsFlags, TokenFlags},
    resume::{Disconnected, ResumableCall, ResumePolicy, Step, resumed},
};
use tokio::time::timeout;
use tonic::Status;

/// Ask a server for its health: SERVING, NOT_SERVING or UNKNOWN.
///
/// Exit code: 0 if it is SERVING, otherwise 1. With --watch it runs until Ctrl-C, and waits up to a
/// minute for a server that restarts.
#[derive(Debug, Clone, Args)]
pub(crate) struct Probe {
    /// The server: http://HOST:PORT, https://HOST:PORT or unix:PATH.
    #[arg(long, value_name = "URL", default_value = quartet_client::connect::DEFAULT_ENDPOINT)]
    pub(crate) endpoint: String,

    /// The service, such as post.v1.PostService. Default: the server as a whole.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub(crate) service: String,

    /// How long the server may take to answer.
    #[arg(
        long,
        default_value = "5s",
        value_name = "DURATION",
        value_parser = humantime::parse_duration
    )]
    pub(crate) timeout: Duration,

    /// Keep running, and print the health whenever it changes.
    #[arg(long)]
    pub(crate) watch: bool,

    /// The TLS flags.
    #[command(flatten)]
    pub(crate) tls: TlsFlags,

    /// The token, if health is not open to everyone.
    #[command(flatten)]
    pub(crate) token: TokenFlags,
}

/// Why a server's health cannot be determined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// The call failed.
    #[error("cannot ask {endpoint}: {error}")]
    Call {
        /// The server.
        endpoint: String,
        /// The cause. Not a source: its message includes its own causes.
        error: Error,
    },
    /// The answer cannot be printed.
    #[error("cannot write to stdout")]
    Output(#[from] io::Error),
}

impl Probe {
    fn connect(&self) -> Result<Channel, Error> {
        let channel = quartet_channel::connect(&self.endpoint, &self.tls.settings())?;
        match self.token.credentials() {
            Some(credentials) => Ok(channel.with_credentials(credentials)?),
            None => Ok(channel),
        }
    }

    /// Asks, prints each answer as a line, and returns whether the server is SERVING.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub(crate) async fn run(&self, out: &mut impl Write) -> Result<bool, ProbeError> {
        let failed = |error| ProbeError::Call { endpoint: self.endpoint.clone(), error };
        let refused = |status: Status| failed(status.into());
        let channel = self.connect().map_err(failed)?;
        let policy = ResumePolicy::for_method(&channel, quartet::methods::grpc_health_v1::WATCH);
        let mut client = HealthClient::new(channel);
        let request = HealthCheckRequest { service: self.service.clone() };
        if !self.watch {
            let answer = timeout(self.timeout, client.check(request)).await;
            let late = |_| refused(Status::deadline_exceeded("it did not answer in time"));
            let answer = answer.map_err(late)?.map_err(refused)?;
            return Ok(say(out, &answer.into_inner())?);
        }
        let mut events = pin!(resumed(policy, Watch { client, request }));
        while let Some(event) = events.next().await {
            match event.map_err(failed)? {
                WatchEvent::Health(answer) => _ = say(out, &answer)?,
                WatchEvent::Disconnected(Disconnected { cause, .. }) => {
                    tracing::info!("{cause}; trying again");
                }
            }
        }
        // A watch must not end.
        Err(failed(Error::Truncated))
    }
}

/// A watch that resumes after the server was down.
struct Watch {
    client: HealthClient<Channel>,
    request: HealthCheckRequest,
}

enum WatchEvent {
    Health(HealthCheckResponse),
    Disconnected(Disconnected),
}

impl ResumableCall<WatchEvent> for Watch {
    fn attempt(&mut self) -> impl Stream<Item = Result<Step<WatchEvent>, Error>> + Send {
        try_stream! {
            let mut answers = self.client.watch(self.request.clone()).await?.into_inner();
            yield Step::ResponseBegan;
            while let Some(answer) = answers.message().await? {
                yield Step::Progress;
                yield Step::Event(WatchEvent::Health(answer));
            }
            Err(Error::Truncated)?;
        }
    }

    fn disconnected(pause: Disconnected) -> WatchEvent {
        WatchEvent::Disconnected(pause)
    }

    fn reconnected(&self) -> Option<WatchEvent> {
        None // the next answer implies it
    }
}

fn say(out: &mut impl Write, answer: &HealthCheckResponse) -> io::Result<bool> {
    writeln!(out, "{}", answer.status().as_str_name())?;
    out.flush()?;
    Ok(answer.status() == ServingStatus::Serving)
}
