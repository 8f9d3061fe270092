//! The layer that reads compressed requests, and compresses answers if it is asked to.
//!
//! Inside it, messages are as they would be without compression, so that no handler knows of it.
//! A call with an encoding that this server does not have gets UNIMPLEMENTED and the encodings that
//! it has, by gRPC's
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
use quartet::{codec, limits::REQUEST_BYTES};
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
        answer(decompress(&mut request).map(|()| (service.call(request), Compress::with(encoding))))
    })
}
// ANCHOR_END: compression

/// Has the request decompressed, if it is compressed.
///
/// # Errors
/// UNIMPLEMENTED for an unknown encoding.
fn decompress(request: &mut Request<RequestBody>) -> Result<(), Status> {
    let Some(name) = request.headers_mut().remove(GRPC_ENCODING) else { return Ok(()) };
    let name = String::from_utf8_lossy(name.as_bytes());
    match Encoding::named(&name) {
        Some(encoding) => request.body_mut().decompress(encoding, REQUEST_BYTES),
        None if name == "identity" => {}
        None => return Err(codec::unknown_encoding(&name, &Encoding::accepted())),
    }
    Ok(())
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
        let is_end = response.headers().contains_key(Status::GRPC_STATUS);
        if let Some((encoding, _)) = self.0.as_ref().filter(|_| !is_end) {
            let name = HeaderValue::from_static(encoding.name());
            response.headers_mut().insert(GRPC_ENCODING, name);
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
