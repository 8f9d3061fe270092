//! The methods that this suite has, in one place: authorization, metric names, spans and routes take
//! their paths from here.

/// The methods of `post.v1`.
pub mod post_v1 {
    /// `post.v1.PostService/ListPostsByUserId`.
    pub const LIST_POSTS_BY_USER_ID: &str = "/post.v1.PostService/ListPostsByUserId";
    /// `post.v1.PostService/ListPosts`.
    pub const LIST_POSTS: &str = "/post.v1.PostService/ListPosts";
    /// `post.v1.PostService/UploadPosts`.
    pub const UPLOAD_POSTS: &str = "/post.v1.PostService/UploadPosts";
    /// `post.v1.PostService/TagFeed`.
    pub const TAG_FEED: &str = "/post.v1.PostService/TagFeed";
}

/// The methods of `user.v1`.
pub mod user_v1 {
    /// `user.v1.UserService/GetUser`.
    pub const GET_USER: &str = "/user.v1.UserService/GetUser";
    /// `user.v1.UserService/ListUsers`.
    pub const LIST_USERS: &str = "/user.v1.UserService/ListUsers";
}

/// The methods of `v1.post`.
pub mod v1_post {
    /// `v1.post.Post/ListPostsByUserId`.
    pub const LIST_POSTS_BY_USER_ID: &str = "/v1.post.Post/ListPostsByUserId";
    /// `v1.post.Post/ListPosts`.
    pub const LIST_POSTS: &str = "/v1.post.Post/ListPosts";
}

/// The methods of `v1.user`.
pub mod v1_user {
    /// `v1.user.User/GetUser`.
    pub const GET_USER: &str = "/v1.user.User/GetUser";
    /// `v1.user.User/ListUsers`.
    pub const LIST_USERS: &str = "/v1.user.User/ListUsers";
}

/// The methods of `grpc.health.v1`.
pub mod grpc_health_v1 {
    /// `grpc.health.v1.Health/Check`.
    pub const CHECK: &str = "/grpc.health.v1.Health/Check";
    /// `grpc.health.v1.Health/List`.
    pub const LIST: &str = "/grpc.health.v1.Health/List";
    /// `grpc.health.v1.Health/Watch`.
    pub const WATCH: &str = "/grpc.health.v1.Health/Watch";
}

/// Server reflection.
pub mod grpc_reflection {
    /// `grpc.reflection.v1.ServerReflection/ServerReflectionInfo`.
    pub const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    /// `grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo`.
    pub const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
}

/// The paths of all methods.
pub fn all() -> impl Iterator<Item = &'static str> {
    [
        post_v1::LIST_POSTS_BY_USER_ID,
        post_v1::LIST_POSTS,
        post_v1::UPLOAD_POSTS,
        post_v1::TAG_FEED,
        user_v1::GET_USER,
        user_v1::LIST_USERS,
        v1_post::LIST_POSTS_BY_USER_ID,
        v1_post::LIST_POSTS,
        v1_user::GET_USER,
        v1_user::LIST_USERS,
        grpc_health_v1::CHECK,
        grpc_health_v1::LIST,
        grpc_health_v1::WATCH,
        grpc_reflection::V1,
        grpc_reflection::V1ALPHA,
    ]
    .into_iter()
}

/// The name of every other method.
pub const OTHER: &str = "other";

/// The name of the method at a path: the path without its first slash. Callers choose the paths that
/// they ask for, so a label or the name of a span is one of these or [`OTHER`].
pub fn name(path: &str) -> &'static str {
    all().find(|method| *method == path).map_or(OTHER, |method| &method[1..])
}

/// Whether a path is about the server rather than its services: health checking or reflection.
pub fn is_about_the_server(path: &str) -> bool {
    path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.")
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_method_of_the_contract_has_a_name_here() {
        let files = FileDescriptorSet::decode(quartet::FILE_DESCRIPTOR_SET).unwrap().file;
        let services = files
            .iter()
            .flat_map(|file| file.service.iter().map(|service| (file.package(), service)));
        let methods: Vec<_> = services
            .flat_map(|(package, service)| {
                let name = move |method: &str| format!("/{package}.{}/{method}", service.name());
                service.method.iter().map(move |method| name(method.name()))
            })
            .collect();
        assert!(methods.len() >= 9, "{methods:?}");
        for method in methods {
            assert_eq!(format!("/{}", name(&method)), method);
        }
        for path in ["", "/", "/post.v1.PostService/listposts", "/post.v1.PostService//ListPosts"] {
            assert_eq!(name(path), OTHER, "{path}");
        }
    }
}
