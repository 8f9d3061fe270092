//! Clients that join and publish on one stream.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::pin,
    time::Duration,
};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use quartet::post::v1::{
    JoinTags, LeaveTags, LogPosition, PostMessage, PublishPost, TagFeedRequest, TagFeedResponse,
    post_service_client::PostServiceClient, tag_feed_request::Payload as Asked,
    tag_feed_response::Payload,
};
use quartet_check::{
    history::{Follows, What},
    record,
};
use quartet_client::{Error, FeedEvent, FeedRequest, FeedStart, tag_feed};
use rand::{RngExt as _, rngs::StdRng};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, transport::Channel};

use super::{Setting, TAGS, post};
use crate::recorder::Call;

/// Room for all that a call may have to say at its start: a join and what has no receipt.
const REQUESTS: usize = 128;
/// Publishes that may wait for their receipts.
const UNANSWERED: usize = 40;

/// What a client decides to do next.
enum Action {
    Publish,
    Join,
    Leave,
    HalfClose,
    HangUp,
    Stall,
}

impl Action {
    fn any(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..70 => Action::Publish,
            70..80 => Action::Join,
            80..88 => Action::Leave,
            88..91 => Action::HalfClose,
            91..95 => Action::HangUp,
            _ => Action::Stall,
        }
    }
}

fn any_tag(rng: &mut StdRng) -> String {
    TAGS[rng.random_range(0..TAGS.len())].to_owned()
}

fn next_action(rng: &mut StdRng) -> Instant {
    Instant::now() + Duration::from_millis(rng.random_range(20..500))
}

/// A feed of plain calls, which resumes as the contract says: position and tags together, what has no receipt again.
pub(super) async fn plain_feed(setting: Setting, name: &'static str) {
    let (client, mut rng) = (setting.recorder.client(name), setting.rng(name));
    let channel = (setting.connect)();
    let mut feed = PlainFeed {
        name,
        from_oldest: rng.random_bool(0.5),
        tags: [any_tag(&mut rng)].into(),
        ..PlainFeed::default()
    };
    loop {
        let join = feed.first_join();
        let call = client.open(record::feed(Some(&join)));
        let end = feed.call(&setting, &channel, &call, join, &mut rng).await;
        call.note(end);
        sleep(Duration::from_millis(rng.random_range(20..300))).await;
    }
}

#[derive(Default)]
struct PlainFeed {
    name: &'static str,
    from_oldest: bool,
    tags: BTreeSet<String>,
    position: Option<LogPosition>,
    published: u64,
    /// Posts without receipts, in their order.
    unanswered: VecDeque<PostMessage>,
    /// Whether a join is in force on this call. Before, its positions say nothing.
    joined: bool,
    caught_up: bool,
}

impl PlainFeed {
    fn first_join(&self) -> JoinTags {
        JoinTags {
            tags: self.tags.iter().cloned().collect(),
            all_tags: false,
            resume_after: self.position.clone(),
            from_oldest: self.from_oldest && self.position.is_none(),
        }
    }

    /// One call, and how it ended.
    async fn call(
        &mut self,
        setting: &Setting,
        channel: &Channel,
        call: &Call,
        join: JoinTags,
        rng: &mut StdRng,
    ) -> What {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let mut sender = Some(sender);
        let mut responses = pin!(responses(channel.clone(), requests));
        let mut sent = 0;
        self.joined = false;
        ask(&sender, Asked::Join(join));
        for post in &self.unanswered {
            publish(&sender, call, &mut sent, post.clone());
        }
        let mut act_at = next_action(rng);
        loop {
            let act = !setting.is_calm() && sender.is_some();
            tokio::select! {
                biased;
                response = responses.next() => match response {
                    Some(Ok(response)) => self.receive(call, response),
                    Some(Err(status)) => return record::ended(Err(&Error::from(status))),
                    None if self.caught_up && sender.is_none() => return record::ended(Ok(())),
                    None => return record::ended(Err(&Error::Truncated)),
                },
                () = sleep_until(act_at), if act => {
                    act_at = next_action(rng);
                    match Action::any(rng) {
                        Action::Publish if self.unanswered.len() < UNANSWERED => {
                            let post = post(self.name, self.published, rng);
                            self.published += 1;
                            self.unanswered.push_back(post.clone());
                            publish(&sender, call, &mut sent, post);
                        }
                        Action::Publish => {}
                        Action::Join => {
                            let tags = vec![any_tag(rng)];
                            ask(&sender, Asked::Join(JoinTags { tags, ..JoinTags::default() }));
                        }
                        Action::Leave if self.tags.len() > 1 => {
                            let tags = self.tags.iter().take(1).cloned().collect();
                            ask(&sender, Asked::Leave(LeaveTags { tags, all_tags: false }));
                        }
                        Action::Leave => {}
                        Action::HalfClose => sender = None,
                        Action::HangUp => return record::left(),
                        Action::Stall => {
                            call.note(What::Paused);
                            setting.pause(rng, 3000).await;
                            call.note(What::Unpaused);
                        }
                    }
                }
            }
        }
    }

    fn receive(&mut self, call: &Call, response: TagFeedResponse) {
        let Some(payload) = response.payload else { return };
        call.note(record::feed_message(&payload));
        self.caught_up = false;
        match payload {
            Payload::Joined(joined) => {
                self.tags = joined.tags.into_iter().collect();
                self.position = joined.position;
                self.joined = true;
            }
            Payload::Left(left) => {
                self.tags = left.tags.into_iter().collect();
                self.position = left.position;
            }
            Payload::Posts(batch) => self.position = batch.position,
            Payload::Bookmark(bookmark) => {
                self.caught_up = bookmark.caught_up;
                if self.joined {
                    self.position = bookmark.position;
                }
            }
            Payload::Receipt(receipt) => {
                self.unanswered.retain(|post| post.post_id != receipt.post_id);
            }
        }
    }
}

fn ask(sender: &Option<mpsc::Sender<TagFeedRequest>>, payload: Asked) {
    if let Some(sender) = sender {
        // If the call is over, its end says so.
        let _ = sender.try_send(TagFeedRequest { payload: Some(payload) });
    }
}

fn publish(
    sender: &Option<mpsc::Sender<TagFeedRequest>>,
    call: &Call,
    sent: &mut u64,
    post: PostMessage,
) {
    call.note(record::sent(*sent, &post));
    *sent += 1;
    ask(sender, Asked::Publish(PublishPost { post_message: Some(post) }));
}

/// One call as one stream.
fn responses(
    channel: Channel,
    requests: mpsc::Receiver<TagFeedRequest>,
) -> impl Stream<Item = Result<TagFeedResponse, Status>> {
    let mut service = PostServiceClient::new(channel);
    let call = async move {
        service.tag_feed(ReceiverStream::new(requests)).await.map(Response::into_inner)
    };
    stream::once(call).try_flatten()
}

/// A feed of the client library, which resumes by itself.
pub(super) async fn feed(setting: Setting, name: &'static str) {
    let (client, mut rng) = (setting.recorder.client(name), setting.rng(name));
    let channel = (setting.connect)();
    let mut position: Option<LogPosition> = None;
    let mut published = 0;
    loop {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let mut sender = Some(sender);
        let start = position.clone().map_or(FeedStart::Oldest, FeedStart::After);
        let mut events = pin!(tag_feed(channel.clone(), start, ReceiverStream::new(requests)));
        let mut call = client.open(record::feed(Some(&start_of(&position))));
        let mut follows: Option<Follows> = None;
        let mut sent = 0;
        request(&sender, FeedRequest::Join { tags: vec![any_tag(&mut rng)], all_tags: false });
        let mut act_at = next_action(&mut rng);
        let end = loop {
            let act = !setting.is_calm() && sender.is_some();
            let event = tokio::select! {
                biased;
                event = events.next() => event,
                () = sleep_until(act_at), if act => {
                    act_at = next_action(&mut rng);
                    match Action::any(&mut rng) {
                        Action::Publish => {
                            let post = post(name, published, &mut rng);
                            published += 1;
                            request(&sender, FeedRequest::Publish(post));
                        }
                        Action::Join => {
                            let tags = vec![any_tag(&mut rng)];
                            request(&sender, FeedRequest::Join { tags, all_tags: false });
                        }
                        Action::Leave => {
                            let tags = vec![any_tag(&mut rng)];
                            request(&sender, FeedRequest::Leave { tags, all_tags: false });
                        }
                        Action::HalfClose => sender = None,
                        Action::HangUp => break record::left(),
                        Action::Stall => {
                            call.note(What::Paused);
                            setting.pause(&mut rng, 3000).await;
                            call.note(What::Unpaused);
                        }
                    }
                    continue;
                }
            };
            let payload = match event {
                Some(Ok(FeedEvent::Sent(FeedRequest::Publish(post)))) => {
                    call.note(record::sent(sent, &post));
                    sent += 1;
                    continue;
                }
                Some(Ok(FeedEvent::Sent(_))) => continue,
                Some(Ok(FeedEvent::Disconnected(cut))) => {
                    call.note(record::ended(Err(&cut.cause)));
                    call = client.open(record::feed(Some(&start_of(&position))));
                    sent = 0;
                    continue;
                }
                Some(Ok(FeedEvent::Reconnected(at))) => {
                    // The library joins again by itself and says so only like this.
                    if let (Some(follows), Some(_)) = (&follows, &at) {
                        call.note(What::Follows {
                            follows: follows.clone(),
                            position: (&at).into(),
                        });
                    }
                    continue;
                }
                Some(Ok(FeedEvent::Joined(joined))) => Payload::Joined(joined),
                Some(Ok(FeedEvent::Left(left))) => Payload::Left(left),
                Some(Ok(FeedEvent::Posts(batch))) => Payload::Posts(batch),
                Some(Ok(FeedEvent::Receipt(receipt))) => Payload::Receipt(receipt),
                Some(Ok(FeedEvent::Bookmark(bookmark))) => Payload::Bookmark(bookmark),
                Some(Err(error)) => break record::ended(Err(&error)),
                None => break record::ended(Ok(())),
            };
            let what = record::feed_message(&payload);
            if let What::Follows { follows: now, .. } = &what {
                follows = Some(now.clone());
            }
            if follows.is_some() {
                position = position_of(&payload).or(position);
            }
            call.note(what);
        };
        call.note(end);
        sleep(Duration::from_millis(rng.random_range(50..500))).await;
    }
}

fn request(sender: &Option<mpsc::Sender<FeedRequest>>, request: FeedRequest) {
    if let Some(sender) = sender {
        // A full channel is a client that waits; it decides anew later.
        let _ = sender.try_send(request);
    }
}

fn position_of(payload: &Payload) -> Option<LogPosition> {
    match payload {
        Payload::Joined(joined) => joined.position.clone(),
        Payload::Left(left) => left.position.clone(),
        Payload::Posts(batch) => batch.position.clone(),
        Payload::Bookmark(bookmark) => bookmark.position.clone(),
        Payload::Receipt(_) => None,
    }
}

fn start_of(position: &Option<LogPosition>) -> JoinTags {
    let resume_after = position.clone();
    JoinTags { from_oldest: resume_after.is_none(), resume_after, ..JoinTags::default() }
}
