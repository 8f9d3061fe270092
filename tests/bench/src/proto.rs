//! The contract, generated with prost's codec.

#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all)] // generated

tonic::include_proto!("post.v1");

/// The encoded descriptors, from which code is generated for other languages.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
