//! The names of all services that a server of this suite has, and the paths of their methods.
//!
//! Routes, authorization rules, health and labels of metrics use these constants. The constants of
//! a service are in a module named after its package: [`post_v1::SERVICE`],
//! [`post_v1::LIST_POSTS`].

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// Server reflection, whose messages tonic-reflection has.
pub mod grpc_reflection {
    /// The service.
    pub const SERVICE_V1: &str = "grpc.reflection.v1.ServerReflection";
    /// The service under its first name.
    pub const SERVICE_V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";
    /// `grpc.reflection.v1.ServerReflection/ServerReflectionInfo`.
    pub const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    /// `grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo`.
    pub const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
}

/// The paths of all methods.
pub fn all() -> impl Iterator<Item = &'static str> {
    GENERATED.into_iter().chain([grpc_reflection::V1, grpc_reflection::V1ALPHA])
}

/// The constant that equals this path, if the method exists. Callers choose paths; only a constant
/// may become a label of a metric or the name of a span.
pub fn known(path: &str) -> Option<&'static str> {
    all().find(|method| *method == path)
}
