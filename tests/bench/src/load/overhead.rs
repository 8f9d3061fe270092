//! One call after another through a client's channel: the overhead of the channel for a healthy
//! call.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body::Body as HttpBody;
use quartet::post::v1::{ListPostsByUserIdRequest, post_service_client::PostServiceClient};
use quartet_client::ServiceConfig;
use tonic::{body::Body, client::GrpcService, codegen::StdError, transport::Endpoint};
use tower::ServiceBuilder;

use super::{latencies::latencies, list::expect, options::Options};
use crate::{
    error::Result,
    posts,
    usage::{Figures, Meter},
};

/// Everything that a healthy call passes: a balancer, a retry policy and its throttle.
const CONFIG: &str = r#"{
    "loadBalancingConfig": [{"round_robin": {}}],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    "methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4,
        "initialBackoff": "0.1s", "maxBackoff": "1s",
        "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]
}"#;

/// Through the channel of this suite's client.
pub(super) async fn our_channel(options: &Options) -> Result<Figures> {
    let config: ServiceConfig = CONFIG.parse()?;
    let target = format!("http://{}", options.address).parse()?;
    let channel = quartet_client::Channel::builder(target).service_config(config).build();
    call(channel, options).await
}

/// Through tonic's channel, with the same windows.
pub(super) async fn tonic_channel(options: &Options) -> Result<Figures> {
    let endpoint = Endpoint::from_shared(format!("http://{}", options.address))?
        .initial_stream_window_size(8 * 1024 * 1024)
        .initial_connection_window_size(64 * 1024 * 1024);
    let channel = ServiceBuilder::new().map_request(marked).service(endpoint.connect_lazy());
    call(channel, options).await
}

/// Adds the headers that our channel sends, a request id and a trace, so that only the channels
/// differ.
fn marked(mut request: Request<Body>) -> Request<Body> {
    let headers = request.headers_mut();
    for (name, text) in [
        ("x-request-id", format!("{:016x}", fastrand::u64(..))),
        ("traceparent", format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), fastrand::u64(1..))),
    ] {
        let value = HeaderValue::try_from(text).expect("invariant: it is ASCII");
        headers.insert(name, quartet_wire::unindexed(value)); // as our channel does
    }
    request
}

async fn call<T>(channel: T, options: &Options) -> Result<Figures>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let mut client = PostServiceClient::new(channel);
    let expected = options.posts / posts::USERS;
    let mut latencies = latencies()?;
    let mut meter = Meter::start(options.pid)?;
    // One round before the measurement, so that names and caches are filled.
    for number in 0..posts::USERS + options.count {
        if number == posts::USERS {
            meter = Meter::start(options.pid)?;
        }
        let user_id = posts::user_id(number);
        let begun = Instant::now();
        let request = ListPostsByUserIdRequest { user_id, resume_after: None };
        let page = client.list_posts_by_user_id(request).await?.into_inner();
        expect("a count of posts", page.post_messages.len() as u64, expected)?;
        if number >= posts::USERS {
            latencies.saturating_record(begun.elapsed().as_micros() as u64);
        }
    }
    Ok(meter.stop(options.count)?.with_latencies(&latencies))
}
