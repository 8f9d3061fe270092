//! One stream of HTTP/2: a request in, a response out.
//!
//! The response's body is polled only when the peer has granted a window for more. So a reader is
//! at most one batch ahead of its client, and nothing of a response waits in buffers that are not
//! read. A peer that grants no window within the stall timeout loses the stream, as does one whose
//! deadline passes meanwhile.
//!
//! Dropping the exchange resets the stream and frees all that the call holds: cursors, permits, its
//! part of a pipe.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use quartet_runtime::gauge::Held;
use tokio::{
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};
use tonic::{Status, body::Body};

use crate::{
    activity::OpenStream, context::Context as Server, deadline::Deadline, lane::Lane,
    request::RequestBody, woken::Woken,
};

/// Serves a request. One without a response when the server cuts its connections gets the status of
/// the shutdown; a response under way ends with its connection. `open` is held until the end.
pub(super) fn serve(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    server: &Arc<Server>,
    open: (OpenStream, Held),
) -> impl Future<Output = ()> + Send + use<> {
    let request = request.map(RequestBody::new);
    // Boxed until the response begins: a long stream does not hold what the beginning took.
    let begun = begin(request, respond, server.clone()).boxed();
    async move {
        let Some((mut outgoing, mut body)) = begun.await else { return };
        if let Err(Broken::Reset(reason)) = outgoing.send_all(&mut body).await {
            outgoing.stream().send_reset(reason);
        }
        drop(open);
    }
}

/// Waits for the response and sends its head. `None` if there is no more of it, or if the caller is
/// gone.
async fn begin(
    request: Request<RequestBody>,
    mut respond: SendResponse<Bytes>,
    server: Arc<Server>,
) -> Option<(ResponseWriter, Woken<Body>)> {
    let response = tokio::select! {
        biased;
        // The caller is gone, and the handler goes with it: it must not take the end of the request
        // for a regular one.
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return None,
        () = server.cut.cancelled() => server.statuses.shutdown.clone().into_http(),
        answered = server.service.call(request) => {
            let Ok(response) = answered;
            response
        }
    };
    let (mut head, body) = response.into_parts();
    let lane = head.extensions.remove::<Lane>();
    lane.iter().for_each(Lane::activate);
    let deadline = head.extensions.get::<Deadline>().map(|deadline| deadline.0);
    let ended = body.is_end_stream();
    // It fails only if the stream is over.
    let stream = respond.send_response(Response::from_parts(head, ()), ended).ok()?;
    let stall_timeout = server.settings.stall_timeout;
    let outgoing = ResponseWriter { stream: Some(stream), deadline, stall_timeout, lane };
    (!ended).then_some((outgoing, Woken::new(body)))
}

/// Why a response is broken off.
enum Broken {
    /// The peer is gone, or has reset the stream.
    Gone,
    /// The server resets it.
    Reset(Reason),
}

impl From<h2::Error> for Broken {
    fn from(_: h2::Error) -> Self {
        Broken::Gone
    }
}

/// What a look at the body gave.
enum Next {
    /// Its next frame, or its end.
    Frame(Option<Result<Frame<Bytes>, Status>>),
    /// Nothing yet: the stream is back from the lane, and there may be no window any more.
    Again,
}

/// A response's body on its way out.
struct ResponseWriter {
    /// `None` while it is lent to the lane, which is only while the body waits.
    stream: Option<SendStream<Bytes>>,
    deadline: Option<Instant>,
    stall_timeout: Duration,
    lane: Option<Lane>,
}

impl ResponseWriter {
    async fn send_all(&mut self, body: &mut Woken<Body>) -> Result<(), Broken> {
        loop {
            if self.window(1) == 0 {
                self.wait_for_window(Instant::now() + self.stall_timeout).boxed().await?;
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
                // Handlers end with trailers; a body that fails is a bug of a layer.
                Some(Err(_)) => return Err(Broken::Reset(Reason::INTERNAL_ERROR)),
                None => return Ok(self.stream().send_data(Bytes::new(), true)?),
            };
            // Boxed, as above: few streams wait for a window, and many for their next message.
            match self.window(data.len()) >= data.len() {
                true => self.stream().send_data(data, false)?,
                false => self.send_in_pieces(data).boxed().await?,
            }
            // A stream that always has more to send must not keep the thread from others.
            consume_budget().await;
        }
    }

    /// Polls the body for its next frame. While it has none, the stream is lent to its lane.
    fn poll_next(
        &mut self,
        body: &mut Woken<Body>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, Broken>> {
        if let Some(stream) = self.lane.as_ref().and_then(Lane::take_back) {
            self.stream = Some(stream);
            return Poll::Ready(Ok(Next::Again));
        }
        if self.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Broken::Gone));
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

    /// Whether the peer has reset the stream. With a lane this does not wake the task: h2 would do
    /// so for every message that is sent there, and the end of its requests wakes the body.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut silent = Context::from_waker(Waker::noop());
        let cx = if self.lane.is_some() { &mut silent } else { cx };
        self.stream().poll_reset(cx).map(drop)
    }

    fn stream(&mut self) -> &mut SendStream<Bytes> {
        self.stream.as_mut().expect("invariant: the stream is lent only while the body waits")
    }

    /// Asks for a window of so many bytes; returns how many there are.
    fn window(&mut self, wanted: usize) -> usize {
        let stream = self.stream();
        stream.reserve_capacity(wanted);
        stream.capacity()
    }

    /// Sends all of the data as the peer grants a window, within the stall timeout from the first
    /// time that there is none.
    async fn send_in_pieces(&mut self, mut data: Bytes) -> Result<(), Broken> {
        let mut waiting_since = None;
        while !data.is_empty() {
            let window = self.window(data.len());
            if window == 0 {
                let since = *waiting_since.get_or_insert_with(Instant::now);
                self.wait_for_window(since + self.stall_timeout).await?;
                continue;
            }
            let chunk = data.split_to(data.len().min(window));
            self.stream().send_data(chunk, false)?;
        }
        Ok(())
    }

    /// Waits until there is some of the window that was asked for.
    async fn wait_for_window(&mut self, stalled: Instant) -> Result<(), Broken> {
        let until = self.deadline.map_or(stalled, |deadline| deadline.min(stalled));
        let stall_timeout = self.stall_timeout;
        let stream = self.stream();
        while stream.capacity() == 0 {
            match timeout_at(until, poll_fn(|cx| stream.poll_capacity(cx))).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => return Err(Broken::Gone),
                Err(_) if until == stalled => {
                    let id = stream.stream_id();
                    tracing::debug!(stream = ?id, "no window for {stall_timeout:?}");
                    return Err(Broken::Reset(Reason::ENHANCE_YOUR_CALM));
                }
                Err(_) => return Err(Broken::Reset(Reason::CANCEL)),
            }
        }
        Ok(())
    }
}
