//! Feeds with nothing to say: what each costs in memory.

use std::{ops::Range, rc::Rc};

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
    for (_, feed) in &mut open {
        feed.join("one more").await?;
    }
    Ok(figures)
}

type Open = (Rc<Connection>, Joined);

async fn connect(options: &Options, numbers: Range<u64>, open: &mut Vec<Open>) -> Result<()> {
    for number in numbers {
        let connection = Rc::new(Connection::open(&options.address).await?);
        // One after the other: what a server needs for many at the same moment is no part of what they hold.
        for feed in 0..options.idle {
            let feed = Joined::open(&connection, &format!("idle-{number}-{feed}")).await?;
            open.push((connection.clone(), feed));
        }
    }
    Ok(())
}
