//! What a layer does with a response while it is awaited, and with each frame of its body.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// The result of polling a body for a frame.
pub type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// What a layer does with a response. Dropped when the body has ended, or when the caller is gone.
pub trait Watch: Send + Unpin + 'static {
    /// Polls the service below for its response; may look at it and add to it, or answer with a
    /// status instead.
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        let Ok(response) = ready!(below.poll(cx));
        Poll::Ready(Ok(response))
    }

    /// Polls the body below for its next frame; may look at it, or end the body instead, with
    /// [`trailers`].
    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        body.poll_frame(cx)
    }
}

/// Keeps a guard until the body ends.
#[derive(Debug)]
pub struct Hold<T>(pub T);

impl<T: Send + Unpin + 'static> Watch for Hold<T> {}

/// The trailers of a body that ends with this status.
///
/// # Errors
/// The status has metadata that cannot be a header.
pub fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// The response of a layer: that of the service below, watched, or a refusal to call it.
///
/// Not an async block: the compiler would keep the future below twice, once as it was passed in and
/// once as it is awaited, so that every layer doubled the memory of a call.
#[derive(Debug)]
pub struct Answering<F, W> {
    below: Option<F>,
    watch: Option<W>,
    refusal: Option<Status>,
}

/// Awaits the response of the service below and watches it, or answers with a refusal.
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
            _ => return Poll::Pending, // it was ready before
        };
        this.below = None; // frees what the call held, also when the watch has answered instead
        let watch = this.watch.take();
        Poll::Ready(Ok(match answered {
            Ok(response) => response.map(|body| Watched(watch.map(|watch| (body, watch)))),
            Err(status) => status.into_http(),
        }))
    }
}

/// A body and its watch. Whatever ends it ends it for good: the body below is dropped at that
/// moment, and frees what it held.
#[derive(Debug)]
pub struct Watched<B, W>(Option<(B, W)>);

/// The body of a response that consists of its head.
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
            // Trailers, an error or the end.
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
