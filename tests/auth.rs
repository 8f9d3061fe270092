//! Authentication and authorization: every method with every kind of credentials, and which user's
//! posts a caller may write.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use quartet::{
    post::v1::{PostMessage, post_service_client::PostServiceClient},
    reason,
};
use quartet_channel::{CallError, Channel, Credentials, SetupError};
use quartet_client::Error;
use quartet_server::{
    auth::{Access, AuthSettings, Scope},
    settings::Settings,
};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use crate::support::{
    TestServer,
    certs::{Authority, now, with_token},
    post, refusal, soon, upload_of,
};

/// The code with which an empty call ends, or `OK` once a response begins; then the reason.
type Outcome = (Code, String);

fn outcome(status: &Status) -> Outcome {
    let reason = status.get_details_error_info().map(|info| info.reason);
    (status.code(), reason.unwrap_or_default())
}

/// Calls a method with an empty message.
async fn call(channel: &Channel, path: &str) -> Outcome {
    let request = http::Request::post(path).header("content-type", "application/grpc");
    let message = Full::new(Bytes::from_static(&[0, 0, 0, 0, 0]));
    let request = request.body(Body::new(message)).unwrap();
    let response = match soon(channel.clone().oneshot(request)).await {
        Ok(response) => response,
        Err(error) => {
            let status = Status::from_error(error.into());
            let error = Error::from(status.clone());
            if let Error::Call(CallError::Local(_)) = error {
                return outcome(&status); // no token is left to send
            }
            assert!(
                matches!(error, Error::Call(CallError::Connect(_) | CallError::Lost(_))),
                "{error}"
            );
            return (Code::Unavailable, "no connection".to_owned());
        }
    };
    if let Some(status) = Status::from_header_map(response.headers()) {
        return outcome(&status);
    }
    let mut body = response.into_body();
    while let Some(frame) = soon(body.frame()).await {
        match frame.unwrap().into_trailers() {
            Ok(trailers) => return outcome(&Status::from_header_map(&trailers).unwrap()),
            Err(data) if data.data_ref().is_some_and(|data| !data.is_empty()) => break,
            Err(_) => {}
        }
    }
    (Code::Ok, String::new())
}

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// All methods, the scopes that they require, and the outcome of an empty message.
fn methods() -> Vec<(&'static str, &'static [Scope], Code)> {
    use Code::{InvalidArgument, Ok};
    use Scope::{PostsRead, PostsWrite, UsersRead};
    vec![
        ("/user.v1.UserService/GetUser", &[UsersRead], InvalidArgument),
        ("/user.v1.UserService/ListUsers", &[UsersRead], Ok),
        ("/post.v1.PostService/ListPostsByUserId", &[PostsRead], InvalidArgument),
        ("/post.v1.PostService/ListPosts", &[PostsRead], Ok),
        ("/post.v1.PostService/UploadPosts", &[PostsWrite], InvalidArgument),
        ("/post.v1.PostService/TagFeed", &[PostsRead, PostsWrite], InvalidArgument),
        ("/v1.user.User/GetUser", &[UsersRead], InvalidArgument),
        ("/v1.user.User/ListUsers", &[UsersRead], Ok),
        ("/v1.post.Post/ListPostsByUserId", &[PostsRead], InvalidArgument),
        ("/v1.post.Post/ListPosts", &[PostsRead], Ok),
        ("/grpc.health.v1.Health/Check", &[], Ok),
        ("/grpc.health.v1.Health/List", &[], Ok),
        (WATCH, &[], Ok),
        (REFLECTION, &[], Ok),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &[], Ok),
    ]
}

/// All kinds of tokens, each with the reason of its refusal, or "" if it is accepted.
fn tokens(authority: &Authority) -> BTreeMap<&'static str, (Option<String>, &'static str)> {
    let good = authority.claims("1", &Scope::ALL, 3600);
    let token = |key: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[key] = value;
        Some(authority.sign(&claims))
    };
    let right = authority.sign(&good);
    let (signed, signature) = right.rsplit_once('.').unwrap();
    let [_, claims] = signed.split('.').collect::<Vec<_>>()[..] else { panic!("a JWT") };
    let broken: String = signature.chars().rev().collect();
    let none = format!("eyJhbGciOiJub25lIn0.{claims}."); // {"alg":"none"}
    let hmac = format!("eyJhbGciOiJIUzI1NiJ9.{claims}.{signature}"); // {"alg":"HS256"}
    BTreeMap::from([
        ("none", (None, reason::CREDENTIALS_MISSING)),
        ("right", (Some(right.clone()), "")),
        ("bad signature", (Some(format!("{signed}.{broken}")), reason::TOKEN_INVALID)),
        ("other key", (Some(Authority::new().sign(&good)), reason::TOKEN_INVALID)),
        ("no algorithm", (Some(none), reason::TOKEN_INVALID)),
        ("other algorithm", (Some(hmac), reason::TOKEN_INVALID)),
        ("no JWT", (Some("x".to_owned()), reason::TOKEN_INVALID)),
        ("wrong audience", (token("aud", "others".into()), reason::TOKEN_INVALID)),
        ("wrong issuer", (token("iss", "others".into()), reason::TOKEN_INVALID)),
        ("no user", (token("sub", "".into()), reason::TOKEN_INVALID)),
        ("not yet valid", (token("nbf", (now() + 60).into()), reason::TOKEN_INVALID)),
        ("nbf is not a time", (token("nbf", "soon".into()), reason::TOKEN_INVALID)),
        ("expired", (token("exp", (now() - 1).into()), reason::TOKEN_EXPIRED)),
        ("no expiry", (token("exp", serde_json::Value::Null), reason::TOKEN_INVALID)),
        ("wrong scope", (token("scope", "posts.delete".into()), reason::SCOPE_MISSING)),
    ])
}

/// The answer of a method to a token that is refused for this reason.
fn expected(path: &str, scopes: &[Scope], let_in: Code, refused: &str) -> Outcome {
    let refused = match refused {
        _ if path.starts_with("/grpc.health.") => "", // no token required
        reason::SCOPE_MISSING if scopes.is_empty() => "",
        refused => refused,
    };
    let code = match refused {
        "" => let_in,
        reason::SCOPE_MISSING => Code::PermissionDenied,
        _ => Code::Unauthenticated,
    };
    let invalid = match path {
        "/post.v1.PostService/UploadPosts" => reason::UPLOAD_PROTOCOL,
        _ => reason::INVALID_REQUEST,
    };
    let reason = match code {
        Code::InvalidArgument => invalid,
        _ => refused,
    };
    (code, reason.to_owned())
}

async fn check_matrix(transport: &str, authority: &Authority, channel: Channel, without: &str) {
    for (kind, (token, refused)) in tokens(authority) {
        let refused = if kind == "none" { without } else { refused };
        for (path, scopes, let_in) in methods() {
            // Each token has its own credentials: a client does not send a refused token again.
            let channel = match &token {
                Some(token) => with_token(channel.clone(), token),
                None => channel.clone(),
            };
            let expected = expected(path, scopes, let_in, refused);
            let seen = call(&channel, path).await;
            assert_eq!(seen, expected, "{transport}, token: {kind}, {path}");
        }
    }
}

#[tokio::test]
async fn every_method_with_every_token_over_every_transport_is_answered_as_the_table_says() {
    let (authority, other) = (Authority::new(), Authority::new());
    let missing = reason::CREDENTIALS_MISSING;

    let plaintext = TestServer::with(authority.token_config()).await;
    check_matrix("plaintext", &authority, plaintext.plain_channel(), missing).await;

    let config = Settings { tls: authority.tls(), ..authority.token_config() };
    let tls = TestServer::with(config).await;
    check_matrix("TLS", &authority, tls.tls_channel(&authority.client()), missing).await;

    let config = Settings { tls: authority.mutual_tls(), ..authority.token_config() };
    let mutual = TestServer::with(config).await;
    let certified = mutual.tls_channel(&authority.certified_client());
    // Without a token, the certificate determines the caller and its scopes.
    check_matrix("mTLS", &authority, certified, "").await;

    for (kind, (token, _)) in tokens(&authority) {
        let none = mutual.tls_channel(&authority.client());
        let wrong = mutual.tls_channel(&authority.client_certified_by(&other));
        for channel in [none, wrong] {
            let channel = match &token {
                Some(token) => with_token(channel, token),
                None => channel,
            };
            let (code, reason) = call(&channel, "/post.v1.PostService/ListPosts").await;
            assert_eq!((code, reason.as_str()), (Code::Unavailable, "no connection"), "{kind}");
        }
    }
}

#[tokio::test]
async fn with_certificates_alone_tokens_are_ignored() {
    let authority = Authority::new();
    let config = Settings { tls: authority.mutual_tls(), ..Settings::default() };
    let server = TestServer::with(config).await;
    let channel = server.tls_channel(&authority.certified_client());
    let refused = upload_as(with_token(channel.clone(), "x"), &["", "1", "2"]).await;
    assert_eq!(refused, [(2, reason::OTHER_USER.to_owned())]);
    assert_eq!(call(&channel, REFLECTION).await.0, Code::Ok, "the caller is admitted");
}

#[tokio::test]
async fn no_spelling_of_a_path_bypasses_authorization() {
    let authority = Authority::new();
    let server = TestServer::with(authority.token_config()).await;
    let anonymous = server.plain_channel();
    let authenticated = with_token(anonymous.clone(), &authority.token("1", 60));
    for path in [
        "//post.v1.PostService/ListPosts",
        "/post.v1.PostService//ListPosts",
        "/post.v1.PostService/ListPosts/",
        "/post.v1.PostService%2FListPosts",
        "/post.v1.PostService/%4CistPosts",
        "/POST.V1.POSTSERVICE/LISTPOSTS",
        "/post.v1.PostService/listPosts",
        "/post.v1.PostService/ListPosts;x=1",
        "/post.v1.PostService/ListPosts%00",
        "/./post.v1.PostService/ListPosts",
        "/x/../post.v1.PostService/ListPosts",
        "/grpc.health.v1.Health/../../post.v1.PostService/ListPosts",
        "/post.v1.PostService/Nothing",
        "/nobody.v1.Service/ListPosts",
        "/",
    ] {
        let missing = (Code::Unauthenticated, reason::CREDENTIALS_MISSING.to_owned());
        assert_eq!(call(&anonymous, path).await, missing, "{path}");
        let unknown = (Code::Unimplemented, reason::UNKNOWN_METHOD.to_owned());
        assert_eq!(call(&authenticated, path).await, unknown, "{path}");
    }
    let query = "/post.v1.PostService/ListPosts?x=/grpc.health.v1.Health/Check";
    assert_eq!(call(&anonymous, query).await.1, reason::CREDENTIALS_MISSING);
}

#[tokio::test]
async fn flags_open_or_close_health_and_reflection_separately() {
    let authority = Authority::new();
    let auth =
        AuthSettings { health: Access::Closed, reflection: Access::Open, ..authority.auth() };
    let server = TestServer::with(Settings { auth, ..Settings::default() }).await;
    let anonymous = server.plain_channel();
    let missing = (Code::Unauthenticated, reason::CREDENTIALS_MISSING.to_owned());
    assert_eq!(call(&anonymous, WATCH).await, missing);
    assert_eq!(call(&anonymous, REFLECTION).await.0, Code::Ok, "the caller is admitted");
    let authenticated = with_token(anonymous, &authority.sign(&authority.claims("1", &[], 60)));
    assert_eq!(call(&authenticated, WATCH).await.0, Code::Ok);
}

/// Uploads one post for each of these users and returns the refused ones: index and reason.
async fn upload_as(channel: Channel, users: &[&str]) -> Vec<(i64, String)> {
    let of = |(n, user): (usize, &&str)| PostMessage {
        user_id: (*user).to_owned(),
        ..post(format!("p{n}"), &["a"])
    };
    let posts: Vec<_> = users.iter().enumerate().map(of).collect();
    let mut client = PostServiceClient::new(channel);
    let response = soon(client.upload_posts(upload_of(posts))).await.unwrap().into_inner();
    assert!(response.complete, "a reject does not end the upload");
    let rejects = response.rejects.iter();
    rejects
        .map(|reject| {
            let (code, reason) = refusal(&reject.status);
            assert_eq!(code, Code::PermissionDenied);
            (reject.index, reason)
        })
        .collect()
}

#[tokio::test]
async fn a_caller_writes_only_as_itself_in_an_upload_and_in_a_feed() {
    let authority = Authority::new();
    let server = TestServer::with(authority.token_config()).await;
    let channel = with_token(server.channel(), &authority.token("3", 60));
    let refused = upload_as(channel.clone(), &["", "3", "1", ""]).await;
    assert_eq!(refused, [(2, reason::OTHER_USER.to_owned())]);

    use quartet_client::{FeedEvent, FeedRequest, FeedStart, tag_feed};
    let users = ["", "1", "3"].map(str::to_owned).into_iter().enumerate();
    let publish = users.map(|(n, user_id)| {
        FeedRequest::Publish(PostMessage { user_id, ..post(format!("f{n}"), &["a"]) })
    });
    let feed = tag_feed(channel.clone(), FeedStart::Now, tokio_stream::iter(publish));
    let events: Vec<_> = soon(futures::StreamExt::collect(feed)).await;
    let receipts = events.into_iter().filter_map(|event| match event.unwrap() {
        FeedEvent::Receipt(receipt) => {
            Some(receipt.status.is_some().then(|| refusal(&receipt.status)))
        }
        _ => None,
    });
    let other = Some((Code::PermissionDenied, reason::OTHER_USER.to_owned()));
    assert_eq!(receipts.collect::<Vec<_>>(), [None, other, None]);

    let mut client = PostServiceClient::new(channel);
    let mut list = soon(client.list_posts(quartet::post::v1::ListPostsRequest::default())).await;
    let stored = soon(list.as_mut().unwrap().get_mut().message()).await.unwrap().unwrap();
    assert!(stored.post_messages.iter().all(|post| post.user_id == "3"), "{stored:?}");
    assert_eq!(stored.post_messages.len(), 5);
}

#[tokio::test]
async fn a_token_is_sent_over_plaintext_only_if_a_flag_allows_it() {
    let server = TestServer::start().await;
    let flags = |insecure_token| quartet_client::command::TokenFlags {
        token: Some("x".parse().unwrap()),
        insecure_token,
        ..Default::default()
    };
    let credentials = |insecure| -> Credentials { flags(insecure).credentials().unwrap() };
    let refused = server.plain_channel().with_credentials(credentials(false)).unwrap_err();
    assert!(matches!(refused, SetupError::Plaintext), "{refused}");
    assert!(server.plain_channel().with_credentials(credentials(true)).is_ok());
    let authority = Authority::new();
    let encrypted = server.tls_channel(&authority.client());
    assert!(encrypted.with_credentials(credentials(false)).is_ok());
    let local = quartet_client::connect("unix:/run/quartet.sock").unwrap();
    assert!(local.with_credentials(credentials(false)).is_ok());
}

#[tokio::test]
async fn keys_can_be_replaced_and_tokens_of_removed_keys_are_refused() {
    let (authority, next) = (Authority::new(), Authority::new());
    let server = TestServer::with(authority.token_config()).await;
    let path = "/post.v1.PostService/ListPosts";
    // Each call on a channel of its own: a channel does not send a token again that was refused.
    let reason = async |issuer: &Authority| {
        call(&with_token(server.channel(), &issuer.token("1", 3600)), path).await.1
    };
    let invalid = reason::TOKEN_INVALID;
    assert_eq!([reason(&authority).await, reason(&next).await], ["", invalid]);

    let keys = |authorities: &[&Authority]| {
        let sets = authorities.iter().map(|authority| {
            let text = std::fs::read_to_string(authority.file("jwks.json")).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap()["keys"][0].clone()
        });
        serde_json::json!({ "keys": sets.collect::<Vec<_>>() }).to_string()
    };
    let [both, last] = [keys(&[&authority, &next]), keys(&[&next])];
    // A key that is new to this server, and damaged, does not keep the removed one in force.
    let damaged = last.replacen('[', r#"[{"kty": "OKP", "crv": "Ed25519", "x": "AA"}, "#, 1);
    let mut before = ["", invalid];
    for (set, after) in [
        (both.as_str(), ["", ""]),
        ("{", ["", ""]), // an unreadable file changes nothing
        (damaged.as_str(), [invalid, ""]),
        (both.as_str(), ["", ""]),
        (r#"{"keys": []}"#, [invalid, invalid]),
        (last.as_str(), [invalid, ""]),
    ] {
        std::fs::write(authority.file("jwks.json"), set).unwrap();
        server.reloader().reload_now();
        soon(async {
            loop {
                let seen = [reason(&authority).await, reason(&next).await];
                if seen == after {
                    return;
                }
                // The keys may be replaced between the two calls.
                for ((seen, before), after) in seen.iter().zip(before).zip(after) {
                    assert!([before, after].contains(&seen.as_str()), "{seen}");
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        before = after;
    }
}

/// The names of a request's headers count towards the limit too, so this is about the longest token
/// that fits.
#[tokio::test]
async fn an_invalid_token_of_the_largest_size_that_fits_is_still_checked() {
    let authority = Authority::new();
    let server = TestServer::with(authority.token_config()).await;
    let long = "x".repeat(12 * 1024);
    let channel = with_token(server.channel(), &long);
    let (code, reason) = call(&channel, "/post.v1.PostService/ListPosts").await;
    assert_eq!((code, reason.as_str()), (Code::Unauthenticated, reason::TOKEN_INVALID));
}
