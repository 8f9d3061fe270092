//! The Post service. One RPC kind is one file below; this one holds what they share: how posts get in and out.
//!
//! Reading order: `unary`, `server_streaming`, `client_streaming`, `bidirectional`; then `blog`, the old names.

use std::{ops::Deref, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures::{FutureExt as _, Stream, stream::BoxStream};
use http::Extensions;
use quartet::{
    borrowed::PostRef,
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, LogPosition, TagFeedRequest,
        UploadPostsResponse, post_service_server::PostService,
    },
    reason,
    wire::{self, FeedMessage, Page, UploadMessage},
};
use quartet_log::{Batch, Cursor, Dispatchers, Filter, NewPosts, PostLog, Record};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    auth::{self, Caller},
    authors::Authors,
    connection::{Lane, Stop},
    error,
    routes::direct::Requests,
    validate,
};
use frames::{Frame, Frames};
use live::Live;

mod bidirectional;
mod blog;
mod client_streaming;
pub mod frames;
mod live;
mod server_streaming;
mod unary;

/// The Post service over a log. Clones share it: every stream holds one.
#[derive(Debug, Clone)]
pub struct Posts(Arc<Parts>);

/// What the Post service works with.
#[derive(Debug)]
pub struct Parts {
    /// Where posts are.
    pub log: Arc<dyn PostLog>,
    /// Wakes those who wait for posts.
    pub dispatchers: Dispatchers,
    /// Who wrote them.
    pub authors: Authors,
    /// What many feeds send alike.
    pub frames: Frames,
    /// What time it is, for `create_time`.
    pub clock: fn() -> SystemTime,
}

impl Posts {
    /// A service of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Posts {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

#[tonic::async_trait]
impl PostService for Posts {
    async fn list_posts_by_user_id(
        &self,
        request: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<Page>, Status> {
        unary::list_posts_by_user_id(self, request.into_inner()).await.map(Response::new)
    }

    type ListPostsStream = BoxStream<'static, Result<Page, Status>>;

    async fn list_posts(
        &self,
        request: Request<ListPostsRequest>,
    ) -> Result<Response<Self::ListPostsStream>, Status> {
        let stop = Stop::of(request.extensions());
        let stream = server_streaming::list_posts(self, request.into_inner(), stop)?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn upload_posts(
        &self,
        request: Request<Streaming<UploadMessage>>,
    ) -> Result<Response<UploadPostsResponse>, Status> {
        let caller = Caller::of(request.extensions()).cloned();
        let requests = request.into_inner();
        client_streaming::upload_posts(self, caller, requests).await.map(Response::new)
    }

    type TagFeedStream = BoxStream<'static, Result<FeedMessage, Status>>;

    async fn tag_feed(
        &self,
        request: Request<Streaming<TagFeedRequest>>,
    ) -> Result<Response<Self::TagFeedStream>, Status> {
        let (_, extensions, requests) = request.into_parts();
        let (messages, lane) = self.begin_feed(&extensions, requests);
        let mut response: Response<Self::TagFeedStream> = Response::new(Box::pin(messages));
        response.extensions_mut().insert(lane);
        Ok(response)
    }
}

impl Posts {
    /// Answers `TagFeed`.
    pub fn feed(
        &self,
        request: http::Request<Requests<TagFeedRequest>>,
    ) -> http::Response<impl Stream<Item = Result<FeedMessage, Status>> + Send + use<>> {
        let (head, requests) = request.into_parts();
        let (messages, lane) = self.begin_feed(&head.extensions, requests);
        let mut response = http::Response::new(messages);
        response.extensions_mut().insert(lane);
        response
    }

    /// The response goes out before a request is read: a client may wait for it before it sends any.
    fn begin_feed<R: bidirectional::RequestStream>(
        &self,
        call: &Extensions,
        requests: R,
    ) -> (impl Stream<Item = Result<FeedMessage, Status>> + Send + use<R>, Lane) {
        let (caller, stop, live) = (Caller::of(call).cloned(), Stop::of(call), Live::default());
        let lane = live.lane();
        (bidirectional::tag_feed(self.clone(), caller, requests, stop, live), lane)
    }
}

/// A post that a writer sent: fit for the log, or refused for good.
enum Submission<'a> {
    Accepted(PostRef<'a>),
    Refused(Status),
}

impl Posts {
    /// Answers `ListPostsByUserId`.
    pub async fn page_of_user(self, request: ListPostsByUserIdRequest) -> Result<Page, Status> {
        unary::list_posts_by_user_id(&self, request).await
    }

    /// Checks a post and whose it is. An error is not about the post: it ends the call, and the writer may try again.
    async fn submission<'a>(
        &self,
        caller: Option<&'a Caller>,
        post: PostRef<'a>,
        now: Instant,
    ) -> Result<Submission<'a>, Status> {
        let own = auth::as_writer(caller, post);
        let post = match own.and_then(|post| validate::post(&post).map(|()| post)) {
            Ok(post) => post,
            Err(refusal) => return Ok(Submission::Refused(refusal)),
        };
        let known = self.authors.knows(post.user_id, now);
        if known || self.authors.get(post.user_id).await?.is_some() {
            return Ok(Submission::Accepted(post));
        }
        Ok(Submission::Refused(error::status(
            Code::NotFound,
            reason::USER_NOT_FOUND,
            format!("no user has the id {}", post.user_id),
        )))
    }

    /// No posts yet, with room for so many bytes; those that come are accepted now.
    fn new_posts(&self, bytes: usize) -> NewPosts {
        NewPosts::new(&(self.clock)().into(), bytes)
    }

    fn reader(&self, filter: Filter, position: u64) -> Reader {
        let cursor =
            Cursor::new(self.log.clone(), self.dispatchers.here().clone(), filter, position);
        Reader { posts: self.clone(), cursor }
    }

    fn position(&self, sequence: u64) -> LogPosition {
        LogPosition { log_id: self.log.log_id().to_owned(), sequence: sequence as i64 }
    }

    /// Joins posts with their authors.
    async fn page<'a>(
        &self,
        records: impl Iterator<Item = &'a Record> + Clone,
        position: u64,
        flag: bool,
    ) -> Result<Page, Status> {
        let posts = self.authors.join(records).await?;
        Ok(Page { posts, position: self.position(position), flag })
    }
}

/// The refusal of a post whose id another post has.
fn id_taken(post_id: &str) -> Status {
    let message = format!("another post has the id {post_id}");
    error::status(Code::AlreadyExists, reason::POST_ID_TAKEN, message)
}

/// What comes next on a feed that is read without waiting.
enum Next {
    Frame(Bytes),
    /// Whoever waits for posts is woken when there may be some.
    Nothing,
    /// It takes a wait, or it is not posts.
    Later,
}

/// A cursor whose posts come with their authors. Its calls are cancel-safe.
#[derive(Debug)]
struct Reader {
    posts: Posts,
    cursor: Cursor,
}

impl Reader {
    /// The next page of what is stored up to `until`; empty if nothing matched for long, or up to there.
    async fn replay(&mut self, until: u64) -> Result<Page, Status> {
        let batch = self.cursor.replay(until).await.map_err(error::of_log)?;
        self.hand_over(batch).await
    }

    /// The next page of posts, as soon as there are any; empty if nothing matched for long.
    async fn follow(&mut self) -> Result<Page, Status> {
        let batch = self.cursor.follow().await.map_err(error::of_log)?;
        self.hand_over(batch).await
    }

    async fn hand_over(&mut self, batch: Batch) -> Result<Page, Status> {
        // In a box: a stream that waits for posts shall not hold the room for handing them over.
        let page = self.posts.page(batch.records.iter(), batch.position, false).boxed().await?;
        self.cursor.advance(&batch);
        Ok(page)
    }

    /// The next frame of posts for a feed, if all that it takes is at hand.
    fn frame(&mut self, now: Instant) -> Next {
        while self.cursor.settle() {
            if self.cursor.owes_bookmark() {
                return Next::Later;
            }
            let after = self.cursor.position();
            let frame = match self.posts.frames.find(self.cursor.filter_mut(), after, now) {
                Some(frame) => frame,
                None => match self.make_frame().now_or_never() {
                    Some(Ok(Some(frame))) => frame,
                    Some(Ok(None)) => continue,
                    Some(Err(_)) | None => return Next::Later,
                },
            };
            self.cursor.move_to(frame.position);
            return Next::Frame(frame.bytes);
        }
        if self.cursor.owes_bookmark() { Next::Later } else { Next::Nothing }
    }

    /// Reads and encodes what comes next; none if nothing matched, which the cursor knows then.
    async fn make_frame(&mut self) -> Result<Option<Frame>, Status> {
        let batch = self.cursor.replay(self.cursor.head()).await.map_err(error::of_log)?;
        if batch.records.is_empty() {
            self.cursor.pass(&batch);
            return Ok(None);
        }
        let page = self.posts.page(batch.records.iter(), batch.position, false).await?;
        let bytes = wire::frame(&FeedMessage::Posts(page));
        let frame = Frame { bytes, position: batch.position };
        self.posts.frames.keep(self.cursor.filter(), self.cursor.position(), frame.clone());
        Ok(Some(frame))
    }

    /// A page without posts: how far the reader is.
    fn bookmark(&mut self) -> Page {
        let position = self.posts.position(self.cursor.bookmark());
        Page { position, ..Page::default() }
    }
}
