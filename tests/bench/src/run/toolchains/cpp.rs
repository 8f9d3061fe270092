//! The peer in C++: gRPC's libraries as `pkg-config` finds them, `protoc` and `c++`.

use std::{fs, path::Path, process::Command};

use super::{
    super::folders::Folders,
    build::{once, output, sources},
};
use crate::{console::say, error::Result, proto::DESCRIPTORS};

/// As CMake's "Release".
const FLAGS: [&str; 3] = ["-std=c++17", "-O3", "-DNDEBUG"];
const PROTOS: [&str; 2] = ["google/rpc/status.proto", "post/v1/post.proto"];

pub(super) fn build(folders: &Folders) -> Result<String> {
    let version = output(Command::new("pkg-config").args(["--modversion", "grpc++"]))?;
    let compiler = output(Command::new("c++").arg("-dumpfullversion"))?;
    let source = fs::read_to_string(sources("grpc-cpp").join("main.cpp"))?;
    let depends_on = format!("{version}\n{compiler}\n{FLAGS:?}\n{DESCRIPTORS:?}\n{source}");
    once(&folders.programs().join("grpc-cpp.built"), &depends_on, || {
        say("building the peer in C++");
        let generated = folders.bench.join("grpc-cpp");
        fs::create_dir_all(&generated)?;
        generate(&generated)?;
        compile(&generated, &folders.programs().join("grpc-cpp"))
    })?;
    Ok(format!("gRPC C++ {version} with c++ {compiler}"))
}

/// `protoc` reads the descriptors that our build made.
fn generate(folder: &Path) -> Result<()> {
    let plugin = output(Command::new("sh").args(["-c", "command -v grpc_cpp_plugin"]))
        .map_err(|_| "there is no grpc_cpp_plugin on the PATH")?;
    fs::write(folder.join("descriptors.bin"), DESCRIPTORS)?;
    let mut protoc = Command::new("protoc");
    protoc.current_dir(folder).arg(format!("--plugin=protoc-gen-grpc={plugin}"));
    protoc.args(["--descriptor_set_in=descriptors.bin", "--cpp_out=.", "--grpc_out=."]);
    output(protoc.args(PROTOS)).map(drop)
}

fn compile(generated: &Path, binary: &Path) -> Result<()> {
    let libraries = ["--cflags", "--libs", "grpc++", "protobuf"];
    let libraries = output(Command::new("pkg-config").args(libraries))?;
    let mut compiler = Command::new("c++");
    compiler.current_dir(generated).args(FLAGS).arg("-I.");
    compiler.arg(sources("grpc-cpp").join("main.cpp"));
    for proto in PROTOS {
        let stem = proto.trim_end_matches(".proto");
        compiler.args([format!("{stem}.pb.cc"), format!("{stem}.grpc.pb.cc")]);
    }
    output(compiler.args(libraries.split_whitespace()).arg("-o").arg(binary)).map(drop)
}
