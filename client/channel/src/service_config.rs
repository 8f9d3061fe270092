//! gRPC's [service config](https://github.com/grpc/grpc/blob/master/doc/service_config.md): how
//! calls are balanced, retried, hedged and limited, by method.
//!
//! The JSON is read as grpc-go reads it: the case of keys does not matter, and `.01s` is a
//! duration. Unknown keys have no effect and are [listed](ServiceConfig::ignored). An invalid value
//! of a known key makes the whole config an [`InvalidConfig`], which names the path of the value.

mod config;
mod decode;
mod invalid;

pub use config::{
    Balancing, CallPolicy, HedgingPolicy, MethodConfig, RetryPolicy, RetryThrottling, ServiceConfig,
};
pub use invalid::InvalidConfig;
