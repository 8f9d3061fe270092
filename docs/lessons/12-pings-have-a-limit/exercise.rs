//! Keeps connections alive through proxies that drop silent ones.

use std::time::Duration;

use quartet_channel::keepalive::ClientParameters;

pub fn keepalive() -> ClientParameters {
    ClientParameters { time: Some(Duration::from_secs(10)), ..Default::default() }
}
