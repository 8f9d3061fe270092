//! Writes a line to the access log for each call.

use http::Response;
use quartet_lessons::checks::interceptor::AccessLog;
use tonic::body::Body;

pub fn observe(method: String, response: Response<Body>, log: AccessLog) -> Response<Body> {
    let status = response.headers().get("grpc-status").and_then(|status| status.to_str().ok());
    log.add(&method, status.unwrap_or("0"));
    response
}
