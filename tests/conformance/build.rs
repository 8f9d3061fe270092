//! Compiles the protos of the suite, which are not in this repository.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=CONFORMANCE_PROTOS");
    let protos = env::var("CONFORMANCE_PROTOS").map_err(|_| "run tests/conformance/run")?;
    let files = protox::compile(["connectrpc/conformance/v1/client_compat.proto"], [protos])?;
    Ok(prost_build::Config::new().compile_fds(files)?)
}
