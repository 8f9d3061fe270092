//! Feeds: one publisher, and subscribers who check the order of what reaches them and how long it
//! took.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use quartet::borrowed::{Field, PostRef, fields};
use tokio::{task::JoinSet, time::sleep_until};

use super::{
    connection::{Call, Connection},
    latencies::latencies,
    list::expect,
    options::Options,
    streams::{Event, Streams},
};
use crate::{
    error::Result,
    posts,
    proto::{JoinTags, PostMessage, PublishPost, TagFeedRequest, tag_feed_request::Payload},
    usage::{Figures, Meter},
    wire::{each, put_frame, same_content},
};

/// What is published to.
const TAG: &str = "bench";
/// The id of the last message, behind all that count.
const END: &str = "end";
/// Publishes without a receipt. Beyond 64 our server stops reading, and nobody gains by more.
const OUTSTANDING: u64 = 64;
const WRITERS: u64 = 10;
/// A title begins with the time in so many digits.
const TIME_DIGITS: usize = 20;
/// One delivery of so many is compared letter by letter.
const SAMPLED: u64 = 17;

pub(super) async fn feed(options: &Options) -> Result<Figures> {
    let publisher = Connection::open(&options.address, None).await?;
    let arrivals = Arc::new(Arrivals::new()?);
    let mut subscribers = JoinSet::new();
    for connection in 0..options.connections {
        // Every connection has its share.
        let share = |all: u64| (connection..all).step_by(options.connections as usize);
        let mut tags: Vec<_> = share(options.idle).map(|number| format!("idle-{number}")).collect();
        let following = share(options.subscribers).count();
        tags.extend(std::iter::repeat_n(TAG.to_owned(), following));
        let streams = open(&options.address, &tags).await?;
        subscribers.spawn(read(streams, tags.len(), following as u64, arrivals.clone()));
    }

    let meter = Meter::start(options.pid)?;
    publish(&publisher, options, &arrivals).await?;
    let mut received = 0;
    while let Some(subscriber) = subscribers.join_next().await {
        received += subscriber??;
    }
    finish(meter, options, received, &arrivals)
}

/// The figures of a feed, which must be complete unless it may lose messages.
pub(super) fn finish(
    meter: Meter,
    options: &Options,
    received: u64,
    arrivals: &Arrivals,
) -> Result<Figures> {
    let figures = meter.stop(received)?.with_latencies(&arrivals.lock());
    let published = options.count * options.subscribers;
    if !options.lossy {
        expect("the number of deliveries", received, published)?;
    }
    Ok(Figures { delivered: Some(received as f64 / published as f64), ..figures })
}

/// The request for a feed of a tag.
pub(super) fn join(tag: &str) -> TagFeedRequest {
    let join = JoinTags { tags: vec![tag.to_owned()], ..JoinTags::default() };
    TagFeedRequest { payload: Some(Payload::Join(join)) }
}

/// Opens feeds on a connection and returns once all of them were told that they joined.
async fn open(address: &str, tags: &[String]) -> Result<Streams> {
    let mut streams = Streams::open(address).await?;
    let mut joined = 0;
    for (number, tag) in tags.iter().enumerate() {
        streams.ask("TagFeed", &join(tag), true);
        while joined <= number {
            streams
                .read(|_, event| {
                    message_of(event, |message| {
                        each(message, 1, |_| {
                            joined += 1;
                            Ok(())
                        })
                    })
                })
                .await?;
        }
    }
    Ok(streams)
}

/// A feed has no other end than that of the process.
fn message_of(event: Event<'_>, handle: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
    match event {
        Event::Message(message) => handle(message),
        Event::Ended => Err("a feed ended".into()),
    }
}

/// Reads the feeds of a connection until each of its subscribers had the last message, and says how
/// many came before.
async fn read(
    mut streams: Streams,
    feeds: usize,
    subscribers: u64,
    arrivals: Arc<Arrivals>,
) -> Result<u64> {
    let mut orders: Vec<Order> = (0..feeds).map(|_| Order::default()).collect();
    let mut open = subscribers;
    while open > 0 {
        let mut now = None;
        streams
            .read(|number, event| {
                message_of(event, |message| {
                    // The clock is read once for all that came together: on some machines that
                    // costs as much as a delivery.
                    let now = *now.get_or_insert_with(|| arrivals.now());
                    let order = orders.get_mut(number).ok_or("a message for nobody")?;
                    each(message, 3, |batch| {
                        each(batch, 1, |post| order.post(post, now, &arrivals))
                    })?;
                    Ok(())
                })
            })
            .await?;
        open = subscribers - orders.iter().filter(|order| order.ended).count() as u64;
    }
    Ok(orders.iter().map(|order| order.received).sum())
}

/// What arrived in all, and when the clock began that publishers put into titles.
#[derive(Debug)]
pub(super) struct Arrivals {
    begun: Instant,
    latencies: Mutex<Histogram<u64>>,
}

impl Arrivals {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { begun: Instant::now(), latencies: Mutex::new(latencies()?) })
    }

    pub(super) fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Histogram<u64>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one subscriber received: messages may be missing, but never in another order.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) received: u64,
    pub(super) ended: bool,
    last: u64,
}

impl Order {
    /// Takes the next delivery, which arrived `now`. All are counted, in their order; one of
    /// `SAMPLED` is read as a whole. The load shares the machine with the server: what it does for
    /// each delivery is in every latency.
    pub(super) fn post(&mut self, message: &[u8], now: u64, arrivals: &Arrivals) -> Result<()> {
        let (post_id, title) = id_and_title(message)?;
        if post_id == END.as_bytes() {
            self.ended = true;
            return Ok(());
        }
        let index = number(post_id)?;
        if self.ended || index <= self.last {
            return Err(format!("after {} came {index}", self.last).into());
        }
        self.last = index;
        self.received += 1;
        if index.is_multiple_of(SAMPLED) {
            check(message, index)?;
        }
        let sent = number(title.get(..TIME_DIGITS).ok_or("a title without a time")?)?;
        arrivals.lock().saturating_record(now.saturating_sub(sent) / 1000);
        Ok(())
    }
}

/// Reads no further than it must: ids and titles come early.
fn id_and_title(message: &[u8]) -> Result<(&[u8], &[u8])> {
    let (mut post_id, mut title) = (None, None);
    for field in fields(message) {
        match field? {
            (1, Field::Bytes(bytes)) => post_id = Some(bytes),
            (3, Field::Bytes(bytes)) => title = Some(bytes),
            _ => {}
        }
        if let Some(both) = post_id.zip(title) {
            return Ok(both);
        }
    }
    Err("a delivery without id or title".into())
}

fn number(digits: &[u8]) -> Result<u64> {
    Ok(std::str::from_utf8(digits)?.parse()?)
}

/// Whether a delivery is the message of this index, from its writer.
fn check(message: &[u8], index: u64) -> Result<()> {
    let read = PostRef::decode(message)?;
    let mut expected = published(index);
    read.post_id.clone_into(&mut expected.post_id);
    read.title.clone_into(&mut expected.title);
    if same_content(&read, &expected) && read.author == posts::author(read.user_id) {
        return Ok(());
    }
    Err(format!("{read:?} should be {expected:?}").into())
}

async fn publish(connection: &Connection, options: &Options, arrivals: &Arrivals) -> Result<()> {
    let Call { mut requests, responses } = connection.begin("TagFeed").await?;
    let mut messages = responses.messages().await?;
    let mut pace = Pace::new(options);
    let (mut receipts, mut chunk) = (0, Vec::new());
    while receipts < pace.total {
        for index in pace.due(OUTSTANDING - (pace.sent - receipts)) {
            put_publish(index, pace.total, arrivals, &mut chunk);
        }
        if !chunk.is_empty() {
            requests.send(std::mem::take(&mut chunk).into()).await?;
        }
        let full = pace.sent - receipts == OUTSTANDING;
        tokio::select! {
            // Cancel-safe: what was not read stays in the stream.
            open = messages.read(|message| count_receipt(message, &mut receipts)) => {
                if !open? {
                    return Err("the publisher's feed ended".into());
                }
            }
            () = pace.next(), if !full && pace.sent < pace.total => {}
        }
    }
    requests.finish()
}

fn count_receipt(message: &[u8], receipts: &mut u64) -> Result<()> {
    each(message, 4, |receipt| {
        for field in fields(receipt) {
            if let (4, Field::Bytes(status)) = field? {
                return Err(format!("refused: {}", String::from_utf8_lossy(status)).into());
            }
        }
        *receipts += 1;
        Ok(())
    })
}

fn put_publish(index: u64, total: u64, arrivals: &Arrivals, chunk: &mut Vec<u8>) {
    let post_message = Some(message(index, total, arrivals));
    let payload = Payload::Publish(PublishPost { post_message });
    put_frame(&TagFeedRequest { payload: Some(payload) }, chunk);
}

/// Message `index`, from 1, with the time in its title.
pub(super) fn message(index: u64, total: u64, arrivals: &Arrivals) -> PostMessage {
    let mut post = published(index);
    post.post_id = if index == total { END.to_owned() } else { format!("{index:016}") };
    post.title = format!("{:0TIME_DIGITS$} is when it was sent", arrivals.now());
    post
}

/// What is known about a message before it is sent.
fn published(index: u64) -> PostMessage {
    let mut post = PostMessage::default();
    posts::fill(index, &mut post);
    // Few writers: their names are known after the first messages.
    post.user_id = posts::user_id(index % WRITERS);
    TAG.clone_into(&mut post.tags[0]);
    post
}

/// When which message is due.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    rate: u64,
    pub(super) sent: u64,
    /// With the one that says "end".
    pub(super) total: u64,
}

impl Pace {
    pub(super) fn new(options: &Options) -> Self {
        Self { begun: Instant::now(), rate: options.rate, sent: 0, total: options.count + 1 }
    }

    /// The messages to send now, at most so many.
    pub(super) fn due(&mut self, room: u64) -> std::ops::RangeInclusive<u64> {
        let due = match self.rate {
            0 => self.total,
            rate => (self.begun.elapsed().as_secs_f64() * rate as f64) as u64 + 1,
        };
        let first = self.sent + 1;
        self.sent = due.min(self.total).min(self.sent + room).max(self.sent);
        first..=self.sent
    }

    /// Waits until the next message is due.
    pub(super) async fn next(&self) {
        if self.rate > 0 {
            let after = Duration::from_secs_f64(self.sent as f64 / self.rate as f64);
            sleep_until((self.begun + after).into()).await;
        }
    }
}
