//! The one frame for layers that look at what comes back: at a response while it is waited for, and at its body.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// What a body's poll gives.
pub type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// What a layer does with what comes back. Dropped when the body has ended, or nobody waits for it any more.
pub trait Watch: Send + Unpin + 'static {
    /// Asks those below for their response, and may look at it and add to it, or answer with a status instead.
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        let Ok(response) = ready!(below.poll(cx));
        Poll::Ready(Ok(response))
    }

    /// Asks the body below for its next frame, and may look at it, or end the body instead.
    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        body.poll_frame(cx)
    }
}

/// What only has to live as long as the body does.
#[derive(Debug)]
pub struct Hold<T>(pub T);

impl<T: Send + Unpin + 'static> Watch for Hold<T> {}

/// The answer of a layer: what those below are asked for and how that is watched, or a refusal to ask them.
///
/// Not an async block: the compiler would keep the future below twice, once as it was handed over and once as it is waited
/// for, so that every layer doubled what a call takes.
#[derive(Debug)]
pub struct Answering<F, W> {
    below: Option<F>,
    watch: Option<W>,
    refusal: Option<Status>,
}

/// Waits for what those below answer, or answers with a refusal.
pub fn answer<F, W>(begun: Result<(F, W), Status>) -> Answering<F, W> {
    match begun {
        Ok((below, watch)) => Answering { below: Some(below), watch: Some(watch), refusal: None },
        Err(status) => Answering { below: None, watch: None, refusal: Some(status) },
    }
}

impl<F, W, B> Future for Answering<F, W>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
    W: Watch,
{
    type Output = Result<Response<Watched<B, W>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let answered = match (&mut this.below, &mut this.watch, this.refusal.take()) {
            (.., Some(refusal)) => Err(refusal),
            (Some(below), Some(watch), _) => ready!(watch.poll_response(Pin::new(below), cx)),
            _ => return Poll::Pending, // It has answered.
        };
        this.below = None; // What it held is freed now, whatever came of it.
        let watch = this.watch.take();
        Poll::Ready(Ok(match answered {
            Ok(response) => response.map(|body| Watched(watch.map(|watch| (body, watch)))),
            Err(status) => status.into_http(),
        }))
    }
}

/// A body and what a layer does with it. Whatever ends it ends it for good: what is below is dropped at that moment, and
/// frees what it held.
#[derive(Debug)]
pub struct Watched<B, W>(Option<(B, W)>);

/// No body: that of a response which is all said in its head.
impl<B, W> Default for Watched<B, W> {
    fn default() -> Self {
        Self(None)
    }
}

impl<B, W> Body for Watched<B, W>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
    W: Watch,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Some((body, watch)) = &mut self.0 else { return Poll::Ready(None) };
        let polled = watch.poll_frame(Pin::new(body), cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {}
            // Trailers, an error, the end.
            Poll::Ready(_) => self.0 = None,
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(|(body, _)| body.size_hint()).unwrap_or_default()
    }
}
