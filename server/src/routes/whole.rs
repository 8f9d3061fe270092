//! A unary call whose request has come as a whole by the time that it is served, which is how nearly all of them come.
//!
//! Generated code takes a message from the stream that it comes in, and answers with a stream of one. Around a short call
//! that is more than the call itself: a dozen allocations, one of them of 2 KiB. Here the message is decoded where it is,
//! and the answer is one frame and its trailers.
//!
//! What is not that simple goes to generated code, untouched: a request in pieces, a compressed or too large one, more or
//! less than one message. So only generated code refuses such requests, and a caller cannot tell which of the two answered.

use std::{
    convert::Infallible,
    fmt,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use quartet::{
    limits::REQUEST_BYTES,
    wire::{self, Decode, Encode},
};
use quartet_connection::RequestBody;
use tonic::{Status, body::Body, metadata::GRPC_CONTENT_TYPE, server::NamedService};
use tower::Service;

use super::{Answer, Generated, is_plain_call_of};

/// A generated service with a shorter way to one of its unary methods.
#[derive(Clone)]
pub struct Whole<S> {
    generated: S,
    path: &'static str,
    /// Answers a message.
    answer: Arc<dyn Fn(Bytes) -> Answer + Send + Sync>,
}

impl<S> Whole<S> {
    /// `handler` does what the method at `path` does in `generated`.
    pub fn new<Req, Res, Fut>(
        generated: S,
        path: &'static str,
        handler: impl Fn(Req) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Req: Decode,
        Res: Encode,
        Fut: Future<Output = Result<Res, Status>> + Send + 'static,
    {
        let answer = move |message| match Req::decode(message) {
            Ok(message) => handler(message).map(|answer| Ok(response(answer))).boxed(),
            Err(why) => ready(Ok(wire::undecodable(why).into_http())).boxed(),
        };
        Self { generated, path, answer: Arc::new(answer) }
    }

    /// The message of a call that can go the shorter way.
    fn message(&self, request: &mut Request<RequestBody>) -> Option<Bytes> {
        let plain = is_plain_call_of(self.path, request);
        plain.then(|| request.body_mut().whole().and_then(unframed)).flatten()
    }
}

impl<S: NamedService> NamedService for Whole<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Generated> Service<Request<RequestBody>> for Whole<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.generated.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Answer {
        match self.message(&mut request) {
            Some(message) => (self.answer)(message),
            None => self.generated.call(request),
        }
    }
}

impl<S> fmt::Debug for Whole<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Whole").field(&self.path).finish()
    }
}

/// The message that these bytes are, as gRPC has it on the wire: a flag, which says here that it is not compressed, and its
/// length. `None` if they are anything else.
fn unframed(data: &Bytes) -> Option<Bytes> {
    let ([0, length @ ..], message) = data.split_first_chunk::<5>()? else { return None };
    let whole = message.len() == u32::from_be_bytes(*length) as usize;
    (whole && message.len() <= REQUEST_BYTES).then(|| data.slice_ref(message))
}

fn response(answer: Result<impl Encode, Status>) -> Response<Body> {
    match answer {
        Ok(message) => {
            let body = Full::new(wire::frame(&message)).map_err(|never| match never {});
            let mut response =
                Response::new(Body::new(body.with_trailers(async { Some(Ok(ok())) })));
            response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
            response
        }
        Err(status) => status.into_http(),
    }
}

/// The trailers of a call that ended well.
fn ok() -> HeaderMap {
    HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_message_is_taken() {
        let of = |bytes: &'static [u8]| unframed(&Bytes::from_static(bytes));
        assert_eq!(of(b"\0\0\0\0\x02ab").as_deref(), Some(&b"ab"[..]));
        assert_eq!(of(b"\0\0\0\0\0").as_deref(), Some(&b""[..]));
        for other in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\x02ab",
            b"\0\0\0\0\x03ab",
            b"\0\0\0\0\x01ab",
            b"\0\0\0\0\x01a\0\0\0\0\0",
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
        let large = [&[0, 0, 4, 0, 1][..], &[0; REQUEST_BYTES + 1]].concat();
        assert_eq!(unframed(&large.into()), None);
    }
}
