//! The layers of the [chain](crate::chain), one file each.
//!
//! - [`request_id`]: assigns an id to every call.
//! - [`recover`]: turns a panic into INTERNAL.
//! - [`record`]: records every call for the access log, metrics and traces.
//! - [`authentication`]: identifies the caller; `expiry` ends the call when its token expires.
//! - [`authorization`]: checks that the caller has the scopes of the method.
//! - [`limits`]: limits the calls of each user.
//! - [`compression`]: reads compressed requests, and compresses answers.
//!
//! A layer sees the responses of the layers inside it, and the extensions of the request:
//! `RequestId`, `Caller`, `Peer`, `Stop`. Layers know no other layer, with one exception:
//! authentication asks authorization which methods are open.

pub mod authentication;
pub mod authorization;
pub mod compression;
mod expiry;
pub mod limits;
pub mod record;
pub mod recover;
pub mod request_id;
