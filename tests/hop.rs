//! The hop from Post to User: encrypted, and with Post's own credentials.

use quartet::{post::v1::post_service_client::PostServiceClient, reason};
use quartet_channel::{TlsSettings as ClientTls, TokenSource};
use quartet_client::Channel;
use quartet_server::{
    auth::Scope,
    settings::{Role, Settings, UserEndpoint, UserSettings},
};
use tonic::Code;

use crate::support::{
    TestServer, assert_refused,
    certs::{Authority, with_token},
    post, soon, upload_of,
};

/// A User service that accepts tokens and certificates of this authority.
async fn user_service(authority: &Authority) -> TestServer {
    let tls = authority.mutual_tls();
    let config = Settings { serve: vec![Role::User], tls, ..authority.token_config() };
    TestServer::with(config).await
}

/// A Post service that calls that User service, shows a certificate of `of_users`, and accepts
/// callers' tokens of `of_callers`.
fn post_service(
    users: &TestServer,
    of_users: &Authority,
    of_callers: &Authority,
    token: Option<TokenSource>,
) -> Settings {
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|name| of_users.file(name));
    let tls = ClientTls {
        ca: Some(ca),
        cert: Some(cert),
        key: Some(key),
        server_name: Some("localhost".to_owned()),
    };
    let endpoint = UserEndpoint::new(format!("https://{}", users.address()));
    Settings {
        serve: vec![Role::Post],
        users: UserSettings { file: None, remote: Some(UserEndpoint { tls, token, ..endpoint }) },
        ..of_callers.token_config()
    }
}

fn caller(server: &TestServer, authority: &Authority) -> Channel {
    with_token(server.channel(), &authority.token("1", 60))
}

#[tokio::test]
async fn post_calls_user_with_its_own_certificate() {
    let (of_users, of_callers) = (Authority::new(), Authority::new());
    let users = user_service(&of_users).await;
    let server = TestServer::with(post_service(&users, &of_users, &of_callers, None)).await;
    let mut client = PostServiceClient::new(caller(&server, &of_callers));
    let stored = soon(client.upload_posts(upload_of([post("a", &[])]))).await.unwrap();
    assert_eq!(stored.into_inner().created_count, 1);
}

#[tokio::test]
async fn post_calls_user_with_its_own_token_and_never_with_its_callers() {
    let (of_users, of_callers) = (Authority::new(), Authority::new());
    let users = user_service(&of_users).await;
    let file = of_users.file("post.token");
    let token = Some(TokenSource::File(file.clone()));
    let server = TestServer::with(post_service(&users, &of_users, &of_callers, token)).await;
    let mut client = PostServiceClient::new(caller(&server, &of_callers));

    // With its caller's token Post would be refused by User, and without a token too.
    for (scopes, let_in) in [(&[][..], false), (&[Scope::UsersRead][..], true)] {
        std::fs::write(&file, of_users.sign(&of_users.claims("9", scopes, 60))).unwrap();
        let outcome = soon(client.upload_posts(upload_of([post("a", &[])]))).await;
        if let_in {
            assert_eq!(outcome.unwrap().into_inner().created_count, 1);
        } else {
            assert_refused(outcome, Code::Unavailable, reason::USER_SERVICE_UNAVAILABLE);
        }
    }
}

#[tokio::test]
async fn a_token_for_user_is_not_sent_in_plaintext() {
    let token = Some(TokenSource::File("post.token".into()));
    let endpoint = UserEndpoint { token, ..UserEndpoint::new("http://127.0.0.1:1") };
    let users = UserSettings { file: None, remote: Some(endpoint) };
    let config = Settings { serve: vec![Role::Post], users, ..Settings::default() };
    let error = quartet_server::server::Server::open(config).await.unwrap_err().to_string();
    assert!(error.contains("a token is not sent over plaintext"), "{error}");
}
