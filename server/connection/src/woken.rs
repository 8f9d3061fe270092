//! A body that is polled only when something has woken it.
//!
//! The exchange polls for more after every message that a lane has sent, although the body said a
//! moment ago that it has none. A stream that waits for many things would look at all of them once
//! more for each message; this answers for it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http_body::{Body, Frame};
use quartet_runtime::signal::Signal;

/// A body and the signal that wakes it.
#[derive(Debug)]
pub(crate) struct Woken<B> {
    body: B,
    /// Whether it was pending, so that it is polled again only once it is woken.
    waits: bool,
    signal: Arc<Signal>,
    waker: Waker,
}

impl<B> Woken<B> {
    /// Polls it only when it is woken.
    pub(crate) fn new(body: B) -> Self {
        let signal = Arc::<Signal>::default();
        Self { body, waits: false, waker: signal.clone().into(), signal }
    }

    /// Has the body polled again.
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }
}

impl<B: Body + Unpin> Body for Woken<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        if !this.signal.take(cx) && this.waits {
            return Poll::Pending;
        }
        let next = Pin::new(&mut this.body).poll_frame(&mut Context::from_waker(&this.waker));
        this.waits = next.is_pending();
        next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;
    use futures::{FutureExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;
    use tonic::Status;

    use super::*;

    #[tokio::test]
    async fn a_body_that_waits_is_polled_again_only_when_it_is_woken() {
        let (sender, mut receiver) = mpsc::channel(4);
        let polls = Arc::new(AtomicBool::new(false));
        let seen = polls.clone();
        let inner = stream::poll_fn(move |cx| {
            seen.store(true, Ordering::Relaxed);
            receiver.poll_recv(cx)
        });
        let mut body = Woken::new(StreamBody::new(inner));
        let polled = || polls.swap(false, Ordering::Relaxed);
        let data = |text: &'static str| Ok::<_, Status>(Frame::data(Bytes::from(text)));
        sender.send(data("1")).await.unwrap();
        let first = body.frame().now_or_never().flatten().unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "1");
        assert!(body.frame().now_or_never().is_none() && polled(), "it has nothing now");
        assert!(body.frame().now_or_never().is_none() && !polled(), "nothing woke it");
        sender.send(data("2")).await.unwrap();
        assert!(body.frame().now_or_never().is_some());
        let ending = async {
            tokio::task::yield_now().await;
            drop(sender);
        };
        assert!(tokio::join!(body.frame(), ending).0.is_none());
    }
}
