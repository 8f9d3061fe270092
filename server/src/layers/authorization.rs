//! The layer that checks scopes: a call passes only if its caller has the scopes of the method.
//!
//! One table has the scopes that each method requires. A method that is not in it is denied to
//! everyone, with the answer for an unknown method. Paths are compared byte by byte, so that no
//! other spelling of a path gets past the table.

use http::Request;
use quartet::codec;
use quartet_connection::{
    RequestBody,
    layer::{
        Inner,
        watch::{Hold, answer},
    },
};
use tonic::Status;
use tower::service_fn;

use crate::{
    auth::{
        Access, Auth, Caller,
        Scope::{self, PostsRead, PostsWrite, UsersRead},
    },
    error,
    methods::{grpc_health_v1, grpc_reflection, post_v1, user_v1, v1_post, v1_user},
};

/// What a method requires of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All of these scopes.
    Scopes(&'static [Scope]),
    /// The configured access to health.
    Health,
    /// The configured access to reflection.
    Reflection,
}
use Rule::{Health, Reflection, Scopes};

// ANCHOR: rules
/// What each method requires. The same methods under the blog's names require the same.
const RULES: &[(&str, Rule)] = &[
    (user_v1::GET_USER, Scopes(&[UsersRead])),
    (user_v1::LIST_USERS, Scopes(&[UsersRead])),
    (post_v1::LIST_POSTS_BY_USER_ID, Scopes(&[PostsRead])),
    (post_v1::LIST_POSTS, Scopes(&[PostsRead])),
    (post_v1::UPLOAD_POSTS, Scopes(&[PostsWrite])),
    (post_v1::TAG_FEED, Scopes(&[PostsRead, PostsWrite])),
    (v1_user::GET_USER, Scopes(&[UsersRead])),
    (v1_user::LIST_USERS, Scopes(&[UsersRead])),
    (v1_post::LIST_POSTS_BY_USER_ID, Scopes(&[PostsRead])),
    (v1_post::LIST_POSTS, Scopes(&[PostsRead])),
    (grpc_health_v1::CHECK, Health),
    (grpc_health_v1::LIST, Health),
    (grpc_health_v1::WATCH, Health),
    (grpc_reflection::V1, Reflection),
    (grpc_reflection::V1ALPHA, Reflection),
];
// ANCHOR_END: rules

fn rule(path: &str) -> Option<Rule> {
    RULES.iter().find(|(method, _)| *method == path).map(|(_, rule)| *rule)
}

/// Whether a method is open to unauthenticated callers.
pub(super) fn is_open(auth: &Auth, path: &str) -> bool {
    match rule(path) {
        Some(Rule::Health) => auth.health() == Access::Open,
        Some(Rule::Reflection) => auth.reflection() == Access::Open,
        Some(Rule::Scopes(_)) | None => false,
    }
}

/// Wraps a service so that calls without the required scopes get PERMISSION_DENIED. It belongs
/// inside [`authentication`](super::authentication), which refuses unknown callers. If
/// `authenticated` is false, every call is allowed.
pub fn around(mut service: impl Inner, authenticated: bool) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        let allowed = if authenticated { authorize(&request) } else { Ok(()) };
        answer(allowed.map(|()| (service.call(request), Hold(()))))
    })
}

fn authorize<B>(request: &Request<B>) -> Result<(), Status> {
    let path = request.uri().path();
    let scopes = match rule(path) {
        Some(Rule::Scopes(scopes)) => scopes,
        // Authentication has checked the access.
        Some(Rule::Health | Rule::Reflection) => return Ok(()),
        None => return Err(codec::unknown_method(path)),
    };
    let caller = request.extensions().get::<Caller>();
    let missing = |scope: &&Scope| !caller.is_some_and(|caller| caller.scopes.contains(scope));
    match scopes.iter().find(missing) {
        None => Ok(()),
        Some(scope) => Err(error::scope_missing(scope.name())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use tonic::Code;

    use super::*;

    fn path(package: &str, service: &str, method: &str) -> String {
        format!("/{package}.{service}/{method}")
    }

    #[test]
    fn every_method_of_the_contract_has_a_rule_and_every_rule_a_method() {
        let files = FileDescriptorSet::decode(quartet::FILE_DESCRIPTOR_SET).unwrap().file;
        let mut methods: BTreeSet<String> = BTreeSet::new();
        for file in &files {
            for service in &file.service {
                let names = service.method.iter().map(|method| method.name());
                methods.extend(names.map(|name| path(file.package(), service.name(), name)));
            }
        }
        for method in &methods {
            assert!(rule(method).is_some(), "{method} has no rule: it is denied to everyone");
        }
        // The descriptors do not contain the methods of the blog and of reflection.
        let others = ["/v1.", "/grpc.reflection."];
        for (method, _) in RULES {
            let elsewhere = others.iter().any(|other| method.starts_with(other));
            assert!(elsewhere || methods.contains(*method), "{method} is not in the contract");
        }
    }

    #[test]
    fn a_path_that_is_spelled_differently_is_denied_to_everyone() {
        let request = |path: &str| Request::builder().uri(path).body(()).unwrap();
        for path in [
            "//post.v1.PostService/ListPosts",
            "/post.v1.PostService//ListPosts",
            "/post.v1.PostService/ListPosts/",
            "/post.v1.PostService%2FListPosts",
            "/post.v1.PostService/%4CistPosts",
            "/post.v1.postservice/listposts",
            "/post.v1.PostService/ListPosts;x=1",
            "/post.v1.PostService/../post.v1.PostService/ListPosts",
            "/post.v2.PostService/ListPosts",
            "/",
        ] {
            let refused = authorize(&request(path)).unwrap_err();
            assert_eq!(refused.code(), Code::Unimplemented, "{path}");
        }
        let known = authorize(&request("/post.v1.PostService/ListPosts?x=1")).unwrap_err();
        assert_eq!(known.code(), Code::PermissionDenied, "a query is no part of the path");
    }
}
