//! Peers in Go.
//!
//! Go's own plugins generate their code of the contract. They read the descriptors that our build
//! made, without `protoc`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use prost::Message as _;
use prost_types::{
    FileDescriptorSet,
    compiler::{CodeGeneratorRequest, CodeGeneratorResponse},
};

use super::steps::{once, output, sources};
use crate::{error::Result, output::say, proto::DESCRIPTORS, run::folders::Folders};

const NATS_SERVER: &str = "github.com/nats-io/nats-server/v2@v2.15.2";
const PLUGINS: [(&str, &str); 2] = [
    ("protoc-gen-go", "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12"),
    ("protoc-gen-go-grpc", "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2"),
];
/// The package of the generated code, and the packages of its imports.
const PARAMETERS: &str = "paths=source_relative,Mpost/v1/post.proto=quartet/grpc-go/post/v1;post,\
    Mgoogle/rpc/status.proto=google.golang.org/genproto/googleapis/rpc/status";

pub(super) fn nats(folders: &Folders) -> Result<String> {
    install(folders, "nats-server", NATS_SERVER)?;
    Ok(NATS_SERVER.rsplit('/').next().unwrap_or_default().replace("v2@v", "nats-server "))
}

pub(super) fn grpc(folders: &Folders) -> Result<String> {
    let module = folders.bench.join("grpc-go");
    fs::create_dir_all(&module)?;
    for file in ["go.mod", "go.sum", "main.go"] {
        fs::copy(sources("grpc-go").join(file), module.join(file))?;
    }
    for (name, package) in PLUGINS {
        install(folders, name, package)?;
        generate(&folders.programs().join(name), &module)?;
    }
    let (module, binary) = (path(&module), path(&folders.programs().join("grpc-go")));
    go(folders, &["build", "-C", &module, "-o", &binary, "."])?;
    let version = go(folders, &["list", "-C", &module, "-m", "google.golang.org/grpc"])?;
    let toolchain = go(folders, &["env", "GOVERSION"])?;
    let version = version.rsplit(" v").next().unwrap_or_default();
    Ok(format!("grpc-go {version} on {toolchain}"))
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn install(folders: &Folders, name: &str, package: &str) -> Result<()> {
    once(&folders.programs().join(format!("{name}.installed")), package, || {
        say(&format!("go install {package}"));
        go(folders, &["install", package]).map(drop)
    })
}

fn go(folders: &Folders, args: &[&str]) -> Result<String> {
    output(Command::new("go").args(args).env("GOBIN", folders.programs()))
}

/// Lets a plugin write the code of the contract into the module.
fn generate(plugin: &Path, module: &Path) -> Result<()> {
    let request = CodeGeneratorRequest {
        file_to_generate: vec!["post/v1/post.proto".to_owned()],
        parameter: Some(PARAMETERS.to_owned()),
        proto_file: FileDescriptorSet::decode(DESCRIPTORS)?.file,
        compiler_version: None,
    };
    let mut child = Command::new(plugin).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // The plugin reads all input before it writes; this closes the pipe.
    child.stdin.take().ok_or("no stdin")?.write_all(&request.encode_to_vec())?;
    let output = child.wait_with_output()?.stdout;
    let response = CodeGeneratorResponse::decode(&output[..])?;
    if let Some(error) = response.error {
        return Err(error.into());
    }
    for file in response.file {
        let path: PathBuf = module.join(file.name());
        fs::create_dir_all(path.parent().unwrap_or(module))?;
        fs::write(path, file.content())?;
    }
    Ok(())
}
