//! Authentication of callers, and their scopes.
//!
//! [`Auth`] turns the token of a call, or the certificate of its connection, into a [`Caller`];
//! [`caller`] has its scopes. Two layers around all services use them:
//! [`authentication`](crate::layers::authentication), which also ends the call when its token
//! expires, and [`authorization`](crate::layers::authorization), with the table of the scopes that
//! each method requires. Handlers see the caller and check that a post [has its
//! `user_id`](as_writer).
//!
//! Guarantees: with authentication on, a method that is not in the table is denied to everyone; no
//! call outlives its token by more than a second; a token reaches neither a handler nor a log.
//!
//! Not here: issuing tokens (an issuer does that; `server token` makes one for trying it out), and
//! user names (the User service).

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
