//! Server side of Quartet: the ordered post log and the four RPC kinds over it.

pub mod log;
