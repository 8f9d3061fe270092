//! Short calls: 64 callers on one connection, each asks again when it has its answer.

use std::time::Instant;

use hdrhistogram::Histogram;
use quartet::borrowed::PostRef;

use super::{
    latencies::latencies,
    list::{expect, same},
    options::Options,
    streams::{Event, Streams},
};
use crate::{
    error::Result,
    posts,
    proto::ListPostsByUserIdRequest,
    usage::{Figures, Meter},
    wire::each,
};

const CALLERS: u64 = 64;
/// The posts of one call of so many are compared letter by letter.
const SAMPLED: u64 = 97;

pub(super) async fn unary(options: &Options) -> Result<Figures> {
    let mut streams = Streams::open(&options.address).await?;
    let expected = options.posts / posts::USERS;
    // Once around first: names are asked for and caches filled.
    calls(&mut streams, posts::USERS, expected).await?;
    let meter = Meter::start(options.pid)?;
    let latencies = calls(&mut streams, options.count, expected).await?;
    Ok(meter.stop(options.count)?.with_latencies(&latencies))
}

/// One call for each user, again and again.
async fn calls(streams: &mut Streams, count: u64, expected: u64) -> Result<Histogram<u64>> {
    let mut latencies = latencies()?;
    let first = streams.begun();
    let mut calls: Vec<Call> = Vec::new();
    let mut ended = 0;
    while ended < count {
        while (calls.len() as u64) < count.min(ended + CALLERS) {
            let call = Call::new(calls.len() as u64);
            let request =
                ListPostsByUserIdRequest { user_id: call.user_id.clone(), ..Default::default() };
            streams.ask("ListPostsByUserId", &request, false);
            calls.push(call);
        }
        let each = |number: usize, event: Event<'_>| {
            let call = &mut calls[number - first];
            match event {
                Event::Message(message) => each(message, 1, |post| call.post(post)),
                Event::Ended => {
                    ended += 1;
                    latencies.saturating_record(call.begun.elapsed().as_micros() as u64);
                    expect("a count of posts", call.received, expected)
                }
            }
        };
        streams.read(each).await?;
    }
    Ok(latencies)
}

/// What is known of an answer that is still on its way.
struct Call {
    begun: Instant,
    user: u64,
    user_id: String,
    received: u64,
    last: i64,
}

impl Call {
    fn new(user: u64) -> Self {
        Self { begun: Instant::now(), user, user_id: posts::user_id(user), received: 0, last: 0 }
    }

    fn post(&mut self, post: &[u8]) -> Result<()> {
        let post = PostRef::decode(post)?;
        if post.user_id != self.user_id || post.sequence <= self.last {
            return Err(format!("not the next post of {}: {post:?}", self.user_id).into());
        }
        (self.received, self.last) = (self.received + 1, post.sequence);
        if self.user.is_multiple_of(SAMPLED) { same(&post) } else { Ok(()) }
    }
}
