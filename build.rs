//! Compiles `proto/` into Rust with protox, so that nobody needs `protoc`.
//!
//! Out come the messages with their clients, the servers, and the descriptor set. The servers are described here by
//! hand, for one reason: the RPCs that read answer with posts that are encoded already (`quartet::wire`), and only a
//! manual description can give a method a response type and a codec of its own.

use std::{env, error::Error, fs, path::PathBuf};

use tonic_build::manual;

const PROTOS: [&str; 3] =
    ["proto/post/v1/post.proto", "proto/user/v1/user.proto", "proto/grpc/health/v1/health.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in PROTOS.iter().chain(&["proto/google/rpc/status.proto", "build.rs"]) {
        println!("cargo::rerun-if-changed={file}");
    }
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;

    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .build_server(false)
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(compiler.file_descriptor_set())?;

    manual::Builder::new().build_client(false).compile(&[
        user_service("user.v1", "UserService"),
        user_service("v1.user", "User"),
        post_service(),
        blog_post_service(),
        health_service(),
    ]);
    Ok(())
}

/// The User service, under its own name and under the one that the Go blog series gave it.
fn user_service(package: &str, name: &str) -> manual::Service {
    const MESSAGES: &str = "crate::user::v1";
    manual::Service::builder()
        .package(package)
        .name(name)
        .comment(" Who a user is. Both calls are unary and change nothing.")
        .method(unary("GetUser", MESSAGES, "crate::user::v1::GetUserResponse"))
        .method(unary("ListUsers", MESSAGES, "crate::user::v1::ListUsersResponse"))
        .build()
}

fn post_service() -> manual::Service {
    manual::Service::builder()
        .package("post.v1")
        .name("PostService")
        .comment(" The four RPC kinds. What each promises stands in `proto/post/v1/post.proto`.")
        .method(unary("ListPostsByUserId", POST, PAGE))
        .method(method("ListPosts", POST, PAGE).server_streaming().build())
        .method(
            method("UploadPosts", POST, "crate::post::v1::UploadPostsResponse")
                .input_type("crate::wire::UploadMessage")
                .client_streaming()
                .build(),
        )
        .method(
            method("TagFeed", POST, "crate::wire::FeedMessage")
                .client_streaming()
                .server_streaming()
                .build(),
        )
        .build()
}

/// The Post service of the blog: the same messages, and `ListPosts` as the unary call that it was there.
fn blog_post_service() -> manual::Service {
    manual::Service::builder()
        .package("v1.post")
        .name("Post")
        .comment(" The blog's Post service: both calls are unary.")
        .method(unary("ListPostsByUserId", POST, PAGE))
        .method(unary("ListPosts", POST, PAGE))
        .build()
}

fn health_service() -> manual::Service {
    let check = || method("Check", HEALTH, "crate::health::v1::HealthCheckResponse");
    manual::Service::builder()
        .package("grpc.health.v1")
        .name("Health")
        .comment(" Whether services take calls, as `proto/grpc/health/v1/health.proto` says.")
        .method(check().input_type(HEALTH_CHECK).build())
        .method(
            method("List", HEALTH, "crate::health::v1::HealthListResponse")
                .input_type("crate::health::v1::HealthListRequest")
                .build(),
        )
        .method(
            check()
                .name("watch")
                .route_name("Watch")
                .comment(" Answers `Watch`.")
                .input_type(HEALTH_CHECK)
                .server_streaming()
                .build(),
        )
        .build()
}

const HEALTH: &str = "crate::health::v1";
const HEALTH_CHECK: &str = "crate::health::v1::HealthCheckRequest";

const POST: &str = "crate::post::v1";
const PAGE: &str = "crate::wire::Page";

fn unary(route: &str, messages: &str, output: &str) -> manual::Method {
    method(route, messages, output).build()
}

fn method(route: &str, messages: &str, output: &str) -> manual::MethodBuilder {
    manual::Method::builder()
        .name(snake_case(route))
        .route_name(route)
        .comment(format!(" Answers `{route}`."))
        .input_type(format!("{messages}::{route}Request"))
        .output_type(output)
        .codec_path("crate::wire::WireCodec")
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
