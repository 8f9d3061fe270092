//! The examples on the generated client, as processes against a scripted server.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use quartet::post::v1::{
    Bookmark, Receipt, UploadPostsResponse, tag_feed_request::Payload as Request,
    tag_feed_response::Payload as Response,
};
use tokio::process::{Child, Command};
use tonic::Status;

use crate::fake::{Fake, page, position, within};

/// Starts an example. `cargo test` builds the examples beside the binaries of this package.
fn start(example: &str, server: &Fake) -> Child {
    let binaries = Path::new(env!("CARGO_BIN_EXE_unary")).parent().unwrap();
    let program = binaries.join("examples").join(example);
    assert!(
        program.exists(),
        "{} is missing; build it with: cargo build -p quartet-client --examples",
        program.display()
    );
    let mut command = Command::new(program);
    command.arg(server.url()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

async fn end(example: Child) -> (bool, String, String) {
    let Output { status, stdout, stderr } = within(example.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

#[tokio::test]
async fn the_unary_example_prints_a_page() {
    let mut server = Fake::start().await;
    let example = start("unary", &server);
    let call = server.accept_unary().await;
    assert_eq!(call.request.user_id, "1");
    call.answer.send(Ok(page(&[3, 4], 9, false))).unwrap();
    let (success, stdout, stderr) = end(example).await;
    assert!(success, "{stderr}");
    assert_eq!(stdout, "-> posts of user 1\n<- 3 Kim: post 3\n<- 4 Kim: post 4\n");
}

#[tokio::test]
async fn the_server_streaming_example_prints_batches_until_the_status() {
    let mut server = Fake::start().await;
    let example = start("server_streaming", &server);
    let call = server.accept_list().await;
    call.send(&[1], 1, false).await;
    call.send(&[2], 2, true).await;
    drop(call);
    let (success, stdout, stderr) = end(example).await;
    assert!(success, "{stderr}");
    assert_eq!(stdout, "-> all posts\n<- 1 Kim: post 1\n<- 2 Kim: post 2\n");
}

#[tokio::test]
async fn the_client_streaming_example_sends_its_posts_and_a_finish() {
    let mut server = Fake::start().await;
    let example = start("client_streaming", &server);
    let mut call = server.accept_upload().await;
    assert_eq!(call.posts(2).await, ["Hello", "Hello-again"]);
    assert_eq!(call.finish().await, 2);
    let response =
        UploadPostsResponse { created_count: 1, duplicate_count: 1, ..Default::default() };
    call.answer.send(Ok(response)).unwrap();
    let (success, stdout, stderr) = end(example).await;
    assert!(success, "{stderr}");
    assert_eq!(stdout, "-> Hello\n-> Hello again\n<- created: 1, duplicates: 1\n");
}

#[tokio::test]
async fn the_bidirectional_example_half_closes_and_reads_to_the_end() {
    let mut server = Fake::start().await;
    let example = start("bidirectional", &server);
    let mut call = server.accept_feed().await;
    assert!(matches!(call.next().await, Request::Join(join) if join.tags == ["coffee"]));
    assert!(matches!(call.next().await, Request::Publish(_)));
    assert!(call.is_half_closed().await);
    let receipt = Receipt { post_id: "a-cup".into(), sequence: 5, ..Default::default() };
    call.send(Response::Receipt(receipt)).await;
    let bookmark = Bookmark { position: Some(position(5)), caught_up: true };
    call.send(Response::Bookmark(bookmark)).await;
    drop(call);
    let (success, stdout, stderr) = end(example).await;
    assert!(success, "{stderr}");
    let kinds: Vec<_> = stdout.lines().map(|line| line.split(['(', '{']).next().unwrap()).collect();
    assert_eq!(kinds, ["-> Join", "-> Publish", "<- Some", "<- Some"], "{stdout}");
}

#[tokio::test]
async fn an_example_fails_with_the_status_of_its_stream() {
    let mut server = Fake::start().await;
    let example = start("server_streaming", &server);
    let call = server.accept_list().await;
    call.send(&[1], 1, false).await;
    call.fail(Status::unavailable("draining")).await;
    let (success, stdout, stderr) = end(example).await;
    assert!(!success);
    assert_eq!(stdout, "-> all posts\n<- 1 Kim: post 1\n");
    assert!(stderr.contains("draining"), "{stderr}");
}
