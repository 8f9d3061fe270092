//! Health and reflection: what load balancers, orchestrators and tools query.

use std::sync::Arc;

use quartet::{
    health::v1::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest,
        health_check_response::ServingStatus, health_client::HealthClient,
    },
    post::v1::ListPostsRequest,
    reason,
};
use quartet_client::Channel;
use quartet_log::LogError;
use quartet_server::{
    server::{Server, answer_while},
    settings::{Role, Settings},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tonic::{Code, Streaming};
use tonic_reflection::pb::v1::{
    ExtensionRequest, ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{
    TestServer, assert_refused,
    fakes::{CountingUsers, FakeLog},
    is_stuck, listed, posts,
    server::target,
    soon, upload,
};

const POST: &str = "post.v1.PostService";
const USER: &str = "user.v1.UserService";

async fn check(channel: &Channel, service: &str) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let response = soon(HealthClient::new(channel.clone()).check(request)).await?;
    Ok(response.into_inner().status())
}

async fn watch(channel: &Channel, service: &str) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: service.to_owned() };
    soon(HealthClient::new(channel.clone()).watch(request)).await.unwrap().into_inner()
}

async fn status(stream: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    soon(stream.message()).await.unwrap().expect("the watch goes on").status()
}

#[tokio::test]
async fn the_server_and_each_of_its_services_are_serving_and_others_are_not_found() {
    let server = TestServer::start().await;
    for service in ["", POST, USER] {
        assert_eq!(check(&server.channel(), service).await.unwrap(), ServingStatus::Serving);
    }
    let refused = check(&server.channel(), "post.v1.Unheard").await;
    assert_refused(refused, Code::NotFound, reason::UNKNOWN_SERVICE);
    let mut client = HealthClient::new(server.channel());
    let all = client.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
    let mut names: Vec<_> = all.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["", POST, USER]);
    assert!(all.values().all(|one| one.status() == ServingStatus::Serving));
    server.stop().await;
}

#[tokio::test]
async fn a_server_knows_only_the_services_that_it_runs() {
    let config = Settings { serve: vec![Role::User], ..Settings::default() };
    let server = TestServer::with(config).await;
    assert_eq!(check(&server.channel(), USER).await.unwrap(), ServingStatus::Serving);
    assert_eq!(check(&server.channel(), POST).await.unwrap_err().code(), Code::NotFound);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_sends_the_status_and_its_changes_even_of_an_unknown_service() {
    let server = TestServer::in_memory().await;
    let channel = server.channel();
    let mut known = watch(&channel, POST).await;
    let mut unknown = watch(&channel, "post.v1.Unheard").await;
    assert_eq!(status(&mut known).await, ServingStatus::Serving);
    assert_eq!(status(&mut unknown).await, ServingStatus::ServiceUnknown);
    assert!(is_stuck(known.message()).await && is_stuck(unknown.message()).await);

    let stopping = server.begin_stop();
    assert_eq!(status(&mut known).await, ServingStatus::NotServing);
    let end = soon(known.message()).await.map(drop);
    assert_refused(end, Code::Unavailable, reason::SHUTDOWN);
    let end = soon(unknown.message()).await.map(drop);
    assert_refused(end, Code::Unavailable, reason::SHUTDOWN);
    soon(stopping).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn post_is_not_serving_once_its_log_has_failed() {
    let log = Arc::new(FakeLog::default());
    let (users, _serving) = CountingUsers::default().serve();
    let server = TestServer::of_parts(log.clone(), users);
    let mut watched = watch(&server.channel(), POST).await;
    assert_eq!(status(&mut watched).await, ServingStatus::Serving);
    log.fail_appends(LogError::Failed(Arc::new(std::io::Error::other("broken"))));
    assert_eq!(status(&mut watched).await, ServingStatus::NotServing);
    assert_eq!(check(&server.channel(), "").await.unwrap(), ServingStatus::NotServing);
    drop(watched);
    server.stop().await;
}

#[tokio::test]
async fn before_the_log_is_open_health_is_unknown_and_calls_are_unavailable() {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (open, opened) = oneshot::channel::<()>();
    let opening = tokio::task::spawn(async move {
        let config = Settings::default();
        let server = answer_while(&mut listener, &config, async {
            opened.await.unwrap();
            Server::open(config.clone()).await
        });
        (server.await.unwrap(), listener)
    });
    let channel = Channel::builder(target(address)).build();
    assert_eq!(check(&channel, POST).await.unwrap(), ServingStatus::Unknown);
    let mut client =
        quartet::post::v1::post_service_client::PostServiceClient::new(channel.clone());
    let refused = listed(&mut client, ListPostsRequest::default()).await;
    assert_refused(refused, Code::Unavailable, reason::STARTING);

    open.send(()).unwrap();
    let (server, listener) = soon(opening).await.unwrap();
    let serving = server.serve(listener, std::future::pending());
    let calling = async {
        upload(&mut client, posts("p", 1, &[])).await.unwrap();
        assert_eq!(check(&channel, POST).await.unwrap(), ServingStatus::Serving);
    };
    tokio::select! {
        served = serving => served.unwrap(),
        () = calling => {}
    }
}

#[tokio::test]
async fn reflection_describes_the_services_of_the_contract_but_not_those_of_the_blog() {
    let server = TestServer::start().await;
    let (sender, receiver) = mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut client = ServerReflectionClient::new(server.channel());
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    sender.send(ask(MessageRequest::ListServices(String::new()))).await.unwrap();
    let mut answers = soon(client.server_reflection_info(requests)).await.unwrap().into_inner();
    let mut answer = async || soon(answers.message()).await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer().await else {
        panic!("no list of services")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort_unstable();
    let reflection =
        ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    assert_eq!(names, [&["grpc.health.v1.Health"], &reflection[..], &[POST, USER]].concat());
    for symbol in [
        "post.v1.PostService",
        "post.v1.PostService.TagFeed",
        "post.v1.PostMessage",
        "post.v1.PostMessage.title",
        "google.protobuf.Timestamp",
        // What the details of a status can be.
        "google.rpc.Status",
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
        "google.rpc.RetryInfo",
        "google.rpc.RetryInfo.retry_delay",
        // A value of an enum stands beside the enum.
        "grpc.health.v1.HealthCheckResponse.SERVING",
        reflection[0],
        reflection[1],
    ] {
        // An unknown name in between does not end the stream.
        for (name, is_known) in [(symbol.to_owned(), true), (format!("{symbol}X"), false)] {
            sender.send(ask(MessageRequest::FileContainingSymbol(name.clone()))).await.unwrap();
            match answer().await {
                Some(MessageResponse::FileDescriptorResponse(_)) => assert!(is_known, "{name}"),
                Some(MessageResponse::ErrorResponse(error)) => {
                    assert!(!is_known, "{name}");
                    assert_eq!(error.error_code, Code::NotFound as i32, "{name}: {error:?}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    let unanswerable = [
        MessageRequest::FileByFilename("no.proto".to_owned()),
        MessageRequest::AllExtensionNumbersOfType("no.Message".to_owned()),
        MessageRequest::FileContainingExtension(ExtensionRequest {
            containing_type: "post.v1.PostMessage".to_owned(),
            extension_number: -1,
        }),
    ];
    for question in unanswerable {
        sender.send(ask(question.clone())).await.unwrap();
        let Some(MessageResponse::ErrorResponse(error)) = answer().await else {
            panic!("{question:?}")
        };
        assert_eq!(error.error_code, Code::NotFound as i32, "{error:?}");
    }
    // An open reflection stream of a tool does not delay a server that stops.
    let served = server.begin_stop();
    assert!(soon(answers.message()).await.unwrap().is_none());
    soon(served).await.unwrap().unwrap();
    drop(sender);
}
