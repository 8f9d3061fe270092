//! Takes `quartet-wire`: reads two messages of a body, a timeout and a code.

use std::{error::Error, future::poll_fn, time::Duration};

use http_body_util::{BodyExt as _, Full};
use quartet_wire::{
    code, framing,
    messages::{MessageReader, Part},
    timeout,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let body = [&framing::prefix(2)[..], b"hi", &framing::prefix(3), b"you"].concat();
    let body = Full::from(body).map_err(|never| -> tonic::Status { match never {} });
    let mut reader = MessageReader::new(body, 1024);
    let mut messages = Vec::new();
    while let Part::Message(message) = poll_fn(|cx| reader.poll_next(cx)).await? {
        messages.push(message);
    }
    reader.check_end()?;
    assert_eq!(messages, ["hi", "you"]);
    assert_eq!(timeout::parse("1500m"), Some(Duration::from_millis(1500)));
    let known = code::from_name("UNAVAILABLE").ok_or("no such code")?;
    assert_eq!(code::name(known), "UNAVAILABLE");
    Ok(())
}
