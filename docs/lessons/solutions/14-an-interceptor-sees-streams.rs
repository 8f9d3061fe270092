//! Writes a line to the access log for each call.

use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use quartet_lessons::checks::interceptor::AccessLog;
use tonic::body::Body;

pub fn observe(method: String, response: Response<Body>, log: AccessLog) -> Response<Body> {
    // An answer without messages has its status in the head, every other in the trailers.
    if let Some(status) = status(response.headers()) {
        log.add(&method, status);
        return response;
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            if let Some(status) = frame.trailers_ref().and_then(status) {
                log.add(&method, status);
            }
            frame
        }))
    })
}

fn status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}
