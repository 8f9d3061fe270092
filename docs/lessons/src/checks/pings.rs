//! Lesson 12: pings have a limit.

use std::time::Duration;

use quartet::post::v1::ListPostsRequest;
use quartet_channel::keepalive::ClientParameters;
use tokio::time::timeout;

use crate::{
    Verdict,
    stage::Stage,
    wire::{From, Kind},
};

/// The program configures the pings of a client. The client then follows a silent log for an hour.
///
/// # Errors
/// The server ends the connection, or the client would not notice a dead one.
pub async fn check(program: impl Fn() -> ClientParameters) -> Verdict {
    let stage = Stage::open().await?;
    let mut client = stage.client_with(|builder| builder.keepalive(program()));
    let follow = ListPostsRequest { follow: true, ..Default::default() };
    let list = client.list_posts(follow).await.map_err(|status| status.to_string())?;
    let mut batches = list.into_inner();
    let read = async { while let Ok(Some(_)) = batches.message().await {} };
    let ended = timeout(Duration::from_secs(3600), read).await.is_ok();
    let pings = stage.wire().count(From::Client, Kind::Ping);
    if ended || stage.wire().count(From::Server, Kind::GoAway) > 0 {
        return Err("The server ended the connection with GOAWAY: too_many_pings.".to_owned());
    }
    if pings < 4 {
        return Err(format!(
            "In an hour the client sent {pings} PINGs: it would not notice a dead connection."
        ));
    }
    Ok(())
}
