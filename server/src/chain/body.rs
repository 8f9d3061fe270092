//! The one frame for layers that look at a response's body.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// What a body's poll gives.
pub type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// What a layer does with a response's body. Dropped when the body has ended, or nobody reads it any more.
pub trait Watch: Send + Unpin + 'static {
    /// Asks the body below for its next frame, and may look at it, or end the body instead.
    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled;
}

/// What only has to live as long as the body does.
#[derive(Debug)]
pub struct Hold<T>(pub T);

impl<T: Send + Unpin + 'static> Watch for Hold<T> {
    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        body.poll_frame(cx)
    }
}

/// A body and what a layer does with it. Whatever ends it ends it for good: what is below is dropped at that moment, and
/// frees what it held.
#[derive(Debug)]
pub struct Watched<B, W>(Option<(B, W)>);

impl<B, W> Watched<B, W> {
    /// A response whose body is watched by `watch`.
    pub fn response(response: Response<B>, watch: W) -> Response<Self> {
        response.map(|body| Self(Some((body, watch))))
    }
}

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
