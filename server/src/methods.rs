//! The names of methods in metrics, spans and the access log. The paths are in
//! [`quartet::methods`].

pub use quartet::methods::*;

/// The name of every unknown method.
pub const OTHER: &str = "other";

/// The name of the method at a path: the path without its leading slash, or [`OTHER`]. Callers
/// choose paths, so only these names become labels of metrics and names of spans.
pub fn name(path: &str) -> &'static str {
    known(path).map_or(OTHER, |method| &method[1..])
}

/// Whether a path belongs to health checking or reflection.
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
