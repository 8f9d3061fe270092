//! Reflection, `grpc.reflection.v1` and `v1alpha`: tools learn the methods and messages here, and
//! need no `.proto` files.
//!
//! A bidirectional call of questions and answers, one answer for each question. A question that
//! cannot be answered has an error as its answer, and the call goes on. Both versions have the same
//! messages on the wire, so one handler serves both. Also described: the details that a status can
//! carry (`google.rpc.ErrorInfo` and others), so that tools can print them, and reflection itself.
//!
//! tonic-reflection has the messages. Its handler is not used: an unknown name ends its stream.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use futures::StreamExt as _;
use http::{Request, Response};
use prost::Message as _;
use prost_reflect::{
    DescriptorError, DescriptorPool, EnumDescriptor, FileDescriptor, MessageDescriptor,
    prost_types::{FileDescriptorProto, FileDescriptorSet},
};
use quartet::{
    codec,
    methods::{grpc_health_v1, grpc_reflection},
    serve::{self, Responses, Streaming},
};
use quartet_connection::{RequestBody, Routes, Stop};
use tonic::{Code, Status, body::Body, server::NamedService};
use tonic_reflection::pb::{
    v1::{
        self, ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
        ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
        server_reflection_request::MessageRequest as Question,
        server_reflection_response::MessageResponse as Answer,
    },
    v1alpha,
};
use tower::Service;

/// Characters of an unknown name in an answer: callers choose it.
const NAME_CHARS: usize = 256;

/// The descriptors cannot be read: a bug.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot describe the services")]
pub struct ReflectionError(#[source] Arc<DescriptorError>);

/// Adds both versions of reflection for these services.
///
/// # Errors
/// The descriptors cannot be read: a bug.
pub(crate) fn describe(
    routes: Routes,
    services: &[&'static str],
) -> Result<Routes, ReflectionError> {
    let symbols = SYMBOLS.as_ref().map_err(Clone::clone)?;
    let others =
        [grpc_health_v1::SERVICE, grpc_reflection::SERVICE_V1, grpc_reflection::SERVICE_V1ALPHA];
    let services: Arc<[_]> = services.iter().copied().chain(others).collect();
    let described = Described { services, symbols };
    Ok(routes.add_service(V1(described.clone())).add_service(V1Alpha(described)))
}

/// What reflection describes.
#[derive(Clone)]
struct Described {
    services: Arc<[&'static str]>,
    symbols: &'static Symbols,
}

impl Described {
    /// Answers the questions of a call. It ends OK when the server stops, as if the tool had
    /// half-closed: a tool does not resume.
    fn answers(
        self,
        questions: tonic::Request<Streaming<ServerReflectionRequest>>,
    ) -> impl Responses<ServerReflectionResponse> {
        let stop = Stop::of(questions.extensions());
        let stopped = async move { stop.due().await };
        let questions = questions.into_inner().take_until(Box::pin(stopped));
        questions.map(move |question| Ok(self.answer(question?)))
    }

    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = self.find(request.message_request.as_ref());
        let answer = answer.unwrap_or_else(|(code, message)| {
            let (error_code, error_message) = (code as i32, message);
            Answer::ErrorResponse(ErrorResponse { error_code, error_message })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }

    fn find(&self, question: Option<&Question>) -> Result<Answer, (Code, String)> {
        let unknown = |kind: &str, name: &str| {
            let name = codec::truncate(name, NAME_CHARS);
            (Code::NotFound, format!("this server has no {kind} `{name}`"))
        };
        let pool = &self.symbols.pool;
        let message =
            |name: &str| pool.get_message_by_name(name).ok_or_else(|| unknown("message", name));
        match question {
            Some(Question::ListServices(_)) => {
                let named = |name: &&str| ServiceResponse { name: (*name).to_owned() };
                let service = self.services.iter().map(named).collect();
                Ok(Answer::ListServicesResponse(ListServiceResponse { service }))
            }
            Some(Question::FileByFilename(name)) => {
                let file = pool.get_file_by_name(name).ok_or_else(|| unknown("file", name))?;
                Ok(described_by(&file))
            }
            Some(Question::FileContainingSymbol(name)) => {
                let file = self.symbols.files.get(name).ok_or_else(|| unknown("symbol", name))?;
                Ok(described_by(file))
            }
            Some(Question::FileContainingExtension(asked)) => {
                let number = u32::try_from(asked.extension_number).unwrap_or_default();
                let extension = message(&asked.containing_type)?.get_extension(number);
                let name = || format!("{} of {}", asked.extension_number, asked.containing_type);
                let extension = extension.ok_or_else(|| unknown("extension", &name()))?;
                Ok(described_by(&extension.parent_file()))
            }
            Some(Question::AllExtensionNumbersOfType(name)) => {
                let extensions = message(name)?;
                let numbers = extensions.extensions().map(|it| it.number() as i32).collect();
                Ok(Answer::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    extension_number: numbers,
                }))
            }
            None => Err((
                Code::InvalidArgument,
                "message_request: is not set, or not known to this server".to_owned(),
            )),
        }
    }
}

fn described_by(file: &FileDescriptor) -> Answer {
    let file_descriptor_proto = vec![file.encode_to_vec()];
    Answer::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto })
}

/// All names that can be asked for, read once.
static SYMBOLS: LazyLock<Result<Symbols, ReflectionError>> =
    LazyLock::new(|| Symbols::read().map_err(|error| ReflectionError(Arc::new(error))));

struct Symbols {
    pool: DescriptorPool,
    /// The file of each full name.
    files: HashMap<String, FileDescriptor>,
}

impl Symbols {
    fn read() -> Result<Self, DescriptorError> {
        let mut pool = DescriptorPool::new();
        // As it was compiled, because decoding would lose options that prost does not know.
        pool.decode_file_descriptor_set(quartet::FILE_DESCRIPTOR_SET)?;
        for set in [
            tonic_types::pb::FILE_DESCRIPTOR_SET,
            v1::FILE_DESCRIPTOR_SET,
            v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            // These were compiled by others, and have some of our files, also under other names.
            let set = FileDescriptorSet::decode(set).unwrap_or_default();
            let known = |file: &FileDescriptorProto| {
                let message = file.message_type.first().map(|message| message.name());
                let message = format!("{}.{}", file.package(), message.unwrap_or_default());
                pool.get_message_by_name(&message).is_some()
            };
            let new: Vec<_> = set.file.into_iter().filter(|file| !known(file)).collect();
            pool.add_file_descriptor_protos(new)?;
        }
        let mut symbols = Self { pool: pool.clone(), files: HashMap::new() };
        pool.files().for_each(|file| symbols.add_file(&file));
        Ok(symbols)
    }

    fn add_file(&mut self, file: &FileDescriptor) {
        let mut add = |name: &str| drop(self.files.insert(name.to_owned(), file.clone()));
        for service in file.services() {
            add(service.full_name());
            service.methods().for_each(|method| add(method.full_name()));
        }
        file.extensions().for_each(|extension| add(extension.full_name()));
        file.enums().for_each(|each| add_enum(&each, &mut add));
        file.messages().for_each(|message| add_message(&message, &mut add));
    }
}

fn add_message(message: &MessageDescriptor, add: &mut impl FnMut(&str)) {
    add(message.full_name());
    message.fields().for_each(|field| add(field.full_name()));
    message.oneofs().for_each(|oneof| add(oneof.full_name()));
    message.child_extensions().for_each(|extension| add(extension.full_name()));
    message.child_enums().for_each(|each| add_enum(&each, add));
    message.child_messages().for_each(|child| add_message(&child, add));
}

/// Values stand beside their enum, not in it: `a.VALUE` is a value of `a.Enum`.
fn add_enum(each: &EnumDescriptor, add: &mut impl FnMut(&str)) {
    add(each.full_name());
    each.values().for_each(|value| add(value.full_name()));
}

/// Reflection under its present name.
#[derive(Clone)]
struct V1(Described);

/// Reflection under its first name, which older tools ask for.
#[derive(Clone)]
struct V1Alpha(Described);

impl NamedService for V1 {
    const NAME: &'static str = grpc_reflection::SERVICE_V1;
}

impl NamedService for V1Alpha {
    const NAME: &'static str = grpc_reflection::SERVICE_V1ALPHA;
}

impl Service<Request<RequestBody>> for V1 {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = serve::ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> serve::ResponseFuture {
        let described = self.0.clone();
        match request.uri().path() {
            grpc_reflection::V1 | grpc_reflection::V1ALPHA => {
                serve::bidirectional(request, async move |questions| -> Result<_, Status> {
                    Ok(tonic::Response::new(described.answers(questions)))
                })
            }
            path => serve::unimplemented(path),
        }
    }
}

impl Service<Request<RequestBody>> for V1Alpha {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = serve::ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> serve::ResponseFuture {
        V1(self.0.clone()).call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_descriptors_can_be_read() {
        let symbols = Symbols::read().unwrap();
        assert!(symbols.pool.files().len() >= 8, "{:?}", symbols.pool);
    }
}
