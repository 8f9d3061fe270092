//! One case: a call with these requests, in this rhythm, cancelled at this point or not at all.

use std::{future::pending, path::Path, time::Duration};

use conformance::{
    Reply, RpcStatus,
    proto::{
        ClientCompatRequest, ClientResponseResult, Compression, Error, Header, StreamType,
        client_compat_request::cancel::CancelTiming,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message as _;
use quartet_channel::{Channel, TlsSettings};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, client::Grpc, codec::CompressionEncoding, metadata::MetadataMap};

use crate::bytes_codec::Bytes;

/// The largest message that a case has, if it sets no limit.
const MESSAGE_BYTES: usize = 100 << 20;

/// Makes the call of a case, and returns what came of it.
///
/// # Errors
/// The call could not be made.
pub async fn make(case: ClientCompatRequest) -> Result<ClientResponseResult, String> {
    // Kept until the end of the call: a channel reads its files for each connection.
    let files = tempfile::tempdir().map_err(|error| error.to_string())?;
    let channel = channel(&case, files.path())?;
    let mut client = Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    if let Some(encoding) = encoding(&case) {
        client = client.send_compressed(encoding).accept_compressed(encoding);
    }
    client.ready().await.map_err(|error| error.to_string())?;
    let path = format!("/{}/{}", case.service(), case.method());
    let path = path.parse().map_err(|_| format!("{path} is not a path"))?;
    let (requests, outgoing) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    *request.metadata_mut() = metadata(&case.request_headers)?;

    let (received, responses) = mpsc::channel(1000);
    let mut result = ClientResponseResult::default();
    let cancel_after = match timing(&case) {
        Some(CancelTiming::AfterNumResponses(count)) => Some(*count as usize),
        _ => None,
    };
    let calling = async {
        let answer = client.streaming(request, path, Bytes).await;
        receive(answer, &mut result, cancel_after, received).await;
    };
    // Dropping the call is how it is cancelled.
    let is_cancelled = tokio::select! {
        () = calling => false,
        () = send(&case, requests, responses) => true,
    };
    if is_cancelled {
        result.error = Some(cancelled());
    }
    if result.error.is_some() && has_one_response(&case) {
        result.payloads.clear();
    }
    Ok(result)
}

/// Resolves when the call is to be cancelled by its sending side, and otherwise never.
async fn send(
    case: &ClientCompatRequest,
    requests: mpsc::Sender<Vec<u8>>,
    mut responses: mpsc::Receiver<()>,
) {
    let takes_turns = case.stream_type() == StreamType::FullDuplexBidiStream;
    let streams = !matches!(case.stream_type(), StreamType::Unary | StreamType::ServerStream);
    for (index, message) in case.request_messages.iter().enumerate() {
        if takes_turns && index > 0 && responses.recv().await.is_none() {
            return pending().await;
        }
        if streams {
            sleep(Duration::from_millis(case.request_delay_ms.into())).await;
        }
        if requests.send(message.value.clone()).await.is_err() {
            return pending().await;
        }
    }
    if takes_turns {
        responses.recv().await;
    }
    match timing(case) {
        Some(CancelTiming::BeforeCloseSend(_)) => {}
        Some(CancelTiming::AfterCloseSendMs(after)) => {
            drop(requests);
            sleep(Duration::from_millis((*after).into())).await;
        }
        _ => {
            drop(requests);
            pending().await
        }
    }
}

async fn receive(
    answer: Result<tonic::Response<tonic::Streaming<Reply>>, Status>,
    result: &mut ClientResponseResult,
    cancel_after: Option<usize>,
    received: mpsc::Sender<()>,
) {
    let response = match answer {
        Ok(response) => response,
        Err(status) => {
            // The headers of such a response are its trailers too.
            result.response_headers = headers(status.metadata());
            return end(result, &status);
        }
    };
    result.response_headers = headers(response.metadata());
    let mut messages = response.into_inner();
    loop {
        if cancel_after == Some(result.payloads.len()) {
            result.error = Some(cancelled());
            return;
        }
        match messages.message().await {
            Ok(Some(message)) => {
                result.payloads.push(message.payload.unwrap_or_default());
                // Fails only once nothing is sent any more.
                let _ = received.send(()).await;
            }
            Ok(None) => {
                if let Ok(Some(trailers)) = messages.trailers().await {
                    result.response_trailers = headers(&trailers);
                }
                return;
            }
            Err(status) => return end(result, &status),
        }
    }
}

fn end(result: &mut ClientResponseResult, status: &Status) {
    let details = RpcStatus::decode(status.details()).map(|status| status.details);
    result.error = Some(Error {
        code: status.code() as i32,
        message: Some(status.message().to_owned()),
        details: details.unwrap_or_default(),
    });
    result.response_trailers = headers(status.metadata());
}

/// A call that is dropped has no status; the suite wants CANCELLED.
fn cancelled() -> Error {
    Error { code: 1, message: Some("cancelled".to_owned()), details: Vec::new() }
}

fn channel(case: &ClientCompatRequest, files: &Path) -> Result<Channel, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let scheme = if case.server_tls_cert.is_empty() { "http" } else { "https" };
    let target = format!("{scheme}://{}:{}", case.host, case.port);
    let one_response = ["Unary", "ClientStream", "IdempotentUnary", "Unimplemented"];
    let one_response = one_response.map(|method| format!("/{}/{method}", case.service()));
    let mut builder = Channel::builder(target.parse().map_err(|error| text(&error))?)
        .tls(&tls(case, files).map_err(|error| text(&error))?)
        .map_err(|error| text(&error))?
        .single_responses(one_response);
    if case.message_receive_limit > 0 {
        let limit = case.message_receive_limit;
        let config = format!(
            r#"{{"methodConfig": [{{"name": [{{}}], "maxResponseMessageBytes": {limit}}}]}}"#
        );
        builder = builder.service_config(config.parse().map_err(|error| text(&error))?);
    }
    let channel = builder.build();
    Ok(match case.timeout_ms {
        Some(ms) => channel.with_deadline(Instant::now() + Duration::from_millis(ms.into())),
        None => channel,
    })
}

fn tls(case: &ClientCompatRequest, files: &Path) -> std::io::Result<TlsSettings> {
    let write = |name: &str, pem: &[u8]| {
        let file = files.join(name);
        std::fs::write(&file, pem).map(|()| Some(file))
    };
    let mut settings = TlsSettings::default();
    if case.server_tls_cert.is_empty() {
        return Ok(settings);
    }
    settings.ca = write("ca.pem", &case.server_tls_cert)?;
    if let Some(client) = &case.client_tls_creds {
        settings.cert = write("client.pem", &client.cert)?;
        settings.key = write("client.key", &client.key)?;
    }
    Ok(settings)
}

fn encoding(case: &ClientCompatRequest) -> Option<CompressionEncoding> {
    match case.compression() {
        Compression::Gzip => Some(CompressionEncoding::Gzip),
        Compression::Zstd => Some(CompressionEncoding::Zstd),
        Compression::Deflate => Some(CompressionEncoding::Deflate),
        _ => None,
    }
}

fn timing(case: &ClientCompatRequest) -> Option<&CancelTiming> {
    case.cancel.as_ref()?.cancel_timing.as_ref()
}

fn has_one_response(case: &ClientCompatRequest) -> bool {
    matches!(case.stream_type(), StreamType::Unary | StreamType::ClientStream)
}

/// Values of `-bin` headers are base64 on both sides, so all are passed as they are.
fn metadata(headers: &[Header]) -> Result<MetadataMap, String> {
    let mut map = HeaderMap::new();
    for Header { name, value } in headers {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        for value in value {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            map.append(&name, value);
        }
    }
    Ok(MetadataMap::from_headers(map))
}

fn headers(metadata: &MetadataMap) -> Vec<Header> {
    let map = metadata.clone().into_headers();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let header = |name: &HeaderName| Header {
        name: name.to_string(),
        value: map.get_all(name).iter().map(text).collect(),
    };
    map.keys().map(header).collect()
}
