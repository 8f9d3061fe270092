//! TLS and mutual TLS: which clients are admitted, which errors the others get, and certificates
//! that change under load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use quartet::post::v1::{ListPostsRequest, post_service_client::PostServiceClient};
use quartet_channel::{Channel, TlsSettings as ClientTls};
use quartet_client::Error;
use quartet_server::settings::Settings;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::support::{TestServer, certs::Authority, follow, post, reaches, soon, upload_of};

async fn with_tls(authority: &Authority) -> TestServer {
    TestServer::with(Settings { tls: authority.tls(), ..Settings::default() }).await
}

async fn with_mutual_tls(authority: &Authority) -> TestServer {
    TestServer::with(Settings { tls: authority.mutual_tls(), ..Settings::default() }).await
}

async fn call(channel: Channel) -> Result<(), Error> {
    let mut client = PostServiceClient::new(channel);
    let mut stream = soon(client.list_posts(ListPostsRequest::default())).await?.into_inner();
    while soon(stream.message()).await?.is_some() {}
    Ok(())
}

async fn refused(channel: Channel) -> String {
    call(channel).await.expect_err("the client should be refused").to_string()
}

#[tokio::test]
async fn a_client_that_trusts_the_ca_connects_under_every_name_of_the_certificate() {
    let authority = Authority::new();
    let server = with_tls(&authority).await;
    call(server.tls_channel(&authority.client())).await.unwrap();
    for name in ["localhost", "127.0.0.1", "::1"] {
        let flags = ClientTls { server_name: Some(name.to_owned()), ..authority.client() };
        call(server.tls_channel(&flags)).await.unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_reports_why_it_does_not_trust_the_server() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = with_tls(&authority).await;
    let unknown = refused(server.tls_channel(&other.client())).await;
    assert!(
        unknown.contains("the CA of the server's certificate is not trusted (set `ca`)"),
        "{unknown}"
    );
    let flags = ClientTls { server_name: Some("example.org".to_owned()), ..authority.client() };
    let wrong_name = refused(server.tls_channel(&flags)).await;
    assert!(wrong_name.contains("example.org"), "{wrong_name}");
}

#[tokio::test]
async fn plaintext_on_a_tls_port_and_tls_on_a_plaintext_port_are_refused_with_an_explanation() {
    let authority = Authority::new();
    let encrypted = with_tls(&authority).await;
    let words = refused(encrypted.plain_channel()).await;
    assert_eq!(words, "cannot connect: the server speaks TLS on this port: use https://");
    let plaintext = TestServer::start().await;
    let words = refused(plaintext.tls_channel(&authority.client())).await;
    assert_eq!(words, "cannot connect: the server does not speak TLS on this port: use http://");
}

/// PROTOCOL-HTTP2: `:scheme` is that of the transport. `dns:` and `ipv4:` say nothing about it.
#[tokio::test]
async fn the_scheme_of_a_request_is_https_over_tls_however_the_target_is_written() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.acceptor();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let tcp = listener.accept().await.unwrap().0;
            let tls = acceptor.accept(tcp).await.unwrap();
            let mut connection = h2::server::handshake(tls).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let scheme = request.uri().scheme_str().unwrap_or_default().to_owned();
                let head = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "10")
                    .header("grpc-message", scheme);
                respond.send_response(head.body(()).unwrap(), true).unwrap();
            }
        }
    });
    for target in [
        format!("https://localhost:{port}"),
        format!("HTTPS://localhost:{port}"),
        format!("dns:///localhost:{port}"),
        format!("ipv4:127.0.0.1:{port}"),
        format!("localhost:{port}"),
    ] {
        let channel = Channel::builder(target.parse().unwrap());
        let channel = channel.tls(&authority.client()).unwrap().build();
        let error = call(channel).await.unwrap_err();
        assert_eq!(error.to_string(), "ABORTED: https", "{target}");
    }
}

#[tokio::test]
async fn mutual_tls_admits_only_clients_with_a_certificate_of_the_ca() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = with_mutual_tls(&authority).await;
    call(server.tls_channel(&authority.certified_client())).await.unwrap();
    let none = refused(server.tls_channel(&authority.client())).await;
    assert!(none.contains("requires a client certificate (set `cert` and `key`)"), "{none}");
    let wrong = refused(server.tls_channel(&authority.client_certified_by(&other))).await;
    assert!(wrong.contains("does not trust this client's certificate"), "{wrong}");
    reaches(&server.gauges().connections, 0).await;
}

/// A TLS connection without HTTP/2 on it yet.
async fn handshake(
    server: &TestServer,
    authority: &Authority,
    alpn: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

#[tokio::test]
async fn a_peer_that_does_not_choose_http2_gets_an_explanation() {
    let authority = Authority::new();
    let server = with_tls(&authority).await;
    let error = handshake(&server, &authority, &["http/1.1"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    let mut silent = handshake(&server, &authority, &[]).await.unwrap();
    let mut answer = Vec::new();
    soon(silent.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.ends_with("this server speaks HTTP/2 only: ALPN must name h2"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_handshake_ends_after_ten_seconds() {
    let authority = Authority::new();
    let config = Settings { tls: authority.tls(), ..Settings::default() };
    let server = TestServer::in_memory_with(config).await;
    let begun = tokio::time::Instant::now();
    let mut silent = server.pipe(1024).await;
    let mut slow = server.pipe(1024).await;
    slow.write_all(&[0x16, 3, 1]).await.unwrap();
    for pipe in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        soon(pipe.read_to_end(&mut rest)).await.unwrap();
    }
    assert_eq!(begun.elapsed().as_secs(), 10);
    reaches(&server.gauges().connections, 0).await;
}

#[tokio::test]
async fn no_session_is_resumed() {
    let authority = Authority::new();
    let server = with_tls(&authority).await;
    let mut first = handshake(&server, &authority, &["h2"]).await.unwrap();
    first.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut settings = [0; 9];
    soon(first.read_exact(&mut settings)).await.unwrap();
    assert_eq!(first.get_ref().1.tls13_tickets_received(), 0);
}

#[tokio::test]
async fn fifty_rotations_under_load_fail_no_call_and_cut_no_stream() {
    const ROTATIONS: usize = 50;
    let authority = Arc::new(Authority::new());
    let server = Arc::new(with_mutual_tls(&authority).await);
    let channel = || server.tls_channel(&authority.certified_client());
    let mut followed = PostServiceClient::new(channel());
    let mut followed = soon(followed.list_posts(follow())).await.unwrap().into_inner();

    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for worker in 0..4 {
        let (server, authority) = (server.clone(), authority.clone());
        let (stop, calls) = (stop.clone(), calls.clone());
        load.spawn(async move {
            let lasting = server.tls_channel(&authority.certified_client());
            while !stop.load(Ordering::Relaxed) {
                // Half of the calls use a new connection, with the certificate that the client
                // finds then.
                let channel = match worker % 2 {
                    0 => lasting.clone(),
                    _ => server.tls_channel(&authority.certified_client()),
                };
                let id = format!("w{worker}-{}", calls.fetch_add(1, Ordering::Relaxed));
                let mut client = PostServiceClient::new(channel);
                let posts = [post(id, &[])];
                soon(client.upload_posts(upload_of(posts))).await.map_err(Error::from)?;
            }
            Ok::<_, Error>(())
        });
    }

    for _ in 0..ROTATIONS {
        // The files change one after the other: a reload between them must not fail any call.
        let before = std::fs::read(authority.file("server.pem")).unwrap();
        authority.renew();
        assert_ne!(std::fs::read(authority.file("server.pem")).unwrap(), before);
        server.reloader().reload_now();
        serves_the_new_certificate(&server, &authority).await;
    }
    stop.store(true, Ordering::Relaxed);
    for outcome in load.join_all().await {
        outcome.unwrap();
    }
    let calls = calls.load(Ordering::Relaxed);
    assert!(calls > ROTATIONS, "{calls} calls are too few for a load");
    let mut seen = 0;
    while seen < calls {
        seen += soon(followed.message()).await.unwrap().unwrap().post_messages.len();
    }
}

/// Waits until a new connection sees the certificate that is in the file.
async fn serves_the_new_certificate(server: &TestServer, authority: &Authority) {
    let new = CertificateDer::from_pem_file(authority.file("server.pem")).unwrap();
    soon(async {
        loop {
            let tls = handshake(server, authority, &["h2"]).await.unwrap();
            if tls.get_ref().1.peer_certificates().unwrap()[0] == new {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn unusable_files_are_named_and_no_server_starts() {
    let authority = Authority::new();
    std::fs::copy(authority.file("client.key"), authority.file("server.key")).unwrap();
    let config = Settings { tls: authority.tls(), ..Settings::default() };
    let error = quartet_server::server::Server::open(config).await.unwrap_err();
    let error = quartet_server::error::chain(&error);
    assert!(error.contains("server.key: does not fit the certificate"), "{error}");
}
