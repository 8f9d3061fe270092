//! Sends the body of a request.

use std::{future::poll_fn, pin::Pin, task::Context, task::Waker};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body_util::BodyExt as _;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

/// A request body that is being sent. Dropping it ends that at once.
#[derive(Debug)]
pub(super) struct Sending(Option<AbortHandle>);

impl Sending {
    /// Sends what is there at once, and the rest in a task, if there is any.
    pub(super) fn start(body: Body, stream: SendStream<Bytes>) -> Self {
        let mut sending: Pin<Box<_>> = Box::pin(send(body, stream));
        let is_done = sending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        // The task ends with the stream: by itself, or when this handle is dropped.
        Self((!is_done).then(|| TaskTracker::new().spawn(sending).abort_handle()))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Sends a body. A stream that ends before it is noticed by whoever reads its response.
async fn send(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        let frame = tokio::select! {
            biased;
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return,
            frame = body.frame() => frame,
        };
        let sent = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => send_data(&mut stream, data).await,
                Err(_) => Ok(()), // a gRPC request has no trailers
            },
            // The caller gave the request up.
            Some(Err(_)) => return stream.send_reset(Reason::CANCEL),
            None => return drop(stream.send_data(Bytes::new(), true)),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Sends bytes once the windows let the first of them through. h2 keeps the others.
async fn send_data(stream: &mut SendStream<Bytes>, data: Bytes) -> Result<(), h2::Error> {
    if !data.is_empty() {
        // A larger claim would keep the connection's window from other streams meanwhile.
        stream.reserve_capacity(1);
        while stream.capacity() == 0 {
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(granted) => granted?,
                None => return Err(Reason::CANCEL.into()),
            };
        }
    }
    stream.send_data(data, false)
}
