//! The layer that lets a caller do what it may, and nothing else.
//!
//! One table says what each method asks for. A method that is not in it is nobody's: it is answered as if it were not
//! there. Names are compared as they came, byte by byte, so that no spelling of a path gets past the table.

use http::Request;
use tonic::Status;
use tower::service_fn;

use super::{
    Access, Auth, Caller,
    Scope::{self, PostsRead, PostsWrite, UsersRead},
};
use crate::{
    chain::{
        Inner,
        watch::{Hold, answer},
    },
    connection::RequestBody,
    error,
};

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All of these.
    Scopes(&'static [Scope]),
    /// As `--health-access` has it.
    Health,
    /// As `--reflection-access` has it.
    Reflection,
}
use Rule::{Health, Reflection, Scopes};

// ANCHOR: rules
/// What each method asks of its caller. Those of the blog ask the same under its names.
const RULES: &[(&str, Rule)] = &[
    ("/user.v1.UserService/GetUser", Scopes(&[UsersRead])),
    ("/user.v1.UserService/ListUsers", Scopes(&[UsersRead])),
    ("/post.v1.PostService/ListPostsByUserId", Scopes(&[PostsRead])),
    ("/post.v1.PostService/ListPosts", Scopes(&[PostsRead])),
    ("/post.v1.PostService/UploadPosts", Scopes(&[PostsWrite])),
    ("/post.v1.PostService/TagFeed", Scopes(&[PostsRead, PostsWrite])),
    ("/v1.user.User/GetUser", Scopes(&[UsersRead])),
    ("/v1.user.User/ListUsers", Scopes(&[UsersRead])),
    ("/v1.post.Post/ListPostsByUserId", Scopes(&[PostsRead])),
    ("/v1.post.Post/ListPosts", Scopes(&[PostsRead])),
    ("/grpc.health.v1.Health/Check", Health),
    ("/grpc.health.v1.Health/List", Health),
    ("/grpc.health.v1.Health/Watch", Health),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Reflection),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Reflection),
];
// ANCHOR_END: rules

fn rule(path: &str) -> Option<Rule> {
    RULES.iter().find(|(method, _)| *method == path).map(|(_, rule)| *rule)
}

/// Whether everybody may call this.
pub(super) fn is_open(auth: &Auth, path: &str) -> bool {
    match rule(path) {
        Some(Rule::Health) => auth.health == Access::Open,
        Some(Rule::Reflection) => auth.reflection == Access::Open,
        Some(Rule::Scopes(_)) | None => false,
    }
}

/// A service whose callers do what they may; the rest is PERMISSION_DENIED. It stands inside
/// [`authentication`](super::authentication), which has refused those who are not known. If callers are not known at all,
/// everybody may do everything.
pub fn around(mut service: impl Inner, callers_are_known: bool) -> impl Inner {
    service_fn(move |request: Request<RequestBody>| {
        let may = if callers_are_known { authorize(&request) } else { Ok(()) };
        answer(may.map(|()| (service.call(request), Hold(()))))
    })
}

fn authorize<B>(request: &Request<B>) -> Result<(), Status> {
    let path = request.uri().path();
    let scopes = match rule(path) {
        Some(Rule::Scopes(scopes)) => scopes,
        // Whoever got here may.
        Some(Rule::Health | Rule::Reflection) => return Ok(()),
        None => return Err(error::unknown_method(path)),
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
            assert!(rule(method).is_some(), "{method} has no rule: it is nobody's");
        }
        // Those of the blog and of reflection are described elsewhere.
        let others = ["/v1.", "/grpc.reflection."];
        for (method, _) in RULES {
            let elsewhere = others.iter().any(|other| method.starts_with(other));
            assert!(elsewhere || methods.contains(*method), "{method} is not in the contract");
        }
    }

    #[test]
    fn what_is_called_otherwise_is_nobodys() {
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
