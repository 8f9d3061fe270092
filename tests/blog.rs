//! The blog's own names, `/v1.user.User/*` and `/v1.post.Post/*`: its programs work against this
//! server.

use std::path::Path;

use prost::Message;
use quartet::{
    limits,
    post::v1::{
        ListPostsByUserIdRequest, ListPostsByUserIdResponse, ListPostsRequest, ListPostsResponse,
    },
    reason,
    user::v1::{GetUserRequest, GetUserResponse, ListUsersRequest, ListUsersResponse},
};
use quartet_client::Channel;
use quartet_server::settings::{Settings, UserSettings};
use tonic::{Code, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::support::{
    TestServer, assert_refused, large_post, post_ids, posts, read_log, sequence, soon, upload,
};

/// Calls a unary method by name, as a client generated from the blog's protos would.
async fn call<Q, A>(channel: Channel, path: &'static str, request: Q) -> Result<A, Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(channel);
    soon(grpc.ready()).await.unwrap();
    let path = PathAndQuery::from_static(path);
    let codec = ProstCodec::<Q, A>::default();
    let response = soon(grpc.unary(tonic::Request::new(request), path, codec)).await?;
    Ok(response.into_inner())
}

#[tokio::test]
async fn the_user_service_answers_under_the_blogs_name() {
    let server = TestServer::start().await;
    let channel = server.channel();
    let request = GetUserRequest { user_id: "2".to_owned() };
    let one: GetUserResponse =
        call(channel.clone(), "/v1.user.User/GetUser", request).await.unwrap();
    assert_eq!(one.user_message.unwrap().name, "Michael");
    let all: ListUsersResponse =
        call(channel.clone(), "/v1.user.User/ListUsers", ListUsersRequest {}).await.unwrap();
    let names: Vec<_> = all.user_messages.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["Henry", "Michael", "Jessie", "Max", "Tony"]);
    let nobody = GetUserRequest { user_id: "nobody".to_owned() };
    let outcome = call::<_, GetUserResponse>(channel, "/v1.user.User/GetUser", nobody).await;
    assert_refused(outcome, Code::NotFound, reason::USER_NOT_FOUND);
    server.stop().await;
}

#[tokio::test]
async fn one_users_posts_come_under_the_blogs_name_with_the_same_rules() {
    let server = TestServer::start().await;
    upload(&mut server.posts(), posts("p", 3, &["a"])).await.unwrap();
    const PATH: &str = "/v1.post.Post/ListPostsByUserId";
    let request = |user_id: &str| ListPostsByUserIdRequest {
        user_id: user_id.to_owned(),
        resume_after: None,
    };
    let page: ListPostsByUserIdResponse = call(server.channel(), PATH, request("1")).await.unwrap();
    assert_eq!(post_ids(&page.post_messages), ["p0", "p1", "p2"]);
    assert_eq!(page.post_messages[0].author, "Henry");
    let outcome = call::<_, ListPostsByUserIdResponse>(server.channel(), PATH, request("")).await;
    assert_refused(outcome, Code::InvalidArgument, reason::INVALID_REQUEST);
    server.stop().await;
}

async fn list(channel: Channel) -> Result<ListPostsResponse, Status> {
    call(channel, "/v1.post.Post/ListPosts", ListPostsRequest::default()).await
}

#[tokio::test]
async fn the_unary_list_shows_a_thousand_posts_at_once() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let empty = list(server.channel()).await.unwrap();
    assert!(empty.post_messages.is_empty());
    upload(&mut client, posts("p", 1000, &["a"])).await.unwrap();
    let all = list(server.channel()).await.unwrap();
    assert_eq!(all.post_messages, read_log(&mut client).await);
    assert_eq!(sequence(&all.position), 1000);
    server.stop().await;
}

#[tokio::test]
async fn the_unary_list_ends_at_one_mebibyte_and_names_the_stream() {
    let server = TestServer::start().await;
    let mut client = server.posts();
    let large = |from, to| (from..to).map(|n| large_post(format!("p{n}"), &[], limits::BODY_BYTES));
    upload(&mut client, large(0, 15)).await.unwrap();
    let all = list(server.channel()).await.unwrap();
    assert_eq!(all.post_messages.len(), 15);
    assert!(all.encoded_len() <= limits::PAGE_BYTES);

    upload(&mut client, large(15, 17)).await.unwrap();
    let outcome = list(server.channel()).await;
    let status = assert_refused(outcome, Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE);
    assert!(status.message().contains("/post.v1.PostService/ListPosts"), "{status:?}");
    server.stop().await;
}

fn with_users(file: &Path) -> Settings {
    let users = UserSettings { file: Some(file.to_owned()), ..UserSettings::default() };
    Settings { users, ..Settings::default() }
}

#[tokio::test]
async fn a_unary_list_is_never_over_one_mebibyte_however_long_the_names() {
    let users = tempfile::NamedTempFile::new().unwrap();
    let line = serde_json::json!({ "user_id": "1", "name": "漢".repeat(limits::AUTHOR_CHARS) });
    std::fs::write(users.path(), line.to_string()).unwrap();
    let server = TestServer::with(with_users(users.path())).await;
    upload(&mut server.posts(), posts("p", 2000, &[])).await.unwrap();
    let outcome = list(server.channel()).await;
    assert_refused(outcome, Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE);
    assert_eq!(read_log(&mut server.posts()).await[1999].author.chars().count(), 256);
    server.stop().await;
}

#[tokio::test]
async fn a_list_of_users_over_one_mebibyte_is_refused() {
    let users = tempfile::NamedTempFile::new().unwrap();
    let line = |n| serde_json::json!({ "user_id": format!("u{n}"), "name": "n".repeat(250) });
    let lines: Vec<_> = (0..4500).map(|n| line(n).to_string()).collect();
    std::fs::write(users.path(), lines.join("\n")).unwrap();
    let server = TestServer::with(with_users(users.path())).await;
    for path in ["/v1.user.User/ListUsers", "/user.v1.UserService/ListUsers"] {
        let outcome =
            call::<_, ListUsersResponse>(server.channel(), path, ListUsersRequest {}).await;
        assert_refused(outcome, Code::ResourceExhausted, reason::RESPONSE_TOO_LARGE);
    }
    server.stop().await;
}
