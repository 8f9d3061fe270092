//! Feeds with nothing to say: what each costs in memory.

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
    let more = WARM..WARM + options.connections;
    connect(options, more, &mut open).await?;
    meter.stop((open.len() - warm) as u64)
}

type Open = (std::rc::Rc<Connection>, Joined);

async fn connect(
    options: &Options,
    numbers: std::ops::Range<u64>,
    open: &mut Vec<Open>,
) -> Result<()> {
    for number in numbers {
        let connection = std::rc::Rc::new(Connection::open(&options.address).await?);
        for feed in 0..options.idle {
            let joined = Joined::open(&connection, &format!("idle-{number}-{feed}")).await?;
            open.push((connection.clone(), joined));
        }
    }
    Ok(())
}
