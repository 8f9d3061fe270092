//! Servers in memory whose every answer is scripted: they fail, push back, refuse, reset, hang,
//! send GOAWAY and close connections as a test requests, frame by frame where that matters. With a
//! paused clock, hours of policy take no time.
//!
//! They are made of h2, not of tonic: its server would enable features of tonic that the channel
//! must not rely on.

use std::{
    collections::{HashMap, VecDeque},
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response, uri::PathAndQuery};
use quartet_channel::{Address, BoxedIo, Builder, Channel, ServedBy};
use quartet_wire::framing::prefix;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::watch,
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, client::Grpc};
use tonic_prost::ProstCodec;

/// What a server does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Sends the name of the server when the request is complete.
    Ok,
    /// Sends only this status, at once.
    Fail(Code),
    /// Sends only this status, with this `grpc-retry-pushback-ms`.
    PushBack(Code, &'static str),
    /// Begins its response, then sends this status.
    FailLate(Code),
    /// Resets the stream with this code.
    Reset(Reason),
    /// Begins its response with a message, then resets the stream with this code.
    ResetLate(Reason),
    /// Answers as a proxy or a web server does: an HTTP status, a content type and a body.
    Page { status: u16, content_type: Option<&'static str>, body: &'static str },
    /// Begins its response with these headers besides the usual ones, then goes on as [`Self::Ok`].
    HeadWith(&'static [(&'static str, &'static str)]),
    /// Begins its response with a message, sends these bytes, then these trailers or, without any,
    /// an empty DATA frame with END_STREAM.
    End(&'static [u8], &'static [(&'static str, &'static str)]),
    /// Waits, then resets the stream with CANCEL: before the response begins, or after.
    CancelAfter(Duration, CancelAt),
    /// Begins its response, then sends nothing more.
    Stall,
    /// Sends nothing.
    Hang,
    /// Closes the connection.
    HangUp,
}

/// When a server cancels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CancelAt {
    Head,
    Body,
}

/// The health that a server reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Health {
    Serving = 1,
    NotServing = 2,
}

/// A request as a server received it.
#[derive(Debug)]
pub struct Seen {
    pub server: SocketAddr,
    pub at: Instant,
    pub headers: HeaderMap,
    /// The messages that the server read, with their prefixes.
    pub body: Vec<u8>,
    /// The code of the client's RST_STREAM, where the server hangs.
    pub reset: Option<Reason>,
}

impl Seen {
    pub fn previous_attempts(&self) -> Option<&str> {
        self.headers.get("grpc-previous-rpc-attempts").map(|value| value.to_str().unwrap())
    }
}

/// Servers, the network to them, and a script that they share.
#[derive(Clone, Default)]
pub struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The servers that run, each with the token that closes its connections.
    up: HashMap<SocketAddr, CancellationToken>,
    /// The answers to the next requests. All others are answered with [`Answer::Ok`].
    script: VecDeque<Answer>,
    /// How many of the next connections get a GOAWAY with last stream id 0 for their first request.
    goaways: usize,
    /// The answers of servers to `grpc.health.v1.Health/Watch`.
    health: HashMap<SocketAddr, watch::Sender<Option<Health>>>,
    seen: Vec<Seen>,
    dials: Vec<(SocketAddr, Instant)>,
    tasks: JoinSet<()>,
}

pub fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 1))
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Text {
    #[prost(string, tag = "1")]
    pub text: String,
}

fn text(text: &str) -> Text {
    Text { text: text.into() }
}

pub const PATH: &str = "/test.Echo/Call";

impl World {
    /// Servers 1 to `count`, all of them running.
    pub fn of(count: u8) -> Self {
        let world = Self::default();
        (1..=count).for_each(|number| world.start(number));
        world
    }

    pub fn start(&self, number: u8) {
        self.0.lock().unwrap().up.insert(server(number), CancellationToken::new());
    }

    /// Stops a server: its connections close, and its address refuses new ones.
    pub fn kill(&self, number: u8) {
        self.0.lock().unwrap().up.remove(&server(number)).unwrap().cancel();
    }

    /// Until this is set, a server has no health service.
    pub fn set_health(&self, number: u8, health: Option<Health>) {
        let mut state = self.0.lock().unwrap();
        state.health.entry(server(number)).or_default().send_replace(health);
    }

    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.lock().unwrap().script.extend(answers);
    }

    /// The next connections get a GOAWAY that excludes their first request.
    pub fn send_goaway(&self, connections: usize) {
        self.0.lock().unwrap().goaways = connections;
    }

    /// The requests since the last call of this.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap().seen)
    }

    /// The number of requests since the last call of [`Self::seen`].
    pub fn requests(&self) -> usize {
        self.0.lock().unwrap().seen.len()
    }

    /// The attempts to connect since the last call of this.
    pub fn dials(&self) -> Vec<(SocketAddr, Instant)> {
        std::mem::take(&mut self.0.lock().unwrap().dials)
    }

    /// A channel to servers 1 to `count`, running or not.
    pub fn builder(&self, count: u8, config: &str) -> Builder {
        let addresses: Vec<_> = (1..=count).map(|number| server(number).to_string()).collect();
        self.builder_to(&format!("ipv4:{}", addresses.join(",")), config)
    }

    pub fn builder_to(&self, target: &str, config: &str) -> Builder {
        let world = self.clone();
        Channel::builder(target.parse().unwrap())
            .service_config(config.parse().unwrap())
            .dialer(move |address| world.clone().dial(address))
    }

    pub fn channel(&self, count: u8, config: &str) -> Channel {
        self.builder(count, config).build()
    }

    async fn dial(self, address: Address) -> io::Result<BoxedIo> {
        let Address::Tcp(address) = address else { panic!("{address}") };
        let mut state = self.0.lock().unwrap();
        state.dials.push((address, Instant::now()));
        let Some(life) = state.up.get(&address).cloned() else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (client, io) = tokio::io::duplex(64 * 1024);
        let goaway = state.goaways.checked_sub(1).map(|left| state.goaways = left).is_some();
        let world = self.clone();
        state.tasks.spawn(async move {
            let serving = async {
                // A connection that the client closes is an error for h2, but not for a test.
                let _ = match goaway {
                    true => exclude_first(io).await,
                    false => serve(world, address, io).await.map_err(io::Error::other),
                };
            };
            life.run_until_cancelled(serving).await;
        });
        Ok(Box::new(client))
    }

    fn next_answer(&self, server: SocketAddr, request: &Request<RecvStream>) -> (usize, Answer) {
        let mut state = self.0.lock().unwrap();
        let (at, headers) = (Instant::now(), request.headers().clone());
        state.seen.push(Seen { server, at, headers, body: Vec::new(), reset: None });
        (state.seen.len() - 1, state.script.pop_front().unwrap_or(Answer::Ok))
    }
}

async fn serve(world: World, server: SocketAddr, io: DuplexStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(io).await?;
    let hang_up = CancellationToken::new();
    let mut answers = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = hang_up.cancelled() => return Ok(()),
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        answers.spawn(answer(world.clone(), server, request, respond, hang_up.clone()));
    }
}

/// Answers a request. `None`: the client is gone, or nothing is left to send.
async fn answer(
    world: World,
    server: SocketAddr,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    hang_up: CancellationToken,
) -> Option<()> {
    if request.uri().path() == "/grpc.health.v1.Health/Watch" {
        let health = world.0.lock().unwrap().health.get(&server).map(watch::Sender::subscribe);
        return report_health(health, respond).await;
    }
    let (index, answer) = world.next_answer(server, &request);
    match answer {
        Answer::Ok => {
            let mut body = request.into_body();
            while let Some(Ok(bytes)) = body.data().await {
                body.flow_control().release_capacity(bytes.len()).ok()?;
                if let Some(seen) = world.0.lock().unwrap().seen.get_mut(index) {
                    seen.body.extend(bytes);
                }
            }
            let mut stream = respond.send_response(head(None), false).ok()?;
            stream.send_data(framed(&server.to_string()), false).ok()?;
            stream.send_trailers(trailers(Code::Ok)).ok()
        }
        Answer::Fail(code) => respond.send_response(head(Some(code)), true).map(drop).ok(),
        Answer::PushBack(code, millis) => {
            let mut head = head(Some(code));
            head.headers_mut().insert("grpc-retry-pushback-ms", millis.parse().unwrap());
            respond.send_response(head, true).map(drop).ok()
        }
        Answer::FailLate(code) => {
            let mut stream = respond.send_response(head(None), false).ok()?;
            stream.send_trailers(trailers(code)).ok()
        }
        Answer::Reset(reason) => {
            respond.send_reset(reason);
            None
        }
        Answer::ResetLate(reason) => {
            let mut stream = respond.send_response(head(None), false).ok()?;
            stream.send_data(framed("late"), false).ok()?;
            // h2 drops queued DATA of a stream that is reset: the message must leave first.
            tokio::time::sleep(Duration::from_millis(1)).await;
            stream.send_reset(reason);
            None
        }
        Answer::Page { status, content_type, body } => {
            let mut head = Response::builder().status(status);
            if let Some(content_type) = content_type {
                head = head.header("content-type", content_type);
            }
            let head = head.body(()).unwrap();
            let mut stream = respond.send_response(head, body.is_empty()).ok()?;
            if !body.is_empty() {
                stream.send_data(body.into(), true).ok()?;
            }
            Some(())
        }
        Answer::HeadWith(headers) => {
            let mut head = head(None);
            head.headers_mut().extend(header_map(headers));
            let mut stream = respond.send_response(head, false).ok()?;
            stream.send_data(framed(&server.to_string()), false).ok()?;
            stream.send_trailers(trailers(Code::Ok)).ok()
        }
        Answer::End(bytes, trailers) => {
            let mut stream = respond.send_response(head(None), false).ok()?;
            stream.send_data(framed(&server.to_string()), false).ok()?;
            stream.send_data(bytes.into(), false).ok()?;
            match trailers {
                [] => stream.send_data(Bytes::new(), true).ok(),
                trailers => stream.send_trailers(header_map(trailers)).ok(),
            }
        }
        Answer::CancelAfter(time, at) => {
            let stream = match at {
                CancelAt::Head => None,
                CancelAt::Body => Some(respond.send_response(head(None), false).ok()?),
            };
            tokio::time::sleep(time).await;
            match stream {
                None => respond.send_reset(Reason::CANCEL),
                Some(mut stream) => stream.send_reset(Reason::CANCEL),
            }
            None
        }
        Answer::Stall => {
            let _stream = respond.send_response(head(None), false).ok()?;
            pending().await
        }
        Answer::Hang => {
            let reset = poll_fn(|cx| respond.poll_reset(cx)).await.ok()?;
            if let Some(seen) = world.0.lock().unwrap().seen.get_mut(index) {
                seen.reset = Some(reset);
            }
            None
        }
        Answer::HangUp => {
            hang_up.cancel();
            pending().await // dropping the request would reset its stream
        }
    }
}

async fn report_health(
    health: Option<watch::Receiver<Option<Health>>>,
    mut respond: SendResponse<Bytes>,
) -> Option<()> {
    let Some(mut health) = health else {
        return respond.send_response(head(Some(Code::Unimplemented)), true).map(drop).ok();
    };
    let mut stream = respond.send_response(head(None), false).ok()?;
    loop {
        if let Some(status) = *health.borrow_and_update() {
            let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, status as u8]);
            stream.send_data(message, false).ok()?;
        }
        health.changed().await.ok()?;
    }
}

fn head(status: Option<Code>) -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    if let Some(status) = status {
        response.headers_mut().extend(trailers(status));
    }
    response
}

fn header_map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    let header = |&(name, value)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
    };
    headers.iter().map(header).collect()
}

fn trailers(code: Code) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", i32::from(code).into());
    trailers
}

fn framed(message: &str) -> Bytes {
    use prost::Message as _;
    let message = text(message).encode_to_vec();
    let mut bytes = BytesMut::from(&prefix(message.len().try_into().unwrap())[..]);
    bytes.put_slice(&message);
    bytes.freeze()
}

/// Serves a connection until the first request, then sends a GOAWAY that excludes it.
async fn exclude_first(mut io: DuplexStream) -> io::Result<()> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    io.write_all(&SETTINGS).await?;
    io.read_exact(&mut [0; 24]).await?; // the preface
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io.read_exact(&mut vec![0; length as usize]).await?;
        if head[3] == HEADERS {
            return io.write_all(&GOAWAY).await;
        }
    }
}

fn codec() -> ProstCodec<Text, Text> {
    ProstCodec::default()
}

async fn client(channel: &Channel) -> Grpc<Channel> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    client
}

/// Makes a unary call, and returns the server that answered it.
pub async fn unary(channel: &Channel) -> Result<SocketAddr, Status> {
    let path = PathAndQuery::from_static(PATH);
    let response =
        client(channel).await.unary(tonic::Request::new(text("hello")), path, codec()).await?;
    let served_by = response.extensions().get::<ServedBy>().cloned();
    let server: SocketAddr = response.into_inner().text.parse().unwrap();
    assert_eq!(served_by, Some(ServedBy(Address::Tcp(server))));
    Ok(server)
}

/// Makes a bidirectional call, and returns the answers to its requests.
pub async fn stream_of(
    channel: &Channel,
    requests: impl Stream<Item = String> + Send + 'static,
) -> Result<Vec<String>, Status> {
    stream_request(channel, tonic::Request::new(requests)).await
}

/// The same with a request that a test has prepared.
pub async fn stream_request(
    channel: &Channel,
    request: tonic::Request<impl Stream<Item = String> + Send + 'static>,
) -> Result<Vec<String>, Status> {
    let path = PathAndQuery::from_static(PATH);
    let requests = request.map(|requests| requests.map(|request| text(&request)));
    let response = client(channel).await.streaming(requests, path, codec()).await?;
    let answers: Vec<_> = response.into_inner().collect().await;
    answers.into_iter().map(|answer| answer.map(|answer| answer.text)).collect()
}

/// Makes a call of each of the four kinds, one after another, reads each to its end, and returns
/// their results.
pub async fn all_kinds(channel: &Channel) -> Vec<Result<(), Status>> {
    let path = || PathAndQuery::from_static(PATH);
    let requests = || tonic::Request::new(stream::iter(["a", "b"]).map(text));
    let list = async {
        let request = tonic::Request::new(text("a"));
        let response = client(channel).await.server_streaming(request, path(), codec()).await?;
        response.into_inner().try_collect::<Vec<_>>().await.map(drop)
    };
    let upload = async {
        client(channel).await.client_streaming(requests(), path(), codec()).await.map(drop)
    };
    let feed = async {
        let response = client(channel).await.streaming(requests(), path(), codec()).await?;
        response.into_inner().try_collect::<Vec<_>>().await.map(drop)
    };
    vec![unary(channel).await.map(drop), list.await, upload.await, feed.await]
}
