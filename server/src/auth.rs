//! Who calls, and what they may do.
//!
//! [`Auth`] turns the token of a call, or the certificate of its connection, into a [`Caller`];
//! [`caller`] says what a caller may do. Two layers around all services ask for it:
//! [`authentication`](crate::layers::authentication), which also ends the call when its token
//! expires, and [`authorization`](crate::layers::authorization), with the one table of the scopes
//! of each method. Handlers see the caller, and ask whether a post [may have its
//! `user_id`](as_writer).
//!
//! Guarantees: with authentication on, a method that is not in the table is denied to everyone; no
//! call outlives its token by more than a second; a token reaches neither a handler nor a log.
//!
//! Not here: how tokens are made (an issuer does that; for a first try, `server token`), and who a
//! user is (the User service).

pub mod authenticator;
pub mod caller;
#[cfg(feature = "tokens")]
pub mod crypto;
#[cfg(not(feature = "tokens"))]
pub mod no_token;
pub mod refusal;
#[cfg(feature = "tokens")]
pub mod token;

pub use authenticator::{Access, Auth, AuthSettings, TrustedIssuer};
pub use caller::{Caller, Scope, as_writer};
