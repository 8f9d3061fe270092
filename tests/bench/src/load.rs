//! Loads: each asks a server for work, checks that it was done, and tells what it took.
//!
//! All gRPC servers get the same load. It has large windows and frames and reads posts without
//! copying, so that it is the server that is measured: on the `h2` crate, and where many calls
//! share a connection, below it.

use std::time::Duration;

use crate::{console::answer, error::Result};
pub(crate) use options::Options;
use options::Work;

mod options;

mod connection;
mod latencies;
mod streams;

mod list;
mod overhead;
mod unary;
mod upload;

mod feed;
mod idle;
mod nats;

mod append;

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// One thread is enough for every load, and it leaves the other cores to the server.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn load(options: &Options) -> Result<()> {
    let work = async {
        match options.work {
            Work::Upload => upload::upload(options).await,
            Work::List => list::list(options).await,
            Work::TonicList => list::tonic_list(options).await,
            Work::ClientList => list::client_list(options).await,
            Work::RawList => list::raw_list(options).await,
            Work::Readers => list::readers(options).await,
            Work::Unary => unary::unary(options).await,
            Work::OurChannel => overhead::our_channel(options).await,
            Work::TonicChannel => overhead::tonic_channel(options).await,
            Work::Feed => feed::feed(options).await,
            Work::Nats => nats::nats(options).await,
            Work::Idle => idle::idle(options).await,
            Work::Append => append::append(options),
        }
    };
    let figures = tokio::time::timeout(PATIENCE, work).await.map_err(|_| "the load hangs")??;
    answer(&serde_json::to_string(&figures)?);
    Ok(())
}
