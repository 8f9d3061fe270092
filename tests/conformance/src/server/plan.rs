//! What a case asks of the server: which response to give.

use std::time::Duration;

use conformance::{
    RpcStatus,
    proto::{
        Error, Header, StreamResponseDefinition, UnaryResponseDefinition,
        unary_response_definition::Response,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status, metadata::MetadataMap};

/// A response: its headers, messages, status and trailers.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) headers: Vec<Header>,
    pub(crate) data: Vec<Vec<u8>>,
    /// The pause before each message.
    pub(crate) delay: Duration,
    error: Option<Error>,
    trailers: Vec<Header>,
}

impl Plan {
    /// One message, or an error.
    pub(crate) fn single(definition: Option<UnaryResponseDefinition>) -> Self {
        let definition = definition.unwrap_or_default();
        let (data, error) = match definition.response {
            Some(Response::Error(error)) => (vec![], Some(error)),
            Some(Response::ResponseData(data)) => (vec![data], None),
            None => (vec![vec![]], None),
        };
        Self {
            headers: definition.response_headers,
            data,
            delay: Duration::from_millis(definition.response_delay_ms.into()),
            error,
            trailers: definition.response_trailers,
        }
    }

    /// Any number of messages, and an error if there is one.
    pub(crate) fn stream(definition: Option<StreamResponseDefinition>) -> Self {
        let definition = definition.unwrap_or_default();
        Self {
            headers: definition.response_headers,
            data: definition.response_data,
            delay: Duration::from_millis(definition.response_delay_ms.into()),
            error: definition.error,
            trailers: definition.response_trailers,
        }
    }

    /// The end of the response. An error to which no message was sent carries what was received.
    /// tonic sends trailers of the status OK too, if a stream ends with it.
    pub(crate) fn status(&self, received: Option<Any>) -> Status {
        let trailers = metadata(&self.trailers);
        let Some(Error { code, message, details }) = self.error.clone() else {
            return Status::with_metadata(Code::Ok, "", trailers);
        };
        let message = message.unwrap_or_default();
        let details = details.into_iter().chain(received).collect();
        let encoded = RpcStatus { code, message: message.clone(), details }.encode_to_vec();
        Status::with_details_and_metadata(code.into(), message, encoded.into(), trailers)
    }
}

/// Values of `-bin` headers are base64 on both sides, so all are passed as they are.
pub(crate) fn metadata(headers: &[Header]) -> MetadataMap {
    let mut map = HeaderMap::new();
    for Header { name, value } in headers {
        for value in value {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                map.append(name, value);
            }
        }
    }
    MetadataMap::from_headers(map)
}

/// Headers in the suite's form.
pub(crate) fn headers(metadata: &MetadataMap) -> Vec<Header> {
    let map = metadata.clone().into_headers();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let header = |name: &HeaderName| Header {
        name: name.to_string(),
        value: map.get_all(name).iter().map(text).collect(),
    };
    map.keys().map(header).collect()
}
