//! The contract of Quartet: the parts that servers and clients of the Post and User services share.
//!
//! - [`post::v1`], [`user::v1`] and [`health::v1`]: messages, clients and servers generated from
//!   `proto/` by `build.rs`; [`v1`]: the services under the names of the Go blog series.
//! - [`serve`]: the adapter between HTTP and handlers, one function for each RPC kind.
//! - [`methods`]: the path of every method.
//! - [`encoded`] and [`fields`]: posts that stay encoded, and how to read their fields in place.
//! - [`page`]: messages with encoded posts; [`codec`]: encoding and decoding.
//! - [`limits`]: every limit of the contract; [`reason`]: the `ErrorInfo` reasons of its statuses.
//!
//! ```
//! use quartet::{methods, post::v1::PostMessage};
//! use prost::Message as _;
//!
//! let post = PostMessage { user_id: "1".into(), title: "Hello".into(), ..Default::default() };
//! let bytes = post.encode_to_vec();
//! assert_eq!(PostMessage::decode(&*bytes).unwrap(), post);
//! assert_eq!(methods::post_v1::LIST_POSTS, "/post.v1.PostService/ListPosts");
//! ```
//!
//! Not here: the server's behaviour (`server/`) and the client's (`client/`).

pub mod codec;
pub mod encoded;
pub mod fields;
pub mod limits;
pub mod methods;
pub mod page;
pub mod reason;
pub mod serve;

/// The Post service: one ordered log of posts, with one method per RPC kind.
pub mod post {
    /// Generated from `proto/post/v1/post.proto`.
    #[allow(missing_docs, clippy::all)] // the members that the generators add
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/post.v1.rs"));
    }
}

/// The server of the Post service as tonic generates it, for examples that show tonic alone. The
/// suite's own server is [`post::v1::post_service_server`].
#[cfg(feature = "plain")]
#[allow(missing_docs, clippy::all)] // the members that the generators add
pub mod plain {
    include!(concat!(env!("OUT_DIR"), "/plain/post.v1.rs"));
}

/// The User service: the writers of posts.
pub mod user {
    /// Generated from `proto/user/v1/user.proto`.
    #[allow(missing_docs, clippy::all)] // the members that the generators add
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/user.v1.rs"));
    }
}

/// Health checking: whether services take calls.
pub mod health {
    /// Generated from `proto/grpc/health/v1/health.proto`.
    #[allow(missing_docs, clippy::all)] // the members that the generators add
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
    }
}

/// The services under the names of the Go blog series, with the same messages.
pub mod v1 {
    /// Generated from `proto/v1/post/post.proto`.
    #[allow(missing_docs, clippy::all)] // the members that the generators add
    pub mod post {
        include!(concat!(env!("OUT_DIR"), "/v1.post.rs"));
    }

    /// Generated from `proto/v1/user/user.proto`.
    #[allow(missing_docs, clippy::all)] // the members that the generators add
    pub mod user {
        include!(concat!(env!("OUT_DIR"), "/v1.user.rs"));
    }
}

/// The encoded `FileDescriptorSet` of `post.v1`, `user.v1` and `grpc.health.v1` with their imports,
/// for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
