//! One connection, from its handshake to its end.
//!
//! Ages and idle times end in a GOAWAY, after which open streams go on and no new ones begin; what
//! is left in the end is cut. The rules and their defaults are grpc-go's
//! ([`ServerParameters`](crate::keepalive::ServerParameters)).

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

use crate::{
    activity::Activity,
    admission::Permit,
    coalesce::Coalesce,
    context::Context,
    exchange,
    guard::Guard,
    peer::Peer,
    settings::{Http2, Settings},
    stop::Stop,
};

/// Serves a connection until it ends. `unfinished` is given back when the handshake is done, which
/// must be by `until`.
pub(crate) fn serve<IO>(
    io: IO,
    peer: Peer,
    context: Arc<Context>,
    unfinished: Permit<IpAddr>,
    until: Instant,
) -> impl Future<Output = Result<(), h2::Error>> + Send
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Boxed until it is done: a connection does not hold what its handshake took.
    let begun = begin(io, peer, context, unfinished, until).boxed();
    async move {
        match begun.await? {
            Some(mut connection) => connection.run().await,
            None => Ok(()),
        }
    }
}

/// The handshake of HTTP/2. `None` if it took too long, or if the server stops.
async fn begin<IO>(
    io: IO,
    peer: Peer,
    context: Arc<Context>,
    unfinished: Permit<IpAddr>,
    until: Instant,
) -> Result<Option<Box<Lifecycle<IO>>>, h2::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::new(Some(unfinished)));
    let settings = &context.settings;
    let io = Coalesce::new(io, settings.write_buffer_bytes, activity.clone());
    let guard = Guard::new(io, settings, activity.clone());
    let handshake = timeout_at(until, http2(&settings.http2).handshake(guard));
    let Some(Ok(connection)) = context.drain.run_until_cancelled(handshake).await else {
        return Ok(None);
    };
    // Boxed: a future that owns what another one borrows may hold it twice.
    Ok(Some(Box::new(Lifecycle::new(connection?, activity, peer, context, until))))
}

fn http2(http2: &Http2) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(http2.max_streams)
        .max_pending_accept_reset_streams(http2.max_pending_resets)
        .max_local_error_reset_streams(Some(http2.max_local_resets))
        .max_header_list_size(http2.max_header_list_bytes)
        .initial_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_frame_size(http2.max_frame_bytes)
        .max_send_buffer_size(http2.send_buffer_bytes);
    builder
}

/// What is due at a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The peer's SETTINGS must have arrived.
    Handshake,
    /// Checks how long the peer has been silent.
    Keepalive,
    /// Checks how long there has been no stream.
    Idle,
    /// Checks how long the peer has taken nothing of what is to be written.
    Blocked,
    /// The connection has reached its maximum age.
    Age,
    /// The grace of its streams after that is over.
    Grace,
    /// Checks whether the connection may end although the peer did not answer the GOAWAY.
    Goaway,
    /// The connection ends with whatever is open.
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
    /// How often bytes had arrived when the last ping was sent, until some have arrived since.
    pinged: Option<u64>,
    leaving: bool,
    /// Whether new streams are refused: the peer has had its time to learn of the GOAWAY.
    refusing: bool,
    timers: BTreeMap<Due, Instant>,
    /// Fires at the first of the timers.
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
        let stop = Stop::of_connection(&context.drain, context.statuses.clone());
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
                // The clock first: a peer that always sends something must not stop it.
                biased;
                () = drain.cancelled(), if !self.leaving => self.leave(),
                () = cut.cancelled(), if !self.timers.contains_key(&Due::Cut) => {
                    self.set(Due::Cut, Instant::now() + self.context.settings.last_words);
                }
                () = self.alarm.as_mut() => {
                    if self.do_what_is_due().is_break() {
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
        // RFC 9113, section 8.3.1: a request whose authority has a user or password is malformed.
        if request.uri().authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return respond.send_reset(Reason::PROTOCOL_ERROR);
        }
        if !self.timers.contains_key(&Due::Blocked) {
            self.set(Due::Blocked, Instant::now() + self.context.settings.stall_timeout);
        }
        request.extensions_mut().insert(self.stop.clone());
        request.extensions_mut().insert(self.peer.clone());
        let Context { settings, tasks, .. } = &*self.context;
        let open = (self.activity.open_stream(), settings.gauges.streams.hold());
        tasks.spawn(exchange::serve(request, respond, &self.context, open));
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

    /// Breaks if the connection ends.
    fn do_what_is_due(&mut self) -> ControlFlow<()> {
        let now = Instant::now();
        let due: Vec<Due> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(due, _)| *due).collect();
        for due in due {
            self.timers.remove(&due);
            self.act(due, now)?;
        }
        self.set_alarm();
        ControlFlow::Continue(())
    }

    fn act(&mut self, due: Due, now: Instant) -> ControlFlow<()> {
        let Settings { keepalive, stall_timeout, last_words, goaway_timeout, .. } =
            self.context.settings;
        match due {
            Due::Handshake if !self.activity.is_handshake_finished() => {
                return self.end("no SETTINGS arrived");
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
            Due::Blocked => {
                match self.activity.blocked_since().map(|since| since + stall_timeout) {
                    Some(at) if at <= now => return self.end("the peer takes nothing"),
                    Some(at) => self.set(Due::Blocked, at),
                    None if self.has_unsent() => self.set(Due::Blocked, now + stall_timeout),
                    None => {}
                }
            }
            Due::Age => {
                self.leave();
                if let Some(grace) = keepalive.max_connection_age_grace {
                    self.set(Due::Grace, now + grace);
                }
            }
            Due::Grace => {
                self.stop.end(self.context.statuses.max_age.clone());
                self.set(Due::Cut, now + last_words);
            }
            // Not while streams are served, or the end of one is still on its way.
            Due::Goaway if !self.has_unsent() => {
                return self.end("the GOAWAY was not answered");
            }
            Due::Goaway => {
                self.refusing = true;
                // This bounds a peer that takes nothing of it.
                if !self.timers.contains_key(&Due::Blocked) {
                    self.set(Due::Blocked, now + stall_timeout);
                }
                self.set(Due::Goaway, now + goaway_timeout);
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
        // Takes the answer to the ping before, if there was one.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = pings.poll_pong(&mut context);
        // If an older ping has no answer yet, that one serves as well.
        let _ = pings.send_ping(Ping::opaque());
    }

    /// Whether a stream is open, or the end of one is not written yet.
    fn has_unsent(&self) -> bool {
        self.connection.has_streams() || self.activity.is_unwritten()
    }

    /// Sends a GOAWAY: no new streams, and those that are open go on.
    fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.connection.graceful_shutdown();
            self.set(Due::Goaway, Instant::now() + self.context.settings.goaway_timeout);
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
