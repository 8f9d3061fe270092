//! A stream that is polled only when something has woken it.
//!
//! What sends a stream asks for more after every message, although it was told a moment ago that there is none; a feed
//! then looks at all that it waits for, once more for each post. This answers for it.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::{Stream, stream::BoxStream};

use crate::signal::Signal;

/// A stream, and what wakes it.
pub struct Woken<T> {
    stream: BoxStream<'static, T>,
    /// Whether it said that it has nothing, so that it is asked again only once it is woken.
    waits: bool,
    signal: Arc<Signal>,
    waker: Waker,
}

impl<T> fmt::Debug for Woken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Woken").field("waits", &self.waits).finish_non_exhaustive()
    }
}

impl<T> Woken<T> {
    /// Polls it only when it is woken.
    pub fn new(stream: BoxStream<'static, T>) -> Self {
        let signal = Arc::<Signal>::default();
        Self { stream, waits: false, waker: signal.clone().into(), signal }
    }
}

impl<T> Stream for Woken<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        if !this.signal.take(cx) && this.waits {
            return Poll::Pending;
        }
        let next = this.stream.as_mut().poll_next(&mut Context::from_waker(&this.waker));
        this.waits = next.is_pending();
        next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::{FutureExt as _, StreamExt as _, stream};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_waits_is_asked_again_only_when_it_is_woken() {
        let (sender, mut receiver) = mpsc::channel(4);
        let polls = Arc::new(AtomicBool::new(false));
        let seen = polls.clone();
        let inner = stream::poll_fn(move |cx| {
            seen.store(true, Ordering::Relaxed);
            receiver.poll_recv(cx)
        });
        let mut stream = Woken::new(inner.boxed());
        let polled = || polls.swap(false, Ordering::Relaxed);
        sender.send(1).await.unwrap();
        assert_eq!(stream.next().now_or_never(), Some(Some(1)));
        assert!(stream.next().now_or_never().is_none() && polled(), "it has nothing now");
        assert!(stream.next().now_or_never().is_none() && !polled(), "nothing woke it");
        sender.send(2).await.unwrap();
        assert_eq!(stream.next().now_or_never(), Some(Some(2)));
        let ending = async {
            tokio::task::yield_now().await;
            drop(sender);
        };
        assert_eq!(tokio::join!(stream.next(), ending).0, None);
    }
}
