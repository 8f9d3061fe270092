//! The layer that compresses requests, and reads compressed answers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use quartet_wire::compression::{Encoding, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, Recoder};
use tonic::{Status, body::Body};

/// The most bytes of a message of a response, decompressed: gRPC's default limit.
const MESSAGE_BYTES: usize = 4 << 20;

/// Compresses the messages of a request, and offers to read answers in the same encoding.
pub(super) fn request(request: Request<Body>, encoding: Option<Encoding>) -> Request<Body> {
    let Some(encoding) = encoding else { return request };
    let mut request = request.map(|body| recoded(body, Recoder::compressing(encoding)));
    let name = HeaderValue::from_static(encoding.name());
    request.headers_mut().insert(GRPC_ENCODING, name.clone());
    request.headers_mut().insert(GRPC_ACCEPT_ENCODING, name);
    request
}

/// Decompresses a response in the encoding that the request offered to read.
pub(super) fn response(mut response: Response<Body>, offered: Option<Encoding>) -> Response<Body> {
    let named = response.headers().get(GRPC_ENCODING).map(HeaderValue::as_bytes);
    let Some(encoding) = offered.filter(|offered| named == Some(offered.name().as_bytes())) else {
        return response;
    };
    response.headers_mut().remove(GRPC_ENCODING);
    response.map(|body| recoded(body, Recoder::decompressing(encoding, MESSAGE_BYTES)))
}

fn recoded(body: Body, recoder: Recoder) -> Body {
    Body::new(Recoded { body, recoder })
}

/// A body whose messages are recoded.
///
/// Both bodies end between messages: generated code writes whole ones, and an answer that is cut
/// off was found out below. So nothing is left in the recoder at the end.
struct Recoded {
    body: Body,
    recoder: Recoder,
}

impl http_body::Body for Recoded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()? {
            Some(frame) => frame,
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(match frame.into_data() {
            Ok(data) => this.recoder.pass(&data).map(Frame::data),
            Err(trailers) => Ok(trailers),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
