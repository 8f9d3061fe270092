//! Helpers for calls and their outcomes.

use futures::Stream;
use prost::Message as _;
use quartet::{
    post::v1::{
        ListPostsByUserIdRequest, ListPostsByUserIdResponse, ListPostsRequest, ListPostsResponse,
        LogPosition, PostMessage, UploadFinish, UploadPostsRequest, UploadPostsResponse,
        post_service_client::PostServiceClient, upload_posts_request::Payload,
    },
    reason,
};
use quartet_client::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::{StatusExt as _, pb};

use super::time::soon;

pub type Client = PostServiceClient<Channel>;

/// A post of sample user 1.
pub fn post(post_id: impl Into<String>, tags: &[&str]) -> PostMessage {
    let post_id = post_id.into();
    PostMessage {
        title: format!("title of {post_id}"),
        body: "body".to_owned(),
        tags: strings(tags),
        user_id: "1".to_owned(),
        post_id,
        ..PostMessage::default()
    }
}

/// A post whose body has this many bytes.
pub fn large_post(post_id: impl Into<String>, tags: &[&str], bytes: usize) -> PostMessage {
    PostMessage { body: "x".repeat(bytes), ..post(post_id, tags) }
}

/// `count` posts with these tags, `{prefix}0` and so on.
pub fn posts(prefix: &str, count: usize, tags: &[&str]) -> Vec<PostMessage> {
    (0..count).map(|n| post(format!("{prefix}{n}"), tags)).collect()
}

/// A list of all posts that then follows new ones.
pub fn follow() -> ListPostsRequest {
    ListPostsRequest { follow: true, ..ListPostsRequest::default() }
}

pub fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

pub fn post_ids(posts: &[PostMessage]) -> Vec<&str> {
    posts.iter().map(|post| post.post_id.as_str()).collect()
}

/// A position without a log id, which any log accepts.
pub fn after(sequence: i64) -> Option<LogPosition> {
    Some(LogPosition { sequence, ..LogPosition::default() })
}

pub fn sequence(position: &Option<LogPosition>) -> i64 {
    position.as_ref().expect("a position is always set").sequence
}

pub fn payload(payload: Payload) -> UploadPostsRequest {
    UploadPostsRequest { payload: Some(payload) }
}

pub fn post_request(post: PostMessage) -> UploadPostsRequest {
    payload(Payload::PostMessage(post))
}

pub fn finish(post_count: i64) -> UploadPostsRequest {
    payload(Payload::Finish(UploadFinish { post_count }))
}

/// An upload of these posts, with its finish.
pub fn upload_of(
    posts: impl IntoIterator<Item = PostMessage>,
) -> impl Stream<Item = UploadPostsRequest> + Send + 'static {
    let mut messages: Vec<_> = posts.into_iter().map(post_request).collect();
    messages.push(finish(messages.len() as i64));
    tokio_stream::iter(messages)
}

pub async fn upload(
    client: &mut Client,
    posts: impl IntoIterator<Item = PostMessage>,
) -> Result<UploadPostsResponse, Status> {
    soon(client.upload_posts(upload_of(posts))).await.map(tonic::Response::into_inner)
}

/// An upload of exactly these messages.
pub async fn upload_messages(
    client: &mut Client,
    messages: Vec<UploadPostsRequest>,
) -> Result<UploadPostsResponse, Status> {
    soon(client.upload_posts(tokio_stream::iter(messages))).await.map(tonic::Response::into_inner)
}

pub async fn list(
    client: &mut Client,
    request: ListPostsRequest,
) -> Result<Streaming<ListPostsResponse>, Status> {
    soon(client.list_posts(request)).await.map(tonic::Response::into_inner)
}

/// The messages of a list that ends by itself.
pub async fn listed(
    client: &mut Client,
    request: ListPostsRequest,
) -> Result<Vec<ListPostsResponse>, Status> {
    all(list(client, request).await?).await
}

/// Reads the whole log, and checks that its sequences are 1, 2, 3 and so on.
pub async fn read_log(client: &mut Client) -> Vec<PostMessage> {
    let messages = listed(client, ListPostsRequest::default()).await.unwrap();
    let log: Vec<_> = messages.into_iter().flat_map(|message| message.post_messages).collect();
    let sequences = log.iter().map(|post| post.sequence);
    assert!(sequences.eq(1..=log.len() as i64), "sequences are 1, 2, 3 …");
    log
}

pub async fn page(
    client: &mut Client,
    user_id: &str,
    resume_after: Option<LogPosition>,
) -> Result<ListPostsByUserIdResponse, Status> {
    let request = ListPostsByUserIdRequest { user_id: user_id.to_owned(), resume_after };
    soon(client.list_posts_by_user_id(request)).await.map(tonic::Response::into_inner)
}

/// The next message of an open stream.
pub async fn next<T>(stream: &mut Streaming<T>) -> T {
    soon(stream.message()).await.unwrap().expect("the stream goes on")
}

/// All messages of a stream up to its end.
pub async fn all<T>(stream: Streaming<T>) -> Result<Vec<T>, Status> {
    let (messages, end) = until_end(stream).await;
    end.map(|()| messages)
}

/// All messages of a stream, and how it ends.
pub async fn until_end<T>(mut stream: Streaming<T>) -> (Vec<T>, Result<(), Status>) {
    let mut messages = Vec::new();
    loop {
        match soon(stream.message()).await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(status) => return (messages, Err(status)),
        }
    }
}

/// Checks a status against the rules for all statuses of the suite: this code, a listed reason, and
/// small.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
    reason: &str,
) -> Status {
    let status = outcome.expect_err("this should have been refused");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no reason: {status:?}"));
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
    assert!(reason::ALL.contains(&reason), "{reason} is not listed");
    assert_eq!(info.domain, reason::DOMAIN);
    assert!(header_bytes(&status) <= 3 * 1024, "{} bytes: {status:?}", header_bytes(&status));
    status
}

/// The size of a status in headers: the message percent-encoded, the details in base64.
fn header_bytes(status: &Status) -> usize {
    let response = status.clone().into_http::<()>();
    response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// The code and reason of a receipt or a reject.
#[track_caller]
pub fn refusal(status: &Option<pb::Status>) -> (Code, String) {
    let status = status.as_ref().expect("this should have been refused");
    let details = status.encode_to_vec().into();
    let status = Status::with_details(Code::from(status.code), status.message.clone(), details);
    let info = status.get_details_error_info().expect("every status has a reason");
    assert!(reason::ALL.contains(&info.reason.as_str()), "{} is not listed", info.reason);
    (status.code(), info.reason)
}

/// The invalid fields of a refused request.
pub fn fields(status: &Status) -> Vec<String> {
    let request = status.get_details_bad_request().expect("the status names invalid fields");
    request.field_violations.into_iter().map(|violation| violation.field).collect()
}
