//! One connection, from its handshake to its end.
//!
//! Ages and idle times end in a GOAWAY, after which open streams go on and no new ones come; what is left in the end is
//! cut. The rules and their defaults are grpc-go's ([`ServerParameters`](crate::keepalive::ServerParameters)).

use std::{
    collections::BTreeMap, net::IpAddr, ops::ControlFlow, pin::Pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use h2::{
    Ping, PingPong, Reason, RecvStream,
    server::{Builder, Connection, SendResponse},
};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until, timeout_at},
};

use super::{
    Context, Settings,
    activity::Activity,
    coalesce::Coalesce,
    exchange::{self, STALL},
    guard::Guard,
    peer::Peer,
    stop::Stop,
};
use crate::admission::Place;

/// How long a peer without streams may take to answer a GOAWAY, as in grpc-go.
const GOAWAY_ANSWER: Duration = Duration::from_secs(5);
/// What streams have for their last words when the grace is over, and connections when the drain is.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Streams that one connection may have open: gRPC clients queue beyond it.
const STREAMS: u32 = 256;
/// Streams that were reset before they were accepted, and streams that had to be reset, before the connection ends: h2's
/// and hyper's defaults, which tonic unsets.
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 1024;
/// Bytes of request headers.
const HEADER_LIST: u32 = 16 * 1024;
/// What a stream may send before it is read: as much as the largest request message. No more, because h2 ends a connection
/// on which too many small frames wait to be read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What a connection may send before it is read. Larger than a stream's, so that one upload that is not read does
/// not stop the other streams.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// The largest frame: an upload in HTTP/2's own 16 KiB is read in four times as many pieces, with a system call or two
/// for each.
const FRAME: u32 = 64 * 1024;
/// What the server buffers for a stream whose connection is slow: about one batch.
const SEND_BUFFER: usize = 128 * 1024;

/// Serves a connection until it ends. `unfinished` is given back when the handshake is done, which may take until then.
pub(super) fn serve<IO>(
    io: IO,
    peer: Peer,
    context: Arc<Context>,
    unfinished: Place<IpAddr>,
    until: Instant,
) -> impl Future<Output = Result<(), h2::Error>> + Send
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // In a box, which goes when it is done: a connection shall not hold the room that its handshake took.
    let begun = begin(io, peer, context, unfinished, until).boxed();
    async move {
        match begun.await? {
            Some(mut connection) => connection.run().await,
            None => Ok(()),
        }
    }
}

/// Shakes hands. `None` if that took too long, or the server stops.
async fn begin<IO>(
    io: IO,
    peer: Peer,
    context: Arc<Context>,
    unfinished: Place<IpAddr>,
    until: Instant,
) -> Result<Option<Box<Lifecycle<IO>>>, h2::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::new(Some(unfinished)));
    let Settings { enforcement, frames, .. } = context.settings;
    let io = Coalesce::new(io, activity.clone());
    let guard = Guard::new(io, enforcement, activity.clone()).telling(frames);
    let handshake = timeout_at(until, http2().handshake(guard));
    let Some(Ok(connection)) = context.drain.run_until_cancelled(handshake).await else {
        return Ok(None);
    };
    // In a box of its own: a future that owns what another one borrows may hold it twice.
    Ok(Some(Box::new(Lifecycle::new(connection?, activity, peer, context, until))))
}

/// HTTP/2 as this server speaks it.
fn http2() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(LOCAL_RESETS))
        .max_header_list_size(HEADER_LIST)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// What happens at a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The peer's SETTINGS.
    Handshake,
    /// A look at how long it has been silent.
    Keepalive,
    /// A look at how long it has had no stream.
    Idle,
    /// A look at how long it has taken nothing of what is to be written.
    Blocked,
    /// It is old.
    Age,
    /// It is old, and its grace is over.
    Grace,
    /// A look at whether it may end although the peer did not answer the GOAWAY.
    Goaway,
    /// The end of everything.
    Cut,
}

struct Lifecycle<IO> {
    connection: Connection<Guard<Coalesce<IO>>, Bytes>,
    activity: Arc<Activity>,
    peer: Peer,
    context: Arc<Context>,
    /// Tells this connection's streams to end.
    stop: Stop,
    pings: Option<PingPong>,
    /// How often bytes had come when the last ping was sent, until it is seen that some came since.
    pinged: Option<u64>,
    leaving: bool,
    /// Whether new streams are refused: the peer has had its time to learn that this connection takes no more.
    refusing: bool,
    timers: BTreeMap<Due, Instant>,
    /// Rings at the first of the timers.
    alarm: Pin<Box<Sleep>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Lifecycle<IO> {
    fn new(
        mut connection: Connection<Guard<Coalesce<IO>>, Bytes>,
        activity: Arc<Activity>,
        peer: Peer,
        context: Arc<Context>,
        handshake_until: Instant,
    ) -> Self {
        let keepalive = context.settings.keepalive;
        let now = Instant::now();
        let mut timers = BTreeMap::from([
            (Due::Handshake, handshake_until),
            (Due::Keepalive, now + keepalive.time),
        ]);
        timers.extend(keepalive.max_connection_idle.map(|idle| (Due::Idle, now + idle)));
        timers.extend(keepalive.max_connection_age.map(|age| (Due::Age, now + jittered(age))));
        let pings = connection.ping_pong();
        let stop = Stop::new(&context.drain);
        let alarm = Box::pin(sleep_until(now));
        Self {
            connection,
            activity,
            peer,
            context,
            stop,
            pings,
            pinged: None,
            leaving: false,
            refusing: false,
            timers,
            alarm,
        }
    }

    async fn run(&mut self) -> Result<(), h2::Error> {
        self.set_alarm();
        let (drain, cut) = (self.context.drain.clone(), self.context.cut.clone());
        loop {
            tokio::select! {
                // The clock first: a peer that always has something to say must not stop it.
                biased;
                () = drain.cancelled(), if !self.leaving => self.leave(),
                () = cut.cancelled(), if !self.timers.contains_key(&Due::Cut) => {
                    self.set(Due::Cut, Instant::now() + LAST_WORDS);
                }
                () = self.alarm.as_mut() => {
                    if self.ring().is_break() {
                        return Ok(());
                    }
                }
                call = self.connection.accept() => match call {
                    Some(call) => {
                        let (request, respond) = call?;
                        self.open(request, respond);
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    fn open(&mut self, mut request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        if self.refusing {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        if !self.timers.contains_key(&Due::Blocked) {
            self.set(Due::Blocked, Instant::now() + STALL);
        }
        let Context { service, gauges, cut, tasks, .. } = &*self.context;
        request.extensions_mut().insert(self.stop.clone());
        request.extensions_mut().insert(self.peer.clone());
        let open = (self.activity.open_stream(), gauges.streams.hold());
        tasks.spawn(exchange::serve(request, respond, service.clone(), cut.clone(), open));
    }

    fn set(&mut self, due: Due, at: Instant) {
        self.timers.insert(due, at);
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        // Keepalive is always among them.
        if let Some(first) = self.timers.values().min() {
            self.alarm.as_mut().reset(*first);
        }
    }

    /// Does what is due. Breaks if the connection ends.
    fn ring(&mut self) -> ControlFlow<()> {
        let now = Instant::now();
        let due: Vec<Due> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(due, _)| *due).collect();
        for due in due {
            self.timers.remove(&due);
            self.happen(due, now)?;
        }
        self.set_alarm();
        ControlFlow::Continue(())
    }

    fn happen(&mut self, due: Due, now: Instant) -> ControlFlow<()> {
        let keepalive = self.context.settings.keepalive;
        match due {
            Due::Handshake if !self.activity.is_handshake_finished() => {
                return self.end("no SETTINGS came");
            }
            Due::Handshake => {}
            Due::Keepalive => return self.keep_alive(now),
            Due::Idle => {
                let idle = keepalive.max_connection_idle.unwrap_or_default();
                match self.activity.idle_since().map(|since| since + idle) {
                    Some(at) if at <= now => self.leave(),
                    Some(at) => self.set(Due::Idle, at),
                    None => self.set(Due::Idle, now + idle),
                }
            }
            Due::Blocked => match self.activity.blocked_since().map(|since| since + STALL) {
                Some(at) if at <= now => return self.end("the peer takes nothing"),
                Some(at) => self.set(Due::Blocked, at),
                None if self.has_more_to_say() => self.set(Due::Blocked, now + STALL),
                None => {}
            },
            Due::Age => {
                self.leave();
                if let Some(grace) = keepalive.max_connection_age_grace {
                    self.set(Due::Grace, now + grace);
                }
            }
            Due::Grace => {
                self.stop.age();
                self.set(Due::Cut, now + LAST_WORDS);
            }
            // Not those that are served: what they answered may still be on its way.
            Due::Goaway if !self.has_more_to_say() => {
                return self.end("the GOAWAY was not answered");
            }
            Due::Goaway => {
                self.refusing = true;
                // What bounds a peer that takes nothing of it.
                if !self.timers.contains_key(&Due::Blocked) {
                    self.set(Due::Blocked, now + STALL);
                }
                self.set(Due::Goaway, now + GOAWAY_ANSWER);
            }
            Due::Cut => return self.end("cut with its streams"),
        }
        ControlFlow::Continue(())
    }

    /// Pings a peer that was silent for long, and ends the connection if it stays silent.
    fn keep_alive(&mut self, now: Instant) -> ControlFlow<()> {
        let keepalive = self.context.settings.keepalive;
        let last_read = self.activity.last_read();
        match self.pinged {
            Some(reads) if reads == self.activity.reads() => {
                return self.end("a ping was not answered");
            }
            None if last_read + keepalive.time <= now => {
                self.ping();
                self.pinged = Some(self.activity.reads());
                self.set(Due::Keepalive, now + keepalive.timeout);
            }
            _ => {
                self.pinged = None;
                self.set(Due::Keepalive, last_read + keepalive.time);
            }
        }
        ControlFlow::Continue(())
    }

    fn ping(&mut self) {
        let Some(pings) = &mut self.pings else { return };
        // The answer to the one before, if there was one.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = pings.poll_pong(&mut context);
        // An older ping that has no answer yet asks the same.
        let _ = pings.send_ping(Ping::opaque());
    }

    /// Whether a stream is open, or the end of one is not written yet.
    fn has_more_to_say(&self) -> bool {
        self.connection.has_streams() || self.activity.is_unwritten()
    }

    /// No new streams: those that are open go on.
    fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.connection.graceful_shutdown();
            self.set(Due::Goaway, Instant::now() + GOAWAY_ANSWER);
        }
    }

    fn end(&self, why: &'static str) -> ControlFlow<()> {
        tracing::debug!(why, "connection ended");
        ControlFlow::Break(())
    }
}

/// Give or take a tenth, so that connections that were made together do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}
