//! The methods that this suite has: callers choose what they ask for, and a label or a span's name must not be theirs.

/// Every method, as in `:path` without the slash before it.
pub const ALL: [&str; 15] = [
    "post.v1.PostService/ListPostsByUserId",
    "post.v1.PostService/ListPosts",
    "post.v1.PostService/UploadPosts",
    "post.v1.PostService/TagFeed",
    "user.v1.UserService/GetUser",
    "user.v1.UserService/ListUsers",
    "v1.post.Post/ListPostsByUserId",
    "v1.post.Post/ListPosts",
    "v1.user.User/GetUser",
    "v1.user.User/ListUsers",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/List",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What all others are called.
pub const OTHER: &str = "other";

/// The name of the method that a path asks for.
pub fn name(path: &str) -> &'static str {
    let asked = path.strip_prefix('/').unwrap_or_default();
    ALL.into_iter().find(|method| *method == asked).unwrap_or(OTHER)
}

/// Whether it is a call about the server rather than to its services: health checking or reflection.
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
