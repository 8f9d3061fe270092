//! Lesson 12: pings have a limit.

use std::time::Duration;

use quartet::health::v1::{HealthCheckRequest, health_client::HealthClient};
use quartet_channel::keepalive::ClientParameters;
use tokio::time::timeout;

use crate::{
    stage::Stage,
    verdict::Verdict,
    wire::{From, Kind},
};

/// The program configures the pings of a client. The client then watches the server's
/// health for an hour.
///
/// # Errors
/// The server ends the connection, or the client would not notice a dead one.
pub async fn check(program: impl Fn() -> ClientParameters) -> Verdict {
    let stage = Stage::open().await?;
    // After its first message, this stream is silent. A list would get bookmarks meanwhile.
    let mut client = HealthClient::new(stage.channel_with(|builder| builder.keepalive(program())));
    let watch = client.watch(HealthCheckRequest::default()).await;
    let mut health = watch.map_err(|status| status.to_string())?.into_inner();
    let read = async { while let Ok(Some(_)) = health.message().await {} };
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
