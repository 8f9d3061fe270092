//! Compiles `proto/` into Rust with protox, so that `protoc` is not needed.
//!
//! Messages come from prost and clients from tonic. The servers are generated here: traits with the
//! signatures that tonic's have, and a match from the path of a call to the adapter of its RPC kind
//! (`quartet::serve`). That is the whole difference from tonic's servers: those read and write
//! messages by a codec that copies, and these may exchange messages that stay encoded (`ENCODED`).

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use prost_build::{Config, Method, Service, ServiceGenerator};

/// What reflection describes.
const PROTOS: [&str; 3] =
    ["proto/post/v1/post.proto", "proto/user/v1/user.proto", "proto/grpc/health/v1/health.proto"];
/// The names of the blog series, which reflection leaves out.
const BLOG_PROTOS: [&str; 2] = ["proto/v1/post/post.proto", "proto/v1/user/user.proto"];

/// The messages that the server sends or receives in their encoded form.
const ENCODED: [(&str, &str); 4] = [
    ("ListPostsByUserIdResponse", "crate::page::Page"),
    ("ListPostsResponse", "crate::page::Page"),
    ("UploadPostsRequest", "crate::page::UploadMessage"),
    ("TagFeedResponse", "crate::page::FeedMessage"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let files = [&PROTOS[..], &BLOG_PROTOS].concat();
    for file in files.iter().chain(&["proto/google/rpc/status.proto", "build.rs"]) {
        println!("cargo::rerun-if-changed={file}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler(&PROTOS)?.encode_file_descriptor_set())?;

    let descriptors = compiler(&files)?.file_descriptor_set();
    let clients = tonic_prost_build::configure().build_server(false).build_transport(is_plain());
    let clients = clients.service_generator();
    Config::new()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .service_generator(Box::new(Services { clients }))
        .compile_fds(descriptors.clone())?;
    fs::write(out.join("methods.rs"), method_table(&descriptors.file)?)?;
    if is_plain() {
        plain(compiler(&PROTOS[..1])?.file_descriptor_set(), out.join("plain"))?;
    }
    Ok(())
}

/// Whether the feature `plain` is on.
fn is_plain() -> bool {
    env::var_os("CARGO_FEATURE_PLAIN").is_some()
}

/// The Post service as tonic generates it, for examples that show tonic alone.
fn plain(descriptors: prost_types::FileDescriptorSet, out: PathBuf) -> std::io::Result<()> {
    fs::create_dir_all(&out)?;
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".post.v1", "crate::post::v1")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .out_dir(out)
        .compile_fds(descriptors)
}

fn compiler(files: &[&str]) -> Result<protox::Compiler, protox::Error> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    Ok(compiler)
}

/// Constants for the name of each service and the path of each method, and lists of the paths.
fn method_table(files: &[prost_types::FileDescriptorProto]) -> Result<String, std::fmt::Error> {
    use prost_types::method_options::IdempotencyLevel::IdempotencyUnknown as Unknown;
    let (mut table, mut all) = (String::new(), String::new());
    let (mut single, mut idempotent) = (String::new(), String::new());
    for file in files.iter().filter(|file| !file.service.is_empty()) {
        let package = file.package().replace('.', "_");
        writeln!(table, "/// The methods of `{}`.\npub mod {package} {{", file.package())?;
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            writeln!(table, "    /// The service.\n    pub const SERVICE: &str = \"{name}\";")?;
            for method in &service.method {
                let path = format!("{name}/{}", method.name());
                let name = constant(method.name());
                writeln!(table, "    /// `{path}`.\n    pub const {name}: &str = \"/{path}\";")?;
                write!(all, "{package}::{name}, ")?;
                if !method.server_streaming() {
                    write!(single, "{package}::{name}, ")?;
                }
                if method.options.as_ref().is_some_and(|it| it.idempotency_level() != Unknown) {
                    write!(idempotent, "{package}::{name}, ")?;
                }
            }
        }
        writeln!(table, "}}\n")?;
    }
    let count = |paths: &str| paths.matches(',').count();
    writeln!(table, "const GENERATED: [&str; {}] = [{all}];", count(&all))?;
    writeln!(table, "/// The methods that answer with one message: unary and client streaming.")?;
    writeln!(table, "pub const SINGLE_RESPONSES: [&str; {}] = [{single}];", count(&single))?;
    writeln!(
        table,
        "/// The methods that may run twice without harm: they have an `idempotency_level`."
    )?;
    writeln!(table, "pub const IDEMPOTENT: [&str; {}] = [{idempotent}];", count(&idempotent))?;
    Ok(table)
}

/// Generates the client of a service by tonic, and its server by the templates below.
struct Services {
    clients: Box<dyn ServiceGenerator>,
}

impl ServiceGenerator for Services {
    fn generate(&mut self, service: Service, buf: &mut String) {
        buf.push_str(&server(&service));
        self.clients.generate(service, buf);
    }

    fn finalize(&mut self, buf: &mut String) {
        self.clients.finalize(buf);
    }
}

fn server(service: &Service) -> String {
    let Service { name, package, proto_name, .. } = service;
    let module = format!("{}_server", constant(name).to_lowercase());
    let traits: String = service.methods.iter().map(handler).collect();
    let paths = format!("crate::methods::{}", package.replace('.', "_"));
    let arms: String = service.methods.iter().map(|method| arm(&paths, method)).collect();
    format!(
        r#"
/// The server of `{package}.{proto_name}`.
pub mod {module} {{
    use std::{{convert::Infallible, sync::Arc, task::{{Context, Poll}}}};
    use tonic::{{Request, Response, Status, codegen::{{Service, http}}}};

    /// The handlers of `{package}.{proto_name}`.
    pub trait {name}: Send + Sync + 'static {{
{traits}    }}

    /// A service over its handlers. Clones share them.
    #[derive(Debug)]
    pub struct {name}Server<T>(Arc<T>);

    impl<T> {name}Server<T> {{
        /// Serves these handlers.
        pub fn new(handlers: T) -> Self {{
            Self(Arc::new(handlers))
        }}
    }}

    impl<T> Clone for {name}Server<T> {{
        fn clone(&self) -> Self {{
            Self(self.0.clone())
        }}
    }}

    impl<T> tonic::server::NamedService for {name}Server<T> {{
        const NAME: &'static str = {paths}::SERVICE;
    }}

    impl<T: {name}, B: crate::serve::GrpcBody> Service<http::Request<B>> for {name}Server<T> {{
        type Response = http::Response<tonic::body::Body>;
        type Error = Infallible;
        type Future = crate::serve::ResponseFuture;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {{
            Poll::Ready(Ok(()))
        }}

        fn call(&mut self, request: http::Request<B>) -> crate::serve::ResponseFuture {{
            let handlers = self.0.clone();
            match request.uri().path() {{
{arms}                path => crate::serve::unimplemented(path),
            }}
        }}
    }}
}}
"#
    )
}

/// The declaration of a method, as tonic has it.
fn handler(method: &Method) -> String {
    let Method { name, proto_name, .. } = method;
    let docs: String =
        method.comments.leading.iter().map(|line| format!("        ///{line}\n")).collect();
    let (input, output) = (message(&method.input_type), message(&method.output_type));
    let input = match method.client_streaming {
        true => format!("crate::serve::Streaming<{input}>"),
        false => input,
    };
    let (stream, output) = match method.server_streaming {
        true => (
            format!(
                "        /// The responses of `{proto_name}`.\n        \
                 type {proto_name}Stream: crate::serve::Responses<{output}>;\n"
            ),
            format!("Self::{proto_name}Stream"),
        ),
        false => (String::new(), output),
    };
    format!(
        "{stream}{docs}        fn {name}(&self, request: Request<{input}>)\n            \
         -> impl Future<Output = Result<Response<{output}>, Status>> + Send;\n"
    )
}

/// The arm that hands a call to the adapter of its kind.
fn arm(paths: &str, method: &Method) -> String {
    let kind = match (method.client_streaming, method.server_streaming) {
        (false, false) => "unary",
        (false, true) => "server_streaming",
        (true, false) => "client_streaming",
        (true, true) => "bidirectional",
    };
    format!(
        "                {paths}::{} => crate::serve::{kind}(\
         request, move |request| async move {{\n\
         \x20                   handlers.{}(request).await\n                }}),\n",
        constant(&method.proto_name),
        method.name
    )
}

fn message(rust_type: &str) -> String {
    let name = rust_type.rsplit("::").next().unwrap_or(rust_type);
    let encoded = ENCODED.iter().find(|(message, _)| *message == name);
    encoded.map_or_else(|| format!("super::{rust_type}"), |(_, rust)| (*rust).to_owned())
}

/// `ListPostsByUserId` as `LIST_POSTS_BY_USER_ID`.
fn constant(name: &str) -> String {
    let mut constant = String::new();
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            constant.push('_');
        }
        constant.push(letter.to_ascii_uppercase());
    }
    constant
}
