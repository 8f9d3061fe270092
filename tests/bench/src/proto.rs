//! The contract, generated with prost's codec.

tonic::include_proto!("post.v1");

/// What code generators for other languages start from.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
