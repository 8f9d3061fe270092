//! Who calls, and what they may do.
//!
//! Two layers around all services. [`authentication`] turns the token of a call, or the certificate of its connection,
//! into a [`Caller`], and ends the call when the token expires. [`authorization`] holds the caller against the one table
//! of what each method asks for. Handlers see the caller, and ask whether a post [may bear its `user_id`](as_writer).
//!
//! Guarantees: with authentication on, nothing is let in that the table does not let in; no call outlives its token by
//! more than a second; a token reaches neither a handler nor a log.
//!
//! Not here: how tokens are made (an issuer does that; for a first try, `server token`), and who a user is (the User
//! service).

use std::{collections::BTreeSet, path::PathBuf, str::FromStr, sync::Arc};

use clap::{Args, ValueEnum};
use http::Extensions;
use quartet::encoded::PostRef;
use tokio::time::Instant;
use tonic::Status;

use crate::{
    error,
    reload::{FileError, Reloaded},
    validate,
};
use token::Keys;

pub mod authentication;
pub mod authorization;
pub mod crypto;
mod expiry;
pub mod token;

/// The flags.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthFlags {
    /// Ask callers for a token (a JWT) that one of these keys has signed (JWKS: EdDSA, ES256 or RS256).
    ///
    /// The file is read again when it changes and on SIGHUP. Without it and without --client-ca everybody may call
    /// everything.
    #[arg(long, value_name = "FILE", requires_all = ["issuer", "audience"])]
    pub jwks: Option<PathBuf>,

    /// The `iss` that tokens must have.
    #[arg(long, value_name = "NAME", requires = "jwks")]
    pub issuer: Option<String>,

    /// The `aud` that tokens must have.
    #[arg(long, value_name = "NAME", requires = "jwks")]
    pub audience: Option<String>,

    /// Who may ask for health, if callers are authenticated.
    #[arg(long, value_name = "WHO", default_value = "open")]
    pub health_access: Access,

    /// Who may use reflection, if callers are authenticated.
    #[arg(long, value_name = "WHO", default_value = "closed")]
    pub reflection_access: Access,
}

impl Default for AuthFlags {
    fn default() -> Self {
        Self {
            jwks: None,
            issuer: None,
            audience: None,
            health_access: Access::Open,
            reflection_access: Access::Closed,
        }
    }
}

/// Who may call methods that tell nothing of users and posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Access {
    /// Everybody.
    Open,
    /// Every caller who is authenticated.
    Closed,
}

/// How a server knows its callers. Clones share it.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Whose tokens it trusts; without them only certificates count.
    keys: Option<Reloaded<Keys>>,
    health: Access,
    reflection: Access,
}

impl Auth {
    /// As the flags have it; `None` if callers need not be known: there are neither keys nor, as `certificates` says, a
    /// client CA.
    ///
    /// # Errors
    /// The file of the keys, if it cannot be read or used.
    pub fn open(flags: &AuthFlags, certificates: bool) -> Result<Option<Self>, FileError> {
        let keys = flags.jwks.clone().map(|file| {
            let names =
                [&flags.issuer, &flags.audience].map(|name| name.clone().unwrap_or_default());
            let path = file.clone();
            Reloaded::open("the keys of tokens", vec![file], move |contents| {
                let [issuer, audience] = &names;
                let jwks = contents.first().map(Vec::as_slice).unwrap_or_default();
                Keys::parse(jwks, issuer, audience)
                    .map_err(|problem| FileError::new(&path, problem))
            })
        });
        let keys = keys.transpose()?;
        let (health, reflection) = (flags.health_access, flags.reflection_access);
        Ok((keys.is_some() || certificates).then_some(Self { keys, health, reflection }))
    }

    /// For whoever has them reloaded.
    pub(crate) fn keys(&self) -> Option<&Reloaded<Keys>> {
        self.keys.as_ref()
    }
}

/// What a caller may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To ask who users are.
    UsersRead,
    /// To read posts.
    PostsRead,
    /// To write posts, as oneself. A feed needs both: it reads and writes.
    PostsWrite,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::UsersRead, Scope::PostsRead, Scope::PostsWrite];

    /// As tokens and certificates spell it.
    pub fn name(self) -> &'static str {
        match self {
            Scope::UsersRead => "users.read",
            Scope::PostsRead => "posts.read",
            Scope::PostsWrite => "posts.write",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = Scope::ALL.map(Scope::name).join(", ");
        let found = Scope::ALL.into_iter().find(|scope| scope.name() == name);
        found.ok_or_else(|| format!("it must be one of {all}"))
    }
}

/// What begins a name in a certificate that says who it is for.
const USER_NAME: &str = "quartet:user:";
/// And a name that says what they may do.
const SCOPE_NAME: &str = "quartet:scope:";

/// Who makes a call: an extension of its request, and of its response for those who write down what was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: Arc<str>,
    /// What they may do.
    pub scopes: BTreeSet<Scope>,
    /// When this is no longer known: a token's `exp`.
    pub expires: Option<Instant>,
}

impl Caller {
    /// The one of a call. `None` if the server does not ask who calls.
    pub fn of(call: &Extensions) -> Option<&Self> {
        call.get()
    }

    /// A user with the scopes that are known here; a token may have others, for other services. `None` if it is not an id.
    pub(crate) fn new<'a>(
        user_id: &str,
        scopes: impl IntoIterator<Item = &'a str>,
        expires: Option<Instant>,
    ) -> Option<Self> {
        validate::user_id(user_id).ok()?;
        let scopes = scopes.into_iter().filter_map(|name| name.parse().ok()).collect();
        Some(Self { user_id: user_id.into(), scopes, expires })
    }

    /// Whom a certificate with these names is for. `None` if they name no user, or several.
    pub(crate) fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<&str> = names.collect();
        let mut users = names.iter().filter_map(|name| name.strip_prefix(USER_NAME));
        let (user_id, None) = (users.next()?, users.next()) else { return None };
        Self::new(user_id, names.iter().filter_map(|name| name.strip_prefix(SCOPE_NAME)), None)
    }
}

/// The names of a certificate for this user.
pub(crate) fn names_of<'a>(
    user_id: &str,
    scopes: impl IntoIterator<Item = &'a Scope>,
) -> Vec<String> {
    let user = format!("{USER_NAME}{user_id}");
    let scopes = scopes.into_iter().map(|scope| format!("{SCOPE_NAME}{}", scope.name()));
    std::iter::once(user).chain(scopes).collect()
}

/// A post as its writer may send it: without a `user_id` it is the caller's, and with another it is refused. If nobody asks
/// who calls, it stays as it is.
///
/// # Errors
/// PERMISSION_DENIED (OTHER_USER).
pub fn as_writer<'a>(
    caller: Option<&'a Caller>,
    mut post: PostRef<'a>,
) -> Result<PostRef<'a>, Status> {
    match caller {
        Some(caller) if post.user_id.is_empty() => post.user_id = &caller.user_id,
        Some(caller) if *post.user_id != *caller.user_id => return Err(error::other_user()),
        _ => {}
    }
    Ok(post)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_one_user_or_nobody() {
        let of = |names: &[&str]| Caller::of_names(names.iter().copied());
        let scopes =
            ["quartet:scope:posts.read", "quartet:scope:posts.delete", "https://example.org"];
        let caller = of(&[&["quartet:user:7"], &scopes[..]].concat()).unwrap();
        assert_eq!((&*caller.user_id, caller.expires), ("7", None));
        assert_eq!(caller.scopes, BTreeSet::from([Scope::PostsRead]));
        for names in [&scopes[..], &["quartet:user:7", "quartet:user:8"], &["quartet:user:"]] {
            assert_eq!(of(names), None, "{names:?}");
        }
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_caller_writes_only_as_itself() {
        let post = |user_id| {
            let mut post = PostRef::default();
            post.user_id = user_id;
            post
        };
        let caller = Caller::new("1", [], None).unwrap();
        assert_eq!(as_writer(Some(&caller), post("")).unwrap().user_id, "1");
        assert_eq!(as_writer(Some(&caller), post("1")).unwrap().user_id, "1");
        let refused = as_writer(Some(&caller), post("2")).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        assert_eq!(as_writer(None, post("2")).unwrap().user_id, "2", "nobody asks");
    }
}
