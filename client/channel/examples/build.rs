//! Generates the client and the server of `demo.Greeter`. A program with a `.proto` file would do
//! it with tonic-prost-build; one method on strings needs no file.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let hello = Method::builder()
        .name("hello")
        .route_name("Hello")
        .input_type("String")
        .output_type("String")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let greeter = Service::builder()
        .package("demo")
        .name("Greeter")
        .comment(" Greets by name.")
        .method(hello)
        .build();
    Builder::new().build_transport(false).compile(&[greeter]);
}
