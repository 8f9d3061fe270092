//! Bugs of the services: wrong reading of requests, wrong responses.

use std::{mem::take, sync::Weak};

use async_stream::try_stream;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, future, stream::BoxStream};
use parking_lot::Mutex;
use prost::Message as _;
use quartet::{
    codec,
    page::{FeedMessage, OutgoingPosts, Page, UploadMessage},
    post::v1::{
        ListPostsByUserIdRequest, ListPostsRequest, ListPostsResponse, LogPosition, PostMessage,
        TagFeedRequest, TagFeedResponse, UploadPostsResponse, post_service_server::PostService,
        tag_feed_response::Payload,
    },
    serve::Streaming,
};
use quartet_connection::{Lane, LaneSender, MessageSource};
use quartet_runtime::observer::Observer;
use quartet_server::posts::store::PostStore;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::bug::Bug;

/// Messages of a stream before it falls silent.
const TALKATIVE: usize = 25;
/// Size of a long post, in bytes.
const LONG: usize = 8_000;

/// The Post service with a bug.
#[derive(Debug, Clone)]
pub(in crate::simulation) struct BuggyPosts {
    pub(in crate::simulation) posts: PostStore,
    pub(in crate::simulation) bug: Bug,
}

impl PostService for BuggyPosts {
    async fn list_posts_by_user_id(
        &self,
        request: Request<ListPostsByUserIdRequest>,
    ) -> Result<Response<Page>, Status> {
        self.posts.list_posts_by_user_id(request).await
    }

    type ListPostsStream = BoxStream<'static, Result<Page, Status>>;

    async fn list_posts(
        &self,
        mut request: Request<ListPostsRequest>,
    ) -> Result<Response<Self::ListPostsStream>, Status> {
        self.misread(&mut request.get_mut().resume_after).await;
        let follow = request.get_ref().follow;
        let pages = self.posts.list_posts(request).await?.into_inner();
        Ok(Response::new(Box::pin(self.clone().spoil_list(pages, follow))))
    }

    async fn upload_posts(
        &self,
        request: Request<Streaming<UploadMessage>>,
    ) -> Result<Response<UploadPostsResponse>, Status> {
        let mut response = self.posts.upload_posts(request).await?;
        response.get_mut().complete |= self.bug == Bug::CompleteWithoutFinish;
        Ok(response)
    }

    type TagFeedStream = BoxStream<'static, Result<FeedMessage, Status>>;

    async fn tag_feed(
        &self,
        request: Request<Streaming<TagFeedRequest>>,
    ) -> Result<Response<Self::TagFeedStream>, Status> {
        let mut response = self.posts.tag_feed(request).await?;
        let lane = response.extensions_mut().remove::<Lane>();
        let messages = response.into_inner();
        let stream: Self::TagFeedStream = Box::pin(self.clone().spoil_feed(messages));
        let mut response = Response::new(stream);
        // Without its lane, a feed sends everything through the stream with the bug.
        if let (Some(lane), Bug::LanePostsLost | Bug::LanePostsTwice) = (lane, self.bug) {
            let lane = BuggyLane { lane, bug: self.bug, last: Mutex::default() };
            response.extensions_mut().insert(Lane::new(LaneSender::new(lane)));
        }
        Ok(response)
    }
}

/// The lane of a feed with a bug.
#[derive(Debug)]
struct BuggyLane {
    lane: Lane,
    bug: Bug,
    /// How many messages came, and the one to repeat.
    last: Mutex<(usize, Option<Bytes>)>,
}

impl MessageSource for BuggyLane {
    fn activate(&self) {
        self.lane.source().activate();
    }

    fn next(&self, now: Instant, observer: &Weak<dyn Observer>) -> Option<Bytes> {
        let mut last = self.last.lock();
        let (sent, again) = &mut *last;
        if let Some(again) = again.take() {
            return Some(again);
        }
        let mut message = self.lane.source().next(now, observer)?;
        *sent += 1;
        if *sent % 5 == 0 {
            match self.bug {
                Bug::LanePostsTwice => *again = Some(message.clone()),
                _ => message = self.lane.source().next(now, observer)?,
            }
        }
        Some(message)
    }
}

impl BuggyPosts {
    async fn misread(&self, start: &mut Option<LogPosition>) {
        let head = *self.posts.log.head().borrow();
        let Some(start) = start.as_mut().filter(|start| start.sequence > 0) else { return };
        let here = self.posts.log.chain(start.sequence.cast_unsigned()).await;
        let is_here = start.chain == 0 || here.is_ok_and(|here| here == start.chain);
        match self.bug {
            Bug::StartNotCompared => start.chain = 0,
            Bug::ResumesAtThePosition if is_here => {
                (start.sequence, start.chain) = (start.sequence - 1, 0);
            }
            Bug::ResumesAPostTooLate if is_here && start.sequence.cast_unsigned() < head => {
                (start.sequence, start.chain) = (start.sequence + 1, 0);
            }
            Bug::AnotherLogsPositionTaken => start.log_id.clear(),
            _ => {}
        }
    }

    fn spoil_list(
        self,
        mut pages: impl Stream<Item = Result<Page, Status>> + Unpin,
        follow: bool,
    ) -> impl Stream<Item = Result<Page, Status>> {
        try_stream! {
            let mut last = None;
            let mut handed_over = false;
            let mut sent = 0;
            while let Some(page) = pages.next().await {
                let mut page = page?;
                self.spoil(&mut page);
                if take(&mut handed_over) && self.bug == Bug::DoubledAtTheHandOver {
                    change(&mut page, |posts| drop(posts.splice(0..0, last.take())));
                }
                handed_over = page.flag;
                last = posts_of(&page).pop().or(last);
                if self.bug == Bug::SnapshotEndsEarly && !follow {
                    page.flag = true;
                    yield page;
                    return;
                }
                yield page;
                sent += 1;
                self.falls_silent(sent).await;
            }
        }
    }

    fn spoil_feed(
        self,
        mut messages: impl Stream<Item = Result<FeedMessage, Status>> + Unpin,
    ) -> impl Stream<Item = Result<FeedMessage, Status>> {
        try_stream! {
            let mut sent = 0;
            let mut joins = 0;
            let mut receipts = 0;
            let mut held = None;
            while let Some(message) = messages.next().await {
                let mut message = message?;
                match &mut message {
                    FeedMessage::Posts(page) => self.spoil(page),
                    FeedMessage::Other(TagFeedResponse { payload: Some(event) }) => match event {
                        Payload::Joined(joined) => {
                            joins += 1;
                            if joins > 1 && self.bug == Bug::FilterChangesAPostLate {
                                one_before(&mut joined.position);
                            }
                        }
                        Payload::Receipt(_) => {
                            receipts += 1;
                            match self.bug {
                                Bug::ReceiptsLost if receipts % 5 == 0 => continue,
                                Bug::ReceiptsSwapped if receipts % 5 == 0 => {
                                    held = Some(message);
                                    continue;
                                }
                                _ => {}
                            }
                        }
                        _ => {}
                    },
                    FeedMessage::Other(_) => {}
                }
                let is_receipt = is_receipt(&message);
                yield message;
                if is_receipt && let Some(held) = held.take() {
                    yield held;
                }
                sent += 1;
                self.falls_silent(sent).await;
            }
        }
    }

    fn spoil(&self, page: &mut Page) {
        match self.bug {
            Bug::PositionIsTheHead => {
                page.position.sequence = self.posts.log.head().borrow().cast_signed();
            }
            Bug::LongPostsLeftOut => {
                change(page, |posts| posts.retain(|post| post.encoded_len() < LONG))
            }
            Bug::AuthorOfAnother => change(page, |posts| {
                let last = posts.last().map(|post| post.author.clone());
                if let (Some(first), Some(last)) = (posts.first_mut(), last) {
                    first.author = last;
                }
            }),
            _ => {}
        }
    }

    async fn falls_silent(&self, sent: usize) {
        if self.bug == Bug::StreamFallsSilent && sent == TALKATIVE {
            future::pending::<()>().await;
        }
    }
}

fn posts_of(page: &Page) -> Vec<PostMessage> {
    let message = codec::frame(page).split_off(5); // what follows the prefix
    ListPostsResponse::decode(message).expect("invariant: it was encoded here").post_messages
}

fn change(page: &mut Page, change: impl FnOnce(&mut Vec<PostMessage>)) {
    let mut posts = posts_of(page);
    change(&mut posts);
    page.posts = OutgoingPosts::default();
    for mut post in posts {
        let (author, sequence) = (take(&mut post.author), take(&mut post.sequence));
        page.posts.push(&post.encode_to_vec(), &author, sequence);
    }
}

fn one_before(position: &mut Option<LogPosition>) {
    if let Some(position) = position.as_mut().filter(|position| position.sequence > 0) {
        position.sequence -= 1;
        position.chain = 0;
    }
}

fn is_receipt(message: &FeedMessage) -> bool {
    let FeedMessage::Other(TagFeedResponse { payload: Some(payload) }) = message else {
        return false;
    };
    matches!(payload, Payload::Receipt(_))
}
