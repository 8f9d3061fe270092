//! The contract of Quartet: what servers and clients of the post and user services share.
//!
//! - [`post::v1`], [`user::v1`] and [`health::v1`]: messages, clients and servers generated from `proto/` by `build.rs`.
//! - [`blog`]: the servers under the names that the Go blog series gave its services.
//! - [`wire`]: posts that stay encoded, and the codec that sends them.
//! - [`borrowed`]: posts that are read where they are.
//! - [`limits`]: every limit of the contract, once.
//! - [`reason`]: the `ErrorInfo` reasons that a status can carry.
//!
//! Not here: behaviour. The server's is in `server/`, the client's in `client/`.

pub mod borrowed;
pub mod limits;
pub mod reason;
pub mod wire;

/// The Post service: one ordered log of posts and four ways to talk to it.
pub mod post {
    /// Generated from `proto/post/v1/post.proto`.
    #[allow(missing_docs, clippy::all)] // the members that the generators add
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/post.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/post.v1.PostService.rs"));
    }
}

/// The User service: who writes the posts.
pub mod user {
    /// Generated from `proto/user/v1/user.proto`.
    #[allow(missing_docs, clippy::all)] // the members that the generators add
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/user.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/user.v1.UserService.rs"));
    }
}

/// Health checking: whether services take calls.
pub mod health {
    /// Generated from `proto/grpc/health/v1/health.proto`.
    #[allow(missing_docs, clippy::all)] // the members that the generators add
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.Health.rs"));
    }
}

/// The services under the blog's own names, `/v1.user.User/*` and `/v1.post.Post/*`, with the same messages.
#[allow(missing_docs, clippy::all)] // the members that the generators add
pub mod blog {
    include!(concat!(env!("OUT_DIR"), "/v1.user.User.rs"));
    include!(concat!(env!("OUT_DIR"), "/v1.post.Post.rs"));
}

/// The encoded `FileDescriptorSet` of `post.v1`, `user.v1` and `grpc.health.v1` with their imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
