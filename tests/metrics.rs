//! Metrics: they match what the server did, and the documentation lists them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use quartet::post::v1::ListPostsRequest;
use quartet_server::{
    error::chain,
    server::Server,
    settings::{ObservabilitySettings, Settings},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tonic::Code;

use crate::support::{
    TestServer, follow, large_post, list, listed, next, posts, raw, server::on_disk, soon, upload,
};

fn with_metrics(address: SocketAddr, settings: Settings) -> Settings {
    let metrics = Some(address);
    let observability = ObservabilitySettings { metrics, ..settings.observability };
    Settings { observability, ..settings }
}

async fn start(config: Settings) -> (TestServer, SocketAddr) {
    let server = TestServer::with(with_metrics("127.0.0.1:0".parse().unwrap(), config)).await;
    let address = server.metrics_address().unwrap();
    (server, address)
}

/// The response to an HTTP/1 request.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request}\r\nhost: here\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// The current metrics: each name with its labels, and its value.
async fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let answer = ask(address, "GET /metrics HTTP/1.1").await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && text.ends_with("# EOF\n"), "{answer}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

/// Waits until a metric has a good value.
async fn becomes(address: SocketAddr, name: &str, good: impl Fn(f64) -> bool) {
    let reached = async {
        while !good(scrape(address).await[name]) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon(reached).await;
}

#[tokio::test]
async fn metrics_match_what_the_server_did() {
    let data = tempfile::tempdir().unwrap();
    let (server, address) = start(on_disk(data.path())).await;
    let mut client = server.posts();
    upload(&mut client, posts("p", 5, &["a"])).await.unwrap();
    let batches = listed(&mut client, ListPostsRequest::default()).await.unwrap();
    for path in ["/post.v1.PostService/Made.Up", "/a.b.C/D"] {
        let status = raw::status_of(&server.channel(), path, vec![raw::framed(b"")]).await;
        assert_eq!(status.code(), Code::Unimplemented);
    }
    let all = scrape(address).await;
    let labels = |method: &str, status: &str| {
        format!("{{grpc_method=\"{method}\",grpc_status=\"{status}\"}}")
    };
    let of = |name: &str, method: &str, status: &str| {
        all[&format!("grpc_server_call_{name}{}", labels(method, status))]
    };
    let list = "post.v1.PostService/ListPosts";
    let bytes: usize = batches.iter().map(prost::Message::encoded_len).sum();
    assert_eq!(of("duration_seconds_count", list, "OK"), 1.0);
    assert!(of("duration_seconds_sum", list, "OK") > 0.0);
    assert_eq!(of("sent_total_compressed_message_size_bytes_sum", list, "OK"), bytes as f64);
    assert_eq!(of("duration_seconds_count", "other", "UNIMPLEMENTED"), 2.0);
    assert_eq!(all["grpc_server_call_started_total{grpc_method=\"other\"}"], 2.0);
    let uploads = "post.v1.PostService/UploadPosts";
    assert!(of("rcvd_total_compressed_message_size_bytes_sum", uploads, "OK") > 100.0);
    assert!(all.keys().all(|name| !name.contains("Made.Up") && !name.contains("a.b.C")));

    assert_eq!(all["quartet_log_append_posts_sum"], 5.0);
    assert_eq!(all["quartet_log_append_posts_count"], all["quartet_log_fsync_seconds_count"]);
    assert!(all["quartet_log_reads_total{from=\"ring\"}"] >= 1.0);
    assert_eq!(all["quartet_log_reads_total{from=\"disk\"}"], 0.0);
    server.stop().await;
}

#[tokio::test]
async fn a_stalled_reader_shows_in_the_lag_metric() {
    let (server, address) = start(Settings::default()).await;
    let mut reader =
        quartet::post::v1::post_service_client::PostServiceClient::new(server.narrow_channel());
    let mut stream = list(&mut reader, follow()).await.unwrap();
    next(&mut stream).await;
    becomes(address, "quartet_cursor_lag_posts", |lag| lag == 0.0).await;
    let large = (0..40).map(|n| large_post(format!("p{n}"), &["a"], 32 * 1024));
    upload(&mut server.posts(), large).await.unwrap();
    becomes(address, "quartet_cursor_lag_posts", |lag| lag > 10.0).await;
    let now = scrape(address).await;
    assert_eq!((now["quartet_cursors"], now["quartet_streams"]), (1.0, 1.0));
    // The upload's connection is closed by now.
    becomes(address, "quartet_connections", |connections| connections == 1.0).await;
    let mut read = 0;
    while read < 40 {
        read += next(&mut stream).await.post_messages.len();
    }
    becomes(address, "quartet_cursor_lag_posts", |lag| lag == 0.0).await;
    drop(stream);
    becomes(address, "quartet_cursors", |cursors| cursors == 0.0).await;
    server.stop().await;
}

#[tokio::test]
async fn the_documentation_lists_every_metric_and_no_other() {
    let data = tempfile::tempdir().unwrap();
    let (server, address) = start(on_disk(data.path())).await;
    // A metric without samples has no line.
    listed(&mut server.posts(), ListPostsRequest::default()).await.unwrap();
    let text = ask(address, "GET /metrics HTTP/1.1").await;
    let reported: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => (format!("{name}_total"), kind.to_owned()),
            _ => (name.to_owned(), kind.to_owned()),
        })
        .collect();
    let page = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/reference/observability.md"
    ));
    let page = page.unwrap();
    let listed: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?.0)))
        .filter(|(_, kind)| ["counter", "gauge", "histogram"].contains(kind))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    assert_eq!(listed, reported);
    assert!(reported.len() >= 11, "{reported:?}");
    server.stop().await;
}

#[tokio::test]
async fn the_metrics_port_serves_only_metrics_and_only_while_the_server_runs() {
    let (server, address) = start(Settings::default()).await;
    for (request, answer) in [
        ("GET /metrics HTTP/1.1", "HTTP/1.1 200 OK"),
        ("POST /metrics HTTP/1.1", "HTTP/1.1 405 Method Not Allowed"),
        ("GET / HTTP/1.1", "HTTP/1.1 404 Not Found"),
    ] {
        let answered = ask(address, request).await;
        assert!(answered.starts_with(answer), "{request}: {answered}");
    }
    // A connection without a request does not block the others.
    let _silent = TcpStream::connect(address).await.unwrap();
    scrape(address).await;
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err(), "the metrics port is still open");
}

#[tokio::test]
async fn an_unavailable_metrics_address_is_an_error_at_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let opened = Server::open(with_metrics(address, Settings::default())).await;
    let error = chain(&opened.unwrap_err());
    let problem = format!("metrics: cannot listen on {address}: another process does");
    assert!(error.starts_with(&problem), "{error}");
}
