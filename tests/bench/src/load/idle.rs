//! Idle feeds: the memory of each.

use std::{ops::Range, rc::Rc};

use bytes::Bytes;

use super::{
    connection::{Call, Connection, Requests, ResponseMessages},
    feed::join,
    options::Options,
};
use crate::{
    error::Result,
    usage::{Figures, Meter},
    wire::{each, put_frame},
};

/// Connections opened before the measurement, so that one-time allocations of a server do not
/// count.
const WARM: u64 = 10;

pub(super) async fn idle(options: &Options) -> Result<Figures> {
    let mut open = Vec::new();
    connect(options, 0..WARM, &mut open).await?;
    let warm = open.len();
    let meter = Meter::start(options.pid)?;
    connect(options, WARM..WARM + options.connections, &mut open).await?;
    let figures = meter.stop((open.len() - warm) as u64)?;
    // All feeds are still open: each takes one more request and answers.
    for (_, feed) in &mut open {
        feed.join("one more").await?;
    }
    Ok(figures)
}

type OpenFeed = (Rc<Connection>, JoinedFeed);

async fn connect(options: &Options, numbers: Range<u64>, open: &mut Vec<OpenFeed>) -> Result<()> {
    for number in numbers {
        let connection = Rc::new(Connection::open(&options.address, None).await?);
        // One after the other: the memory for opening many at once does not count.
        for feed in 0..options.idle {
            let feed = JoinedFeed::open(&connection, &format!("idle-{number}-{feed}")).await?;
            open.push((connection.clone(), feed));
        }
    }
    Ok(())
}

/// A feed with a join. It is open until it is dropped.
#[derive(Debug)]
struct JoinedFeed {
    messages: ResponseMessages,
    requests: Requests,
}

impl JoinedFeed {
    async fn open(connection: &Connection, tag: &str) -> Result<Self> {
        let Call { mut requests, responses } = connection.begin("TagFeed").await?;
        // Before the headers arrive: some servers send them only after a request.
        requests.send(framed(tag)).await?;
        let mut feed = Self { messages: responses.messages().await?, requests };
        feed.answered().await?;
        Ok(feed)
    }

    /// Joins one more tag.
    async fn join(&mut self, tag: &str) -> Result<()> {
        self.requests.send(framed(tag)).await?;
        self.answered().await
    }

    /// Waits until the server confirms the join.
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
