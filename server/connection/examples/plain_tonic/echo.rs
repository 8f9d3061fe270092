//! An ordinary tonic service with a method of each kind, and a client for it.
//!
//! Written by hand on what tonic generates code for, so that the example needs no build script. A
//! generated service goes to `Routes::add_service` in the same way.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream,
    stream::BoxStream,
};
use http::uri::PathAndQuery;
use tonic::{
    IntoStreamingRequest, Request, Response, Status, Streaming,
    body::Body,
    codegen::StdError,
    server::{Grpc, NamedService},
    transport::Channel,
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// The one message of the service.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Word {
    /// What is echoed.
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

impl Word {
    /// A message with this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

/// The four handlers.
impl Echo {
    /// Unary: the word again.
    async fn once(request: Request<Word>) -> Result<Response<Word>, Status> {
        match &*request.get_ref().text {
            "" => Err(Status::invalid_argument("say something")),
            "wait" => std::future::pending().await,
            _ => Ok(Response::new(request.into_inner())),
        }
    }

    /// Server streaming: each letter of the word; for "wait", nothing and no end.
    async fn letters(request: Request<Word>) -> Result<Response<Words>, Status> {
        let text = request.into_inner().text;
        let letters: Vec<_> = text.chars().map(|letter| Ok(Word::new(letter))).collect();
        Ok(Response::new(match &*text {
            "wait" => stream::pending().boxed(),
            _ => stream::iter(letters).boxed(),
        }))
    }

    /// Client streaming: all words in one.
    async fn joined(request: Request<Streaming<Word>>) -> Result<Response<Word>, Status> {
        let words: Vec<Word> = request.into_inner().try_collect().await?;
        let words: Vec<String> = words.into_iter().map(|word| word.text).collect();
        Ok(Response::new(Word::new(words.join(" "))))
    }

    /// Bidirectional: each word as it comes.
    async fn each(request: Request<Streaming<Word>>) -> Result<Response<Words>, Status> {
        Ok(Response::new(request.into_inner().boxed()))
    }
}

type Words = BoxStream<'static, Result<Word, Status>>;

/// What tonic would generate: the server.
#[derive(Debug, Clone)]
pub(crate) struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "plain.Echo";
}

impl<B> Service<http::Request<B>> for Echo
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let mut grpc = Grpc::new(ProstCodec::<Word, Word>::default());
        async move {
            Ok(match &*path {
                "/plain.Echo/Once" => grpc.unary(service_fn(Self::once), request).await,
                "/plain.Echo/Letters" => {
                    grpc.server_streaming(service_fn(Self::letters), request).await
                }
                "/plain.Echo/Joined" => {
                    grpc.client_streaming(service_fn(Self::joined), request).await
                }
                "/plain.Echo/Each" => grpc.streaming(service_fn(Self::each), request).await,
                _ => Status::unimplemented("").into_http(),
            })
        }
        .boxed()
    }
}

/// What tonic would generate: the client.
#[derive(Debug, Clone)]
pub(crate) struct EchoClient(tonic::client::Grpc<Channel>);

type Answered<T> = Result<Response<T>, Status>;

impl EchoClient {
    /// A client on a channel.
    pub(crate) fn new(channel: Channel) -> Self {
        Self(tonic::client::Grpc::new(channel))
    }

    /// Unary.
    pub(crate) async fn once(&mut self, request: Request<Word>) -> Answered<Word> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/plain.Echo/Once");
        self.0.unary(request, path, ProstCodec::default()).await
    }

    /// Server streaming.
    pub(crate) async fn letters(&mut self, request: Request<Word>) -> Answered<Streaming<Word>> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/plain.Echo/Letters");
        self.0.server_streaming(request, path, ProstCodec::default()).await
    }

    /// Client streaming.
    pub(crate) async fn joined(
        &mut self,
        words: impl Stream<Item = Word> + Send + 'static,
    ) -> Answered<Word> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/plain.Echo/Joined");
        self.0.client_streaming(words.into_streaming_request(), path, ProstCodec::default()).await
    }

    /// Bidirectional.
    pub(crate) async fn each(
        &mut self,
        words: impl Stream<Item = Word> + Send + 'static,
    ) -> Answered<Streaming<Word>> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/plain.Echo/Each");
        self.0.streaming(words.into_streaming_request(), path, ProstCodec::default()).await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}
