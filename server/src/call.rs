//! One call, as the layers of the chain record it: its method, its caller, its messages.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue, Request, uri::PathAndQuery};
use quartet_connection::{Count, Peer, PeerAddress};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The id of a call: an extension of its request.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

/// The method and the id of a call.
#[derive(Debug, Clone)]
pub struct CallName {
    path: Option<PathAndQuery>,
    request_id: Option<HeaderValue>,
}

impl CallName {
    /// The method and the id of a request.
    pub fn of<B>(request: &Request<B>) -> Self {
        let id = request.extensions().get::<RequestId>();
        let request_id = id.map(|RequestId(id)| id.clone());
        Self { path: request.uri().path_and_query().cloned(), request_id }
    }

    /// The path of the request, as it was sent.
    pub fn method(&self) -> &str {
        self.path.as_ref().map_or("", PathAndQuery::path)
    }

    /// The id of the call; "" if no layer assigns ids.
    pub fn request_id(&self) -> &str {
        self.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default()
    }
}

/// A call. Its user and its counts are filled in while it runs.
#[derive(Debug)]
pub struct Call {
    /// Its method and id.
    pub name: CallName,
    /// The address of the caller.
    pub address: PeerAddress,
    /// The user, once authenticated.
    pub user: OnceLock<Arc<str>>,
    /// Messages from the caller.
    pub received: Count,
    /// Messages to the caller.
    pub sent: Count,
}

impl Call {
    /// The call of a request.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self {
            name: CallName::of(request),
            address: Peer::of(request.extensions()).address,
            user: OnceLock::new(),
            received: Count::default(),
            sent: Count::default(),
        }
    }
}

/// How a call ended.
#[derive(Debug)]
pub struct CallEnd {
    /// The code of its status.
    pub code: Code,
    /// The reason in the status's `ErrorInfo`.
    pub reason: Option<String>,
}

impl CallEnd {
    /// Reads the status from headers or trailers, if they have one.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        // Fast path: most calls end with OK.
        if headers.get(Status::GRPC_STATUS)? == "0" {
            return Some(Self::without_reason(Code::Ok));
        }
        let status = Status::from_header_map(headers)?;
        let reason = status.get_details_error_info().map(|info| info.reason);
        Some(Self { code: status.code(), reason })
    }

    /// An end with a code and no reason.
    pub fn without_reason(code: Code) -> Self {
        Self { code, reason: None }
    }
}
