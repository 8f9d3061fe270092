//! Lesson 14: an interceptor sees streams.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::{TryFutureExt as _, future::BoxFuture};
use http::{Request, Response};
use quartet::{
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, post_service_client::PostServiceClient,
    },
    user::v1::{GetUserRequest, user_service_client::UserServiceClient},
};
use quartet_channel::Channel;
use tonic::{Status, body::Body};
use tower::Service;

use crate::{
    stage::{Stage, posts},
    verdict::Verdict,
};

/// An access log: a line for each call that has ended, with its status as a number.
#[derive(Debug, Default, Clone)]
pub struct AccessLog(Arc<Mutex<Vec<String>>>);

impl AccessLog {
    /// Adds a line.
    pub fn add(&self, method: &str, status: &str) {
        self.lines().push(format!("{method} {status}"));
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel whose every answer passes the program.
#[derive(Debug, Clone)]
struct Observed<P> {
    channel: Channel,
    log: AccessLog,
    program: P,
}

impl<P> Service<Request<Body>> for Observed<P>
where
    P: Fn(String, Response<Body>, AccessLog) -> Response<Body> + Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(())) // the call below waits
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { mut channel, log, program } = self.clone();
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        Box::pin(async move {
            std::future::poll_fn(|cx| channel.poll_ready(cx)).map_err(Status::from).await?;
            let response = channel.call(request).map_err(Status::from).await?;
            Ok(program(method, response.map(Body::new), log))
        })
    }
}

/// The program writes the access log of a client: it gets each answer as soon as its head is there,
/// and returns the answer.
///
/// # Errors
/// A line is missing or has another status than the call.
pub async fn check<P>(program: P) -> Verdict
where
    P: Fn(String, Response<Body>, AccessLog) -> Response<Body> + Clone + Send + 'static,
{
    let (stage, log) = (Stage::open().await?, AccessLog::default());
    stage.write(posts(1, 10)).await?;
    let channel = stage.channel_with(|builder| builder);
    let observed = Observed { channel, log: log.clone(), program };
    let failed = |status: Status| status.to_string();

    let _not_found = UserServiceClient::new(observed.clone())
        .get_user(GetUserRequest { user_id: "nobody".to_owned() })
        .await;
    let mut client = PostServiceClient::new(observed);
    let page = ListPostsByUserIdRequest { user_id: "1".to_owned(), ..Default::default() };
    client.list_posts_by_user_id(page).await.map_err(failed)?;
    let follow = ListPostsRequest { follow: true, ..Default::default() };
    let mut batches = client.list_posts(follow).await.map_err(failed)?.into_inner();
    batches.message().await.map_err(failed)?;
    stage.stop();
    while let Ok(Some(_)) = batches.message().await {}

    let (lines, right) = (log.lines().join(", "), "GetUser 5, ListPostsByUserId 0, ListPosts 14");
    if lines == right {
        return Ok(());
    }
    Err(format!(
        "A user was not found, a page was sent, and a list ended because its server stopped.\n\
         The access log should be: {right}\n\
         The access log is:        {lines}"
    ))
}
