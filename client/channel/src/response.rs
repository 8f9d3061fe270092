//! What a response must be, before anybody reads it as gRPC: the one judge of heads and bodies, for
//! all kinds of calls.

mod body;
mod head;

pub(crate) use body::GrpcBody;
pub(crate) use head::{GRPC_ACCEPT_ENCODING, code_of, judge};
