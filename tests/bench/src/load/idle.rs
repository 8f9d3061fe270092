//! Feeds with nothing to say: what each costs in memory.

use std::{ops::Range, rc::Rc};

use bytes::Bytes;

use super::{
    connection::{Call, Connection, Messages, Requests},
    feed::join,
    options::Options,
};
use crate::{
    error::Result,
    usage::{Figures, Meter},
    wire::{each, put_frame},
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
        let connection = Rc::new(Connection::open(&options.address, None).await?);
        // One after the other: what a server needs for many at the same moment is no part of what
        // they hold.
        for feed in 0..options.idle {
            let feed = Joined::open(&connection, &format!("idle-{number}-{feed}")).await?;
            open.push((connection.clone(), feed));
        }
    }
    Ok(())
}

/// A feed that follows tags. It is open as long as this is there.
#[derive(Debug)]
struct Joined {
    messages: Messages,
    requests: Requests,
}

impl Joined {
    async fn open(connection: &Connection, tag: &str) -> Result<Self> {
        let Call { mut requests, responses } = connection.begin("TagFeed").await?;
        // Before the headers come: not every server sends them before it was asked.
        requests.send(framed(tag)).await?;
        let mut feed = Self { messages: responses.messages().await?, requests };
        feed.answered().await?;
        Ok(feed)
    }

    /// Follows one tag more.
    async fn join(&mut self, tag: &str) -> Result<()> {
        self.requests.send(framed(tag)).await?;
        self.answered().await
    }

    /// Returns once the server said that the join took effect.
    async fn answered(&mut self) -> Result<()> {
        let mut joined = 0;
        while joined == 0 {
            let mut count = |_: &[u8]| {
                joined += 1;
                Ok(())
            };
            if !self.messages.read(|message| each(message, 1, &mut count)).await? {
                return Err("a feed ended before it joined".into());
            }
        }
        Ok(())
    }
}

fn framed(tag: &str) -> Bytes {
    let mut frame = Vec::new();
    put_frame(&join(tag), &mut frame);
    frame.into()
}
