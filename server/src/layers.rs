//! The layers of the [chain](crate::chain), one file each.
//!
//! - [`request_id`]: gives every call an id.
//! - [`recover`]: turns a panic into INTERNAL.
//! - [`record`]: records every call: the access log, the metrics and the traces see it end.
//! - [`authentication`]: finds out who calls; `expiry` ends the call when its token expires.
//! - [`authorization`]: lets a caller do what its scopes allow, and nothing else.
//! - [`limits`]: how many calls a user may make.
//! - `reasons`: gives a reason to the statuses that tonic makes itself.
//!
//! A layer knows the response of the layers below it, and the extensions of the request:
//! `RequestId`, `Caller`, `Peer`, `Stop`. It imports no other layer.

pub mod authentication;
pub mod authorization;
mod expiry;
pub mod limits;
pub(crate) mod reasons;
pub mod record;
pub mod recover;
pub mod request_id;
