//! Compiles the protos of the suite, which are not in this repository.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=CONFORMANCE_PROTOS");
    let protos = env::var("CONFORMANCE_PROTOS").map_err(|_| "run tests/conformance/run")?;
    let files = ["client_compat", "server_compat"]
        .map(|name| format!("connectrpc/conformance/v1/{name}.proto"));
    let files = protox::compile(files, [protos])?;
    Ok(prost_build::Config::new().enable_type_names().compile_fds(files)?)
}
