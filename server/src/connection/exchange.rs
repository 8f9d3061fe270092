//! One stream of HTTP/2: a request in, a response out.
//!
//! The response's body is asked for more only when the peer has granted room for it. So a reader is at most one batch
//! ahead of its client, and nothing of a response waits in buffers that nobody reads. A peer that grants no room for
//! [`STALL`] loses the stream, as does one whose deadline passes meanwhile.
//!
//! Dropping the exchange resets the stream and frees all that the call holds: cursor, permits, its part of the pipe.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use quartet_runtime::gauge::Held;
use quartet_wire::framing::Framing;
use tokio::{
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{HttpService, Lane, activity::OpenStream, woken::Woken};
use crate::{
    chain::{call::Call, deadline::Deadline},
    error,
};

/// How long a peer may grant no room for a response that waits for it.
pub const STALL: Duration = Duration::from_secs(30);

/// Serves a request. One that has no answer when `cut` is cancelled gets UNAVAILABLE; a response under way ends with its
/// connection. `open` is held for as long as it takes.
pub(super) fn serve(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    service: HttpService,
    cut: CancellationToken,
    open: (OpenStream, Held),
) -> impl Future<Output = ()> + Send {
    let request = request.map(RequestBody::new);
    // In a box, which goes when the response begins: a stream that is open for long shall not hold what that took.
    let begun = begin(request, respond, service, cut).boxed();
    async move {
        let Some((mut outgoing, mut body)) = begun.await else { return };
        if let Err(End::Reset(reason)) = outgoing.send_all(&mut body).await {
            outgoing.stream().send_reset(reason);
        }
        drop(open);
    }
}

/// Waits for the response and sends its head. `None` if that was all of it, or if nobody waits for it any more.
async fn begin(
    request: Request<RequestBody>,
    mut respond: SendResponse<Bytes>,
    service: HttpService,
    cut: CancellationToken,
) -> Option<(Outgoing, Woken<Body>)> {
    let response = tokio::select! {
        biased;
        // The caller is gone, and the handler with it: it must not take the end of the request for a good one.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return None,
        () = cut.cancelled() => error::shutdown().into_http(),
        answered = service.call(request) => {
            let Ok(response) = answered;
            response
        }
    };
    let (mut head, body) = response.into_parts();
    let lane = head.extensions.remove::<Lane>();
    // Its handler learns that it is taken from here on.
    lane.iter().for_each(Lane::attend);
    let deadline = head.extensions.get::<Deadline>().map(|deadline| deadline.0);
    let ended = body.is_end_stream();
    // It fails only if the stream is over.
    let stream = respond.send_response(Response::from_parts(head, ()), ended).ok()?;
    let outgoing = Outgoing { stream: Some(stream), deadline, lane };
    (!ended).then_some((outgoing, Woken::new(body)))
}

/// Why a response ends before its end.
enum End {
    /// The peer is gone, or has reset the stream.
    Gone,
    /// We reset it.
    Reset(Reason),
}

impl From<h2::Error> for End {
    fn from(_: h2::Error) -> Self {
        End::Gone
    }
}

/// What a body has to say.
enum Next {
    Frame(Option<Result<Frame<Bytes>, Status>>),
    /// It was woken: look again, if there is room.
    Again,
}

/// A response's body on its way out.
struct Outgoing {
    /// Lent to the lane while the body waits, and only then.
    stream: Option<SendStream<Bytes>>,
    deadline: Option<Instant>,
    lane: Option<Lane>,
}

impl Outgoing {
    async fn send_all(&mut self, body: &mut Woken<Body>) -> Result<(), End> {
        loop {
            if self.room(1) == 0 {
                self.wait_for_room(Instant::now() + STALL).boxed().await?;
            }
            let next = match poll_fn(|cx| self.poll_next(body, cx)).await? {
                Next::Frame(frame) => frame,
                Next::Again => continue,
            };
            let data = match next.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => data,
                Some(Ok(Err(frame))) => match frame.into_trailers() {
                    Ok(trailers) => return Ok(self.stream().send_trailers(trailers)?),
                    Err(_) => continue,
                },
                // Handlers end with trailers; a body that fails is a bug below them.
                Some(Err(_)) => return Err(End::Reset(Reason::INTERNAL_ERROR)),
                None => return Ok(self.stream().send_data(Bytes::new(), true)?),
            };
            // In a box, as above, because few streams wait for room and many for posts.
            match self.room(data.len()) >= data.len() {
                true => self.stream().send_data(data, false)?,
                false => self.send_in_pieces(data).boxed().await?,
            }
            // Whoever always has more to say shall not keep the thread from others.
            consume_budget().await;
        }
    }

    /// Asks the body for its next frame. While it has none, the stream is lent to its lane.
    fn poll_next(
        &mut self,
        body: &mut Woken<Body>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, End>> {
        if let Some(stream) = self.lane.as_ref().and_then(Lane::take_back) {
            self.stream = Some(stream);
            return Poll::Ready(Ok(Next::Again));
        }
        if self.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(End::Gone));
        }
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            return Poll::Ready(Ok(Next::Frame(frame)));
        }
        if let Some(lane) = &self.lane
            && let Some(stream) = self.stream.take()
        {
            lane.lend(stream, body.signal());
        }
        Poll::Pending
    }

    /// Whether the peer has reset the stream. With a lane, it does not wake: HTTP/2 would do so for every message that
    /// is sent there, and the body is woken by the end of its requests.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut silent = Context::from_waker(Waker::noop());
        let cx = if self.lane.is_some() { &mut silent } else { cx };
        self.stream().poll_reset(cx).map(drop)
    }

    fn stream(&mut self) -> &mut SendStream<Bytes> {
        self.stream.as_mut().expect("invariant: it is lent only while the body waits")
    }

    /// Asks for room; returns how much of it there is.
    fn room(&mut self, wanted: usize) -> usize {
        let stream = self.stream();
        stream.reserve_capacity(wanted);
        stream.capacity()
    }

    /// Sends all of this as the peer grants room, within [`STALL`] of the first time that there is none.
    async fn send_in_pieces(&mut self, mut data: Bytes) -> Result<(), End> {
        let mut waiting_since = None;
        while !data.is_empty() {
            let room = self.room(data.len());
            if room == 0 {
                let since = *waiting_since.get_or_insert_with(Instant::now);
                self.wait_for_room(since + STALL).await?;
                continue;
            }
            let chunk = data.split_to(data.len().min(room));
            self.stream().send_data(chunk, false)?;
        }
        Ok(())
    }

    /// Waits until there is some of the room that was asked for.
    async fn wait_for_room(&mut self, stalled: Instant) -> Result<(), End> {
        let until = self.deadline.map_or(stalled, |deadline| deadline.min(stalled));
        let stream = self.stream();
        while stream.capacity() == 0 {
            match timeout_at(until, poll_fn(|cx| stream.poll_capacity(cx))).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => return Err(End::Gone),
                Err(_) if until == stalled => {
                    tracing::debug!(stream = ?stream.stream_id(), "no room for {STALL:?}");
                    return Err(End::Reset(Reason::ENHANCE_YOUR_CALM));
                }
                Err(_) => return Err(End::Reset(Reason::CANCEL)),
            }
        }
        Ok(())
    }
}

/// A request's body. A stream that was reset or cut off ends with an error, never as if it had been finished.
#[derive(Debug)]
pub struct RequestBody {
    stream: RecvStream,
    /// What has come and was looked at, and is still to be read.
    seen: Bytes,
    data_ended: bool,
    /// The call that counts what comes, and where it is in its messages.
    watched: Option<(Arc<Call>, Framing)>,
}

impl RequestBody {
    fn new(stream: RecvStream) -> Self {
        Self { stream, seen: Bytes::new(), data_ended: false, watched: None }
    }

    /// All of the request's data, if it came in one piece, and its end with it. It stays here for whoever reads the body.
    pub fn whole(&mut self) -> Option<&Bytes> {
        let mut now = Context::from_waker(Waker::noop());
        loop {
            match self.poll_data(&mut now) {
                Poll::Ready(None) => return Some(&self.seen),
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(data))) if self.seen.is_empty() => self.seen = data,
                Poll::Ready(Some(Ok(data))) => {
                    self.seen = [&*self.seen, &*data].concat().into();
                    return None;
                }
                // An error stays in the stream.
                Poll::Ready(Some(Err(_))) | Poll::Pending => return None,
            }
        }
    }

    /// What comes next.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        if self.data_ended {
            return Poll::Ready(None);
        }
        let data = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => data,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                self.data_ended = true;
                return Poll::Ready(None);
            }
        };
        // It is handed on, so there is room for as much more. This fails only if the stream is over.
        let _ = self.stream.flow_control().release_capacity(data.len());
        if let Some((call, framing)) = &mut self.watched {
            call.note_received(framing, &data);
        }
        Poll::Ready(Some(Ok(data)))
    }

    /// Has the messages that come counted by their call.
    pub fn watch(&mut self, call: Arc<Call>) {
        self.watched = Some((call, Framing::default()));
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.seen.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.seen)))));
        }
        match ready!(self.poll_data(cx)) {
            Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Err(error)) => return Poll::Ready(Some(Err(cut_off(&error)))),
            None => {}
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(cut_off(&error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.stream.is_end_stream()
    }
}

/// Not CANCELLED: tonic takes that for the end of the requests.
fn cut_off(error: &h2::Error) -> Status {
    Status::aborted(format!("the request was cut off: {error}"))
}
