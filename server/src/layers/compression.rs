//! The layer that reads compressed requests, and compresses answers if it is asked to.
//!
//! Inside it, messages are as they would be without compression, so that no handler knows of it. It
//! follows gRPC's
//! [compression](https://github.com/grpc/grpc/blob/master/doc/compression.md) document.
//!
//! Messages that leave past the body of a response, on a [`Lane`](quartet_connection::Lane), are
//! not compressed: each message says by its own flag whether it is.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use quartet::limits::REQUEST_BYTES;
use quartet_connection::{
    RequestBody,
    layer::{
        Inner,
        watch::{Polled, Watch, answer},
    },
};
use quartet_wire::compression::{Encoding, GRPC_ENCODING, Recoder};
use tonic::Status;
use tower::service_fn;

/// Wraps a service so that it takes compressed requests. With `answers`, messages to callers that
/// can read an encoding of this build are compressed with the first such.
// ANCHOR: compression
pub fn around(mut service: impl Inner, answers: bool) -> impl Inner {
    service_fn(move |mut request: Request<RequestBody>| {
        let accepted = Encoding::KNOWN.iter().find(|known| known.is_accepted(request.headers()));
        let encoding = accepted.copied().filter(|_| answers);
        decompress(&mut request);
        answer(Ok((service.call(request), Compress::with(encoding))))
    })
}
// ANCHOR_END: compression

/// Has the request decompressed, if it is of an encoding of this build. Another one is left to the
/// service, which may read it or refuse the call.
fn decompress(request: &mut Request<RequestBody>) {
    let name = request.headers().get(GRPC_ENCODING).and_then(|name| name.to_str().ok());
    if let Some(encoding) = name.and_then(Encoding::named) {
        request.headers_mut().remove(GRPC_ENCODING);
        request.body_mut().decompress(encoding, REQUEST_BYTES);
    }
}

/// Compresses the messages of a response.
struct Compress(Option<(Encoding, Recoder)>);

impl Compress {
    fn with(encoding: Option<Encoding>) -> Self {
        Self(encoding.map(|encoding| (encoding, Recoder::compressing(encoding))))
    }
}

impl Watch for Compress {
    fn poll_response<B>(
        &mut self,
        below: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, Status>> {
        let Ok(mut response) = ready!(below.poll(cx));
        let headers = response.headers_mut();
        // It has no messages, or the service has compressed them itself.
        if [Status::GRPC_STATUS, GRPC_ENCODING].iter().any(|it| headers.contains_key(it)) {
            self.0 = None;
        }
        if let Some((encoding, _)) = &self.0 {
            headers.insert(GRPC_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        Poll::Ready(Ok(response))
    }

    fn poll_frame(
        &mut self,
        body: Pin<&mut impl Body<Data = Bytes, Error = Status>>,
        cx: &mut Context<'_>,
    ) -> Polled {
        let polled = ready!(body.poll_frame(cx));
        Poll::Ready(match (&mut self.0, polled) {
            (Some((_, recoder)), Some(Ok(frame))) => Some(compressed(recoder, frame)),
            (_, polled) => polled,
        })
    }
}

fn compressed(recoder: &mut Recoder, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Status> {
    match frame.into_data() {
        Ok(data) => recoder.pass(&data).map(Frame::data),
        Err(trailers) => Ok(trailers),
    }
}
