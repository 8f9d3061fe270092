//! A gRPC client as fast as the `h2` crate allows.

use std::{future::poll_fn, path::Path};

use bytes::Bytes;
use h2::{
    Ping, RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request};
use quartet_channel::{Address, Dialer, Tls, TlsSettings};
use tokio::task::JoinSet;

use crate::{
    error::Result,
    wire::{MessageSplitter, put_frame},
};

/// So large that a server never waits for the window of a reader that keeps up.
pub(super) const WINDOW: u32 = 8 * 1024 * 1024;
/// Fewer frame headers, and fewer writes for servers that make use of it.
pub(super) const FRAME: u32 = 1024 * 1024;

/// A connection, which is closed when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    _driver: JoinSet<()>,
}

impl Connection {
    /// Connects in plaintext, or over TLS if a CA is given.
    pub(super) async fn open(address: &str, ca: Option<&Path>) -> Result<Self> {
        let flags = TlsSettings { ca: ca.map(Path::to_owned), ..TlsSettings::default() };
        let tls = ca.map(|_| Tls::new("127.0.0.1", &flags)).transpose()?;
        let stream = Dialer { tls }.dial(&Address::Name(address.to_owned())).await?;
        let mut builder = Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        builder.max_frame_size(FRAME).enable_push(false);
        let (requests, mut connection) = builder.handshake(stream).await?;
        let mut ping = connection.ping_pong().ok_or("invariant: pings are taken once")?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Calls on the connection report why it ended.
            let _ = connection.await;
        });
        // Our server accepts at most 64 unfinished handshakes from one address.
        ping.ping(Ping::opaque()).await?;
        Ok(Self { requests, _driver: driver })
    }

    /// Begins a call of the Post service.
    pub(super) async fn begin(&self, method: &str) -> Result<Call> {
        let request = Request::post(format!("http://bench/post.v1.PostService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let mut requests = self.requests.clone().ready().await?;
        let (response, sender) = requests.send_request(request.body(())?, false)?;
        Ok(Call { requests: Requests(sender), responses: Responses(response) })
    }

    /// Begins a call with one request message.
    pub(super) async fn ask(
        &self,
        method: &str,
        message: &impl prost::Message,
    ) -> Result<ResponseMessages> {
        let mut call = self.begin(method).await?;
        let mut frame = Vec::new();
        put_frame(message, &mut frame);
        call.requests.send(frame.into()).await?;
        call.requests.finish()?;
        call.responses.messages().await
    }
}

/// A call with its two directions separated.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) requests: Requests,
    pub(super) responses: Responses,
}

/// The requests of a call.
#[derive(Debug)]
pub(super) struct Requests(SendStream<Bytes>);

impl Requests {
    /// Sends framed messages within the server's window.
    pub(super) async fn send(&mut self, mut frames: Bytes) -> Result<()> {
        while !frames.is_empty() {
            self.0.reserve_capacity(frames.len());
            if self.0.capacity() == 0 {
                let more = poll_fn(|context| self.0.poll_capacity(context)).await;
                more.ok_or("the server ended the call")??;
            }
            let part = frames.split_to(self.0.capacity().min(frames.len()));
            self.0.send_data(part, false)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        Ok(self.0.send_data(Bytes::new(), true)?)
    }
}

/// The responses of a call before its headers.
#[derive(Debug)]
pub(super) struct Responses(ResponseFuture);

impl Responses {
    pub(super) async fn messages(self) -> Result<ResponseMessages> {
        let (head, body) = self.0.await?.into_parts();
        if head.headers.contains_key("grpc-status") {
            ended_well(&head.headers)?;
        }
        Ok(ResponseMessages { body, frames: MessageSplitter::default() })
    }
}

/// The response messages of a call.
#[derive(Debug)]
pub(super) struct ResponseMessages {
    body: RecvStream,
    frames: MessageSplitter,
}

impl ResponseMessages {
    /// Waits for a chunk and passes on the messages that are complete with it. False: the call
    /// ended OK.
    pub(super) async fn read(&mut self, each: impl FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let Some(chunk) = self.body.data().await else {
            let trailers = self.body.trailers().await?.ok_or("a call ended without trailers")?;
            ended_well(&trailers)?;
            return Ok(false);
        };
        let chunk = chunk?;
        self.body.flow_control().release_capacity(chunk.len())?;
        self.frames.push(&chunk, each)?;
        Ok(true)
    }

    /// Reads to the end.
    pub(super) async fn read_all(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        while self.read(&mut each).await? {}
        if self.frames.is_empty() { Ok(()) } else { Err("a call ended within a message".into()) }
    }
}

fn ended_well(headers: &HeaderMap) -> Result<()> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(()),
        code => Err(format!("grpc-status {code}: {}", text("grpc-message")).into()),
    }
}
