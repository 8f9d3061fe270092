//! A caller: a user, and the scopes that it has.

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

use http::Extensions;
use quartet::encoded::PostRef;
use tokio::time::Instant;
use tonic::Status;

use crate::{error, validate};

/// A permission of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look up users.
    UsersRead,
    /// Read posts.
    PostsRead,
    /// Write posts in its own name. A feed reads and writes, so it needs both.
    PostsWrite,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Scope; 3] = [Scope::UsersRead, Scope::PostsRead, Scope::PostsWrite];

    /// The name of the scope in tokens and certificates.
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

/// Prefix of the name in a certificate that identifies its user.
const USER_NAME: &str = "quartet:user:";
/// Prefix of a name in a certificate that grants a scope.
const SCOPE_NAME: &str = "quartet:scope:";

/// The caller of a request: an extension of the request, and of its response for layers that log
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: Arc<str>,
    /// The scopes of the user.
    pub scopes: BTreeSet<Scope>,
    /// When the call must end: the `exp` of its token.
    pub expires: Option<Instant>,
}

impl Caller {
    /// The caller of a request, from its extensions. `None` if the server does not authenticate
    /// callers.
    pub fn of(call: &Extensions) -> Option<&Self> {
        call.get()
    }

    /// A user with scopes. Names of unknown scopes are ignored: a token may have scopes for other
    /// services. `None` if `user_id` is not a valid id.
    pub(crate) fn new<'a>(
        user_id: &str,
        scopes: impl IntoIterator<Item = &'a str>,
        expires: Option<Instant>,
    ) -> Option<Self> {
        validate::user_id(user_id).ok()?;
        let scopes = scopes.into_iter().filter_map(|name| name.parse().ok()).collect();
        Some(Self { user_id: user_id.into(), scopes, expires })
    }

    /// The caller of a certificate with these names. `None` if they name no user, or several.
    pub(crate) fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<&str> = names.collect();
        let mut users = names.iter().filter_map(|name| name.strip_prefix(USER_NAME));
        let (user_id, None) = (users.next()?, users.next()) else { return None };
        Self::new(user_id, names.iter().filter_map(|name| name.strip_prefix(SCOPE_NAME)), None)
    }
}

/// The names in a certificate for this user.
#[cfg(feature = "certs")]
pub(crate) fn names_of<'a>(
    user_id: &str,
    scopes: impl IntoIterator<Item = &'a Scope>,
) -> Vec<String> {
    let user = format!("{USER_NAME}{user_id}");
    let scopes = scopes.into_iter().map(|scope| format!("{SCOPE_NAME}{}", scope.name()));
    std::iter::once(user).chain(scopes).collect()
}

/// Checks that a post is in the caller's own name: an empty `user_id` becomes the caller's, another
/// user's is refused. If callers are not authenticated, the post is returned unchanged.
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
    fn a_certificate_names_one_user_or_no_caller() {
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
        assert_eq!(
            as_writer(None, post("2")).unwrap().user_id,
            "2",
            "callers are not authenticated"
        );
    }
}
