//! Keeps connections alive through proxies that drop silent ones.

use std::time::Duration;

use quartet_channel::keepalive::ClientParameters;

pub fn keepalive() -> ClientParameters {
    // The server allows one in five minutes; more than that leaves room for delays.
    ClientParameters { time: Some(Duration::from_secs(6 * 60)), ..Default::default() }
}
