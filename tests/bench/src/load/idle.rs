//! Feeds with nothing to say: what each costs in memory.

use std::{ops::Range, rc::Rc};

use futures::future::try_join_all;

use super::{Options, connection::Connection, feed::Joined};
use crate::{
    Result,
    usage::{Figures, Meter},
};

/// Connections opened before the measurement: they warm up what a server allocates once.
const WARM: u64 = 10;

pub(super) async fn idle(options: &Options) -> Result<Figures> {
    let mut open = Vec::new();
    connect(options, 0..WARM, &mut open).await?;
    let warm = open.len();
    let meter = Meter::start(options.pid)?;
    connect(options, WARM..WARM + options.connections, &mut open).await?;
    let figures = meter.stop((open.len() - warm) as u64)?;
    // They were open at once, all of them: each still takes a request and answers.
    for feeds in open.chunks_mut(options.idle.max(1) as usize) {
        try_join_all(feeds.iter_mut().map(|(_, feed)| feed.join("one more"))).await?;
    }
    Ok(figures)
}

type Open = (Rc<Connection>, Joined);

async fn connect(options: &Options, numbers: Range<u64>, open: &mut Vec<Open>) -> Result<()> {
    for number in numbers {
        let connection = Rc::new(Connection::open(&options.address).await?);
        let join = async |feed| Joined::open(&connection, &format!("idle-{number}-{feed}")).await;
        let feeds = try_join_all((0..options.idle).map(join)).await?;
        open.extend(feeds.into_iter().map(|feed| (connection.clone(), feed)));
    }
    Ok(())
}
