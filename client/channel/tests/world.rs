//! Servers in memory whose every answer is scripted: they fail, push back, refuse, hang, say goodbye and hang up as a test
//! likes, frame by frame where that matters. With a paused clock, hours of policy take no time.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response, uri::PathAndQuery};
use quartet_channel::{Address, BoxedIo, Builder, Channel, ServedBy};
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
    /// Answers with the name of the server, when the request is complete.
    Ok,
    /// Answers with this status and no message, at once.
    Fail(Code),
    /// The same with `grpc-retry-pushback-ms`.
    PushBack(Code, &'static str),
    /// Begins its response, then fails.
    FailLate(Code),
    /// Resets the stream with REFUSED_STREAM.
    Refuse,
    /// Resets the stream with another code.
    Reset,
    /// Says nothing.
    Hang,
    /// Ends the connection without a word.
    HangUp,
}

/// What a server says of its health.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Health {
    Serving = 1,
    NotServing = 2,
}

/// A request as a server saw it.
#[derive(Debug)]
pub struct Seen {
    pub server: SocketAddr,
    pub at: Instant,
    pub headers: HeaderMap,
    /// The messages, as far as they were awaited.
    pub body: Vec<u8>,
}

impl Seen {
    pub fn previous_attempts(&self) -> Option<&str> {
        self.headers.get("grpc-previous-rpc-attempts").map(|value| value.to_str().unwrap())
    }
}

/// Some servers, the network to them, and a script that they share.
#[derive(Clone, Default)]
pub struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Those that run, with what ends their connections.
    up: HashMap<SocketAddr, CancellationToken>,
    /// For the next requests. Without one, they are answered with [`Answer::Ok`].
    script: VecDeque<Answer>,
    /// Connections that get a GOAWAY with last stream id 0 for their first request.
    goodbyes: usize,
    /// What servers say to `grpc.health.v1.Health/Watch`.
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
    /// With servers 1 to `count`, all of them running.
    pub fn of(count: u8) -> Self {
        let world = Self::default();
        (1..=count).for_each(|number| world.start(number));
        world
    }

    pub fn start(&self, number: u8) {
        self.0.lock().unwrap().up.insert(server(number), CancellationToken::new());
    }

    /// It ends with its connections, and nobody listens there any more.
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
    pub fn say_goodbye(&self, connections: usize) {
        self.0.lock().unwrap().goodbyes = connections;
    }

    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap().seen)
    }

    /// How many requests there were since [`Self::seen`] was asked.
    pub fn requests(&self) -> usize {
        self.0.lock().unwrap().seen.len()
    }

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
        let goodbye = state.goodbyes.checked_sub(1).map(|left| state.goodbyes = left).is_some();
        let world = self.clone();
        state.tasks.spawn(async move {
            let serving = async {
                // A connection that the client ends is an error to h2 and none to a test.
                let _ = match goodbye {
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
        state.seen.push(Seen { server, at, headers, body: Vec::new() });
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

/// None: the client has gone, or there is nothing more to say.
async fn answer(
    world: World,
    server: SocketAddr,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    hang_up: CancellationToken,
) -> Option<()> {
    if request.uri().path() == "/grpc.health.v1.Health/Watch" {
        let health = world.0.lock().unwrap().health.get(&server).map(watch::Sender::subscribe);
        return say_health(health, respond).await;
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
        Answer::Refuse => {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            None
        }
        Answer::Reset => {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
            None
        }
        Answer::Hang => std::future::pending().await,
        Answer::HangUp => {
            hang_up.cancel();
            std::future::pending().await // a request that is dropped would be reset
        }
    }
}

async fn say_health(
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

fn trailers(code: Code) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", i32::from(code).into());
    trailers
}

fn framed(message: &str) -> Bytes {
    use prost::Message as _;
    let message = text(message).encode_to_vec();
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.put_slice(&message);
    bytes.freeze()
}

/// A connection whose server goes away at the first request, and says that it has seen none.
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

/// The server that answered a unary call.
pub async fn unary(channel: &Channel) -> Result<SocketAddr, Status> {
    let path = PathAndQuery::from_static(PATH);
    let response =
        client(channel).await.unary(tonic::Request::new(text("hello")), path, codec()).await?;
    let served_by = response.extensions().get::<ServedBy>().cloned();
    let said: SocketAddr = response.into_inner().text.parse().unwrap();
    assert_eq!(served_by, Some(ServedBy(Address::Tcp(said))));
    Ok(said)
}

/// The answers to a stream of requests.
pub async fn stream_of(
    channel: &Channel,
    requests: impl Stream<Item = String> + Send + 'static,
) -> Result<Vec<String>, Status> {
    let path = PathAndQuery::from_static(PATH);
    let requests = tonic::Request::new(requests.map(|request| text(&request)));
    let response = client(channel).await.streaming(requests, path, codec()).await?;
    let answers: Vec<_> = response.into_inner().collect().await;
    answers.into_iter().map(|answer| answer.map(|answer| answer.text)).collect()
}

/// All four kinds of call, each with what answered it.
pub async fn all_kinds(channel: &Channel) -> Vec<Result<(), Status>> {
    let path = || PathAndQuery::from_static(PATH);
    let requests = || tonic::Request::new(stream::iter(["a", "b"]).map(text));
    let list = client(channel)
        .await
        .server_streaming(tonic::Request::new(text("a")), path(), codec())
        .await;
    vec![
        unary(channel).await.map(drop),
        list.map(drop),
        client(channel).await.client_streaming(requests(), path(), codec()).await.map(drop),
        client(channel).await.streaming(requests(), path(), codec()).await.map(drop),
    ]
}
