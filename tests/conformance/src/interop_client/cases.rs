//! The cases, by gRPC's
//! [test descriptions](https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md).

use std::{collections::HashSet, error::Error, time::Duration};

use conformance::testing::{
    Answer, BoolValue, ECHO_INITIAL, ECHO_TRAILING, EchoStatus, Empty, Payload, ResponseParameters,
    SERVICE, SimpleRequest, StreamingInputCallRequest, StreamingInputCallResponse,
    StreamingOutputCallRequest,
};
use futures::{StreamExt as _, future::try_join_all, stream};
use http::uri::PathAndQuery;
use prost::Message;
use quartet_channel::{Builder, Channel, ServedBy};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, IntoStreamingRequest, Request, Response, Status, Streaming, client::Grpc,
    codec::CompressionEncoding, metadata::MetadataValue,
};
use tonic_prost::ProstCodec;

type Checked = Result<(), Box<dyn Error>>;

/// The sizes of the answers that streaming cases ask for.
const ANSWERS: [i32; 4] = [31415, 9, 2653, 58979];
/// The sizes of the requests that streaming cases send.
const REQUESTS: [i32; 4] = [27182, 8, 1828, 45904];
/// Calls of each soak.
const SOAK: usize = 50;

/// A client that has one channel, and makes others.
pub(crate) struct Client {
    builder: Builder,
    channel: Channel,
}

impl Client {
    /// A client of this server.
    pub(crate) fn new(builder: Builder) -> Self {
        let channel = builder.clone().build();
        Self { builder, channel }
    }

    /// Runs the case of this name.
    pub(crate) async fn run(&self, case: &str) -> Checked {
        match case {
            "empty_unary" => self.empty_unary().await,
            "large_unary" => self.large_unary(&self.channel).await,
            "pick_first_unary" => self.pick_first_unary().await,
            "server_compressed_unary" => self.server_compressed_unary().await,
            "client_streaming" => self.client_streaming().await,
            "server_streaming" => self.server_streaming().await,
            "ping_pong" => self.ping_pong().await,
            "half_duplex" => self.half_duplex().await,
            "empty_stream" => self.empty_stream().await,
            "timeout_on_sleeping_server" => self.timeout_on_sleeping_server().await,
            "cancel_after_begin" => self.cancel_after_begin().await,
            "cancel_after_first_response" => self.cancel_after_first_response().await,
            "status_code_and_message" => self.status("test status message").await,
            "special_status_message" => {
                self.status("\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")
                    .await
            }
            "custom_metadata" => self.custom_metadata().await,
            "unimplemented_method" => self.unimplemented(SERVICE).await,
            "unimplemented_service" => {
                self.unimplemented("grpc.testing.UnimplementedService").await
            }
            "concurrent_large_unary" => self.concurrent_large_unary().await,
            "rpc_soak" => self.rpc_soak().await,
            "channel_soak" => self.channel_soak().await,
            _ => Err("no such case".into()),
        }
    }

    async fn empty_unary(&self) -> Checked {
        call::<_, Empty>(&self.channel, "EmptyCall", Request::new(Empty {})).await?;
        Ok(())
    }

    async fn large_unary(&self, channel: &Channel) -> Checked {
        let answer: Response<Answer> =
            call(channel, "UnaryCall", Request::new(large_request())).await?;
        require(size(answer.get_ref()) == 314_159, "the answer has another size")
    }

    /// All calls go to one server, as the channel says: not every server names itself.
    async fn pick_first_unary(&self) -> Checked {
        let mut servers = HashSet::new();
        for _ in 0..20 {
            let request = Request::new(large_request());
            let answer: Response<Answer> = call(&self.channel, "UnaryCall", request).await?;
            let server = answer.extensions().get::<ServedBy>().ok_or("nobody served it")?;
            servers.insert(server.0.to_string());
        }
        require(servers.len() == 1, format!("{servers:?}"))
    }

    async fn server_compressed_unary(&self) -> Checked {
        for value in [true, false] {
            let response_compressed = Some(BoolValue { value });
            let request = Request::new(SimpleRequest { response_compressed, ..large_request() });
            let mut grpc = ready(&self.channel).await?.accept_compressed(CompressionEncoding::Gzip);
            let codec = ProstCodec::<SimpleRequest, Answer>::default();
            let answer = grpc.unary(request, path(SERVICE, "UnaryCall"), codec).await?;
            let encoding = answer.metadata().get("grpc-encoding");
            let is_compressed = encoding.is_some_and(|encoding| encoding == "gzip");
            require(is_compressed || !value, "the answer is not compressed")?;
            require(size(answer.get_ref()) == 314_159, "the answer has another size")?;
        }
        Ok(())
    }

    async fn client_streaming(&self) -> Checked {
        let requests = REQUESTS.map(|size| StreamingInputCallRequest {
            payload: Payload::zeros(size),
            ..Default::default()
        });
        let mut grpc = ready(&self.channel).await?;
        let codec = ProstCodec::<StreamingInputCallRequest, StreamingInputCallResponse>::default();
        let requests = stream::iter(requests).into_streaming_request();
        let answer =
            grpc.client_streaming(requests, path(SERVICE, "StreamingInputCall"), codec).await?;
        let total = answer.into_inner().aggregated_payload_size;
        require(total == 74_922, "the requests had another size together")
    }

    async fn server_streaming(&self) -> Checked {
        let mut grpc = ready(&self.channel).await?;
        let codec = ProstCodec::<StreamingOutputCallRequest, Answer>::default();
        let request = Request::new(ask_for(&ANSWERS));
        let answers =
            grpc.server_streaming(request, path(SERVICE, "StreamingOutputCall"), codec).await?;
        require(sizes(answers.into_inner()).await? == ANSWERS, "the answers have other sizes")
    }

    async fn ping_pong(&self) -> Checked {
        let turns = ANSWERS.into_iter().zip(REQUESTS);
        let mut turns = turns.map(|(answer, request)| StreamingOutputCallRequest {
            payload: Payload::zeros(request),
            ..ask_for(&[answer])
        });
        let first = turns.next().ok_or("no turn")?;
        let (requests, mut answers) = duplex(&self.channel, Request::new(first)).await?;
        for size_of_answer in ANSWERS {
            let answer = answers.message().await?.ok_or("no answer")?;
            require(size(&answer) == size_of_answer, "an answer has another size")?;
            if let Some(next) = turns.next() {
                requests.send(next).await?;
            }
        }
        drop(requests);
        require(answers.message().await?.is_none(), "one answer too many")
    }

    async fn half_duplex(&self) -> Checked {
        let requests = ANSWERS.map(|size| ask_for(&[size]));
        let answers = streaming(&self.channel, "HalfDuplexCall", stream::iter(requests)).await?;
        require(sizes(answers).await? == ANSWERS, "the answers have other sizes")
    }

    async fn empty_stream(&self) -> Checked {
        let mut answers = streaming(&self.channel, "FullDuplexCall", stream::empty()).await?;
        require(answers.message().await?.is_none(), "an answer to nothing")
    }

    async fn timeout_on_sleeping_server(&self) -> Checked {
        let deadline = Instant::now() + Duration::from_millis(1);
        let hasty = self.channel.clone().with_deadline(deadline);
        let called = duplex(&hasty, Request::new(ask_for(&[31415]))).await;
        let ended = match called {
            Ok((_open, answers)) => sizes(answers).await.map(drop),
            Err(status) => Err(status),
        };
        let code = ended.map_or_else(|status| status.code(), |()| Code::Ok);
        require(code == Code::DeadlineExceeded, format!("{code:?}"))
    }

    /// In Rust, a call is cancelled when it is dropped: what can be seen is that this works.
    async fn cancel_after_begin(&self) -> Checked {
        let mut grpc = ready(&self.channel).await?;
        let codec = ProstCodec::<StreamingInputCallRequest, StreamingInputCallResponse>::default();
        let requests = stream::pending().into_streaming_request();
        let calling = grpc.client_streaming(requests, path(SERVICE, "StreamingInputCall"), codec);
        let ended = tokio::time::timeout(Duration::from_millis(50), calling).await;
        require(ended.is_err(), "it ended by itself")?;
        self.large_unary(&self.channel).await
    }

    async fn cancel_after_first_response(&self) -> Checked {
        let (requests, mut answers) =
            duplex(&self.channel, Request::new(ask_for(&[31415]))).await?;
        answers.message().await?.ok_or("no answer")?;
        drop(answers);
        // The stream is reset although requests could still come.
        requests.closed().await;
        Ok(())
    }

    async fn status(&self, message: &str) -> Checked {
        let wanted = EchoStatus { code: Code::Unknown as i32, message: message.to_owned() };
        let unary = SimpleRequest { response_status: Some(wanted.clone()), ..Default::default() };
        let unary = call::<_, Answer>(&self.channel, "UnaryCall", Request::new(unary)).await;
        let request =
            StreamingOutputCallRequest { response_status: Some(wanted), ..Default::default() };
        let called = streaming(&self.channel, "FullDuplexCall", stream::iter([request])).await;
        let streamed = match called {
            Ok(answers) => sizes(answers).await,
            Err(status) => Err(status),
        };
        for ended in [unary.map(drop), streamed.map(drop)] {
            let status = ended.err().ok_or("no error")?;
            let is_wanted = status.code() == Code::Unknown && status.message() == message;
            require(is_wanted, format!("{status:?}"))?;
        }
        Ok(())
    }

    async fn custom_metadata(&self) -> Checked {
        let answer: Response<Answer> =
            call(&self.channel, "UnaryCall", with_metadata(large_request())).await?;
        require_metadata(&answer)?;
        let (requests, mut answers) = duplex(&self.channel, with_metadata(ask_for(&[1]))).await?;
        drop(requests);
        while answers.message().await?.is_some() {}
        let trailers = answers.trailers().await?.ok_or("no trailers")?;
        let echoed = trailers.get_bin(ECHO_TRAILING).and_then(|value| value.to_bytes().ok());
        require(echoed.as_deref() == Some(&BINARY), "the trailers lack the metadata")
    }

    async fn unimplemented(&self, service: &str) -> Checked {
        let mut grpc = ready(&self.channel).await?;
        let path = path(service, "UnimplementedCall");
        let codec = ProstCodec::<Empty, Empty>::default();
        let ended = grpc.unary(Request::new(Empty {}), path, codec).await;
        let code = ended.map_or_else(|status| status.code(), |_| Code::Ok);
        require(code == Code::Unimplemented, format!("{code:?}"))
    }

    async fn concurrent_large_unary(&self) -> Checked {
        try_join_all((0..1000).map(|_| self.large_unary(&self.channel))).await.map(drop)
    }

    async fn rpc_soak(&self) -> Checked {
        for _ in 0..SOAK {
            self.large_unary(&self.channel).await?;
        }
        Ok(())
    }

    async fn channel_soak(&self) -> Checked {
        for _ in 0..SOAK {
            self.large_unary(&self.builder.clone().build()).await?;
        }
        Ok(())
    }
}

type Duplex = (mpsc::Sender<StreamingOutputCallRequest>, Streaming<Answer>);

/// A bidirectional call that begins with this request: a server may answer with nothing before.
async fn duplex(
    channel: &Channel,
    first: Request<StreamingOutputCallRequest>,
) -> Result<Duplex, Status> {
    let (requests, outgoing) = mpsc::channel(1);
    let (metadata, extensions, first) = first.into_parts();
    let outgoing = stream::iter([first]).chain(ReceiverStream::new(outgoing));
    let request = Request::from_parts(metadata, extensions, outgoing);
    Ok((requests, streaming(channel, "FullDuplexCall", request).await?))
}

async fn streaming(
    channel: &Channel,
    method: &str,
    requests: impl IntoStreamingRequest<Message = StreamingOutputCallRequest>,
) -> Result<Streaming<Answer>, Status> {
    let codec = ProstCodec::<StreamingOutputCallRequest, Answer>::default();
    let (requests, path) = (requests.into_streaming_request(), path(SERVICE, method));
    let answers = ready(channel).await?.streaming(requests, path, codec).await?;
    Ok(answers.into_inner())
}

async fn call<Q, R>(channel: &Channel, method: &str, request: Request<Q>) -> Answered<R>
where
    Q: Message + Default + 'static,
    R: Message + Default + 'static,
{
    let codec = ProstCodec::<Q, R>::default();
    ready(channel).await?.unary(request, path(SERVICE, method), codec).await
}

type Answered<R> = Result<Response<R>, Status>;

async fn ready(channel: &Channel) -> Result<Grpc<Channel>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await?;
    Ok(grpc)
}

fn path(service: &str, method: &str) -> PathAndQuery {
    format!("/{service}/{method}").parse().expect("invariant: names are a path")
}

fn large_request() -> SimpleRequest {
    SimpleRequest {
        response_size: 314_159,
        payload: Payload::zeros(271_828),
        ..SimpleRequest::default()
    }
}

fn ask_for(sizes: &[i32]) -> StreamingOutputCallRequest {
    let one = |&size| ResponseParameters { size, ..ResponseParameters::default() };
    let response_parameters = sizes.iter().map(one).collect();
    StreamingOutputCallRequest { response_parameters, ..StreamingOutputCallRequest::default() }
}

fn size(answer: &Answer) -> i32 {
    answer.payload.as_ref().map_or(0, |payload| payload.body.len() as i32)
}

async fn sizes(answers: Streaming<Answer>) -> Result<Vec<i32>, Status> {
    let sizes: Vec<_> = answers.map(|answer| answer.map(|answer| size(&answer))).collect().await;
    sizes.into_iter().collect()
}

const BINARY: [u8; 3] = [0xab, 0xab, 0xab];
const TEXT: &str = "test_initial_metadata_value";

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(ECHO_INITIAL, MetadataValue::from_static(TEXT));
    request.metadata_mut().insert_bin(ECHO_TRAILING, MetadataValue::from_bytes(&BINARY));
    request
}

/// Whether an answer has both; tonic gives the headers and the trailers of a unary call together.
fn require_metadata(answer: &Response<Answer>) -> Checked {
    let text = answer.metadata().get(ECHO_INITIAL).and_then(|value| value.to_str().ok());
    let binary = answer.metadata().get_bin(ECHO_TRAILING).and_then(|value| value.to_bytes().ok());
    require(text == Some(TEXT), "the headers lack the metadata")?;
    require(binary.as_deref() == Some(&BINARY), "the trailers lack the metadata")
}

fn require(holds: bool, otherwise: impl Into<String>) -> Checked {
    if holds { Ok(()) } else { Err(otherwise.into().into()) }
}
