//! Short calls: 64 callers on one connection, each asks again when it has its answer.

use std::{sync::Arc, time::Instant};

use hdrhistogram::Histogram;
use quartet::borrowed::PostRef;
use tokio::task::JoinSet;

use super::{
    Options,
    connection::Connection,
    latencies,
    list::{expect, same},
};
use crate::{
    Result, posts,
    proto::ListPostsByUserIdRequest,
    usage::{Figures, Meter},
    wire::each,
};

const CALLERS: u64 = 64;
/// The posts of one call of so many are compared letter by letter.
const SAMPLED: u64 = 97;

pub(super) async fn unary(options: &Options) -> Result<Figures> {
    let connection = Arc::new(Connection::open(&options.address).await?);
    let expected = options.posts / posts::USERS;
    // Once around first: names are asked for and caches filled.
    callers(&connection, posts::USERS.div_ceil(CALLERS), expected).await?;
    let calls = options.count.div_ceil(CALLERS);
    let meter = Meter::start(options.pid)?;
    let latencies = callers(&connection, calls, expected).await?;
    Ok(meter.stop(calls * CALLERS)?.with_latencies(&latencies))
}

async fn callers(
    connection: &Arc<Connection>,
    calls: u64,
    expected: u64,
) -> Result<Histogram<u64>> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(call(connection.clone(), caller * calls, calls, expected));
    }
    let mut all = latencies()?;
    while let Some(latencies) = callers.join_next().await {
        all.add(latencies??)?;
    }
    Ok(all)
}

async fn call(
    connection: Arc<Connection>,
    first: u64,
    calls: u64,
    expected: u64,
) -> Result<Histogram<u64>> {
    let mut latencies = latencies()?;
    for user in first..first + calls {
        let user_id = posts::user_id(user);
        let begun = Instant::now();
        let request = ListPostsByUserIdRequest { user_id: user_id.clone(), ..Default::default() };
        let mut messages = connection.ask("ListPostsByUserId", &request).await?;
        let (mut received, mut last) = (0, 0);
        let mut check = |post: &[u8]| {
            let post = PostRef::decode(post)?;
            received += u64::from(post.user_id == user_id && post.sequence > last);
            last = post.sequence;
            if user.is_multiple_of(SAMPLED) { same(&post) } else { Ok(()) }
        };
        messages.read_all(|message| each(message, 1, &mut check)).await?;
        latencies.saturating_record(begun.elapsed().as_micros() as u64);
        expect("a count of posts", received, expected)?;
    }
    Ok(latencies)
}
