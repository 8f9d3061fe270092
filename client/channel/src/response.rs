//! What a response must be, before anybody reads it as gRPC: the one judge of heads and bodies, for
//! all kinds of calls.

mod body;
mod head;
mod status;

pub(crate) use body::GrpcBody;
pub(crate) use head::{GRPC_ACCEPT_ENCODING, judge};
pub(crate) use status::code_of;
