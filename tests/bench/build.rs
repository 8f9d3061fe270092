//! Compiles the contract as a tutorial would, with prost's own codec on both sides, and notes the
//! versions compared.
//!
//! The servers of the `quartet` crate send posts that are encoded already; the peers here must not.

use std::{env, error::Error, fs, path::PathBuf, process::Command};

const PROTO: &str = "../../proto/post/v1/post.proto";
const LOCK: &str = "../../Cargo.lock";
/// What the figures depend on.
const CRATES: [&str; 5] = ["tonic", "prost", "h2", "hyper", "tokio"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in [PROTO, LOCK, "build.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let mut compiler = protox::Compiler::new(["../../proto"])?;
    compiler.include_imports(true).include_source_info(true).open_file(PROTO)?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(compiler.file_descriptor_set())?;
    println!("cargo::rustc-env=VERSIONS={}", versions()?);
    Ok(())
}

/// "rustc 1.95.0, tonic 0.14.9, ...".
fn versions() -> Result<String, Box<dyn Error>> {
    let rustc = Command::new(env::var("RUSTC")?).arg("--version").output()?.stdout;
    let rustc = String::from_utf8(rustc)?;
    let mut versions = vec![rustc.split(" (").next().unwrap_or_default().to_owned()];
    let lock = fs::read_to_string(LOCK)?;
    for name in CRATES {
        let after = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, it)| it);
        let version = after.and_then(|it| it.split('"').next()).unwrap_or("unknown");
        versions.push(format!("{name} {version}"));
    }
    Ok(versions.join(", "))
}
