//! Clients that join and publish on one stream.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
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
use quartet_client::{Channel, Error, FeedEvent, FeedRequest, FeedStart, tag_feed};
use rand::{RngExt as _, rngs::StdRng};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{
    posts::{TAGS, post},
    setting::Setting,
};
use crate::recorder::{Call, Client};

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

async fn stall(setting: &Setting, call: &Call, rng: &mut StdRng) {
    call.note(What::Paused);
    setting.pause(rng, 3000).await;
    call.note(What::Unpaused);
}

/// A feed of plain calls, which resumes as the contract says: position and tags together, what has
/// no receipt again.
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
        self.joined = false;
        ask(&sender, Asked::Join(join));
        for post in &self.unanswered {
            publish(&sender, call, post.clone());
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
                    let acted = self.act(setting, call, &mut sender, rng).await;
                    if let ControlFlow::Break(end) = acted {
                        return end;
                    }
                }
            }
        }
    }

    async fn act(
        &mut self,
        setting: &Setting,
        call: &Call,
        sender: &mut Option<mpsc::Sender<TagFeedRequest>>,
        rng: &mut StdRng,
    ) -> ControlFlow<What> {
        match Action::any(rng) {
            Action::Publish if self.unanswered.len() < UNANSWERED => {
                let post = post(self.name, self.published, rng);
                self.published += 1;
                self.unanswered.push_back(post.clone());
                publish(sender, call, post);
            }
            Action::Publish => {}
            Action::Join => {
                let tags = vec![any_tag(rng)];
                ask(sender, Asked::Join(JoinTags { tags, ..JoinTags::default() }));
            }
            Action::Leave if self.tags.len() > 1 => {
                let tags = self.tags.iter().take(1).cloned().collect();
                ask(sender, Asked::Leave(LeaveTags { tags, all_tags: false }));
            }
            Action::Leave => {}
            Action::HalfClose => *sender = None,
            Action::HangUp => return ControlFlow::Break(record::left()),
            Action::Stall => stall(setting, call, rng).await,
        }
        ControlFlow::Continue(())
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

fn publish(sender: &Option<mpsc::Sender<TagFeedRequest>>, call: &Call, post: PostMessage) {
    call.note(record::sent(&post));
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
    let mut feed = LibraryFeed { name, ..LibraryFeed::default() };
    loop {
        feed.run(&setting, &channel, &client, &mut rng).await;
        sleep(Duration::from_millis(rng.random_range(50..500))).await;
    }
}

#[derive(Default)]
struct LibraryFeed {
    name: &'static str,
    position: Option<LogPosition>,
    published: u64,
    /// None before the first join is answered. Until then, positions say nothing.
    follows: Option<Follows>,
}

impl LibraryFeed {
    /// One feed, over as many calls as the library makes for it.
    async fn run(
        &mut self,
        setting: &Setting,
        channel: &Channel,
        client: &Client,
        rng: &mut StdRng,
    ) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let mut sender = Some(sender);
        let start = self.position.clone().map_or(FeedStart::Oldest, FeedStart::After);
        let mut events = pin!(tag_feed(channel.clone(), start, ReceiverStream::new(requests)));
        let mut call = self.open(client);
        self.follows = None;
        request(&sender, FeedRequest::Join { tags: vec![any_tag(rng)], all_tags: false });
        let mut act_at = next_action(rng);
        let end = loop {
            let act = !setting.is_calm() && sender.is_some();
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => self.receive(client, &mut call, event),
                    Some(Err(error)) => break record::ended(Err(&error)),
                    None => break record::ended(Ok(())),
                },
                () = sleep_until(act_at), if act => {
                    act_at = next_action(rng);
                    let acted = self.act(setting, &call, &mut sender, rng).await;
                    if let ControlFlow::Break(end) = acted {
                        break end;
                    }
                }
            }
        };
        call.note(end);
    }

    fn open(&self, client: &Client) -> Call {
        let resume_after = self.position.clone();
        let from_oldest = resume_after.is_none();
        client.open(record::feed(Some(&JoinTags {
            from_oldest,
            resume_after,
            ..JoinTags::default()
        })))
    }

    async fn act(
        &mut self,
        setting: &Setting,
        call: &Call,
        sender: &mut Option<mpsc::Sender<FeedRequest>>,
        rng: &mut StdRng,
    ) -> ControlFlow<What> {
        match Action::any(rng) {
            Action::Publish => {
                let post = post(self.name, self.published, rng);
                self.published += 1;
                request(sender, FeedRequest::Publish(post));
            }
            Action::Join => {
                request(sender, FeedRequest::Join { tags: vec![any_tag(rng)], all_tags: false });
            }
            Action::Leave => {
                request(sender, FeedRequest::Leave { tags: vec![any_tag(rng)], all_tags: false });
            }
            Action::HalfClose => *sender = None,
            Action::HangUp => return ControlFlow::Break(record::left()),
            Action::Stall => stall(setting, call, rng).await,
        }
        ControlFlow::Continue(())
    }

    fn receive(&mut self, client: &Client, call: &mut Call, event: FeedEvent) {
        let payload = match event {
            FeedEvent::Sent(FeedRequest::Publish(post)) => return call.note(record::sent(&post)),
            FeedEvent::Sent(_) => return,
            FeedEvent::Disconnected(cut) => {
                call.note(record::ended(Err(&cut.cause)));
                *call = self.open(client);
                return;
            }
            FeedEvent::Reconnected(at) => return self.joined_again(call, &at),
            FeedEvent::Joined(joined) => Payload::Joined(joined),
            FeedEvent::Left(left) => Payload::Left(left),
            FeedEvent::Posts(batch) => Payload::Posts(batch),
            FeedEvent::Receipt(receipt) => Payload::Receipt(receipt),
            FeedEvent::Bookmark(bookmark) => Payload::Bookmark(bookmark),
        };
        let what = record::feed_message(&payload);
        if let What::Follows { follows, .. } = &what {
            self.follows = Some(follows.clone());
        }
        if self.follows.is_some() {
            self.position = position_of(&payload).or(self.position.take());
        }
        call.note(what);
    }

    /// The library joins again by itself and says so only by where it was let in.
    fn joined_again(&self, call: &Call, at: &Option<LogPosition>) {
        if let (Some(follows), Some(_)) = (&self.follows, at) {
            call.note(What::Follows { follows: follows.clone(), position: at.into() });
        }
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
