//! The server process: its output, its exit codes, and the posts that survive kills and restarts.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)] // test code

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use quartet::post::v1::{
    ListPostsRequest, LogPosition, PostMessage, post_service_client::PostServiceClient,
};
use quartet_client::{
    Error, FeedEvent, FeedRequest, FeedStart, ListEvent, UploadEvent, connect, list_posts,
    tag_feed, upload_posts,
};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);

/// A server process. It is killed when it is dropped.
struct Server {
    child: Child,
    endpoint: String,
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::start_logging(args, Stdio::null())
    }

    /// Starts a server whose log goes to `log`.
    fn start_logging(args: &[&str], log: Stdio) -> Self {
        let mut command = command(args);
        command.stderr(log);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let endpoint = line.trim().strip_prefix("listening on ");
        let endpoint = endpoint.unwrap_or_else(|| panic!("no server: {line:?}")).to_owned();
        Self { child, endpoint, _stdout: Some(stdout) }
    }

    fn on(data: &Path, address: &str) -> Self {
        let data = data.to_str().unwrap();
        // Draining soon cuts uploads that wait for their posts.
        let drain = ["--drain-timeout", "500ms"];
        let args = ["--data", data, "--listen", address, "--no-seed"];
        Self::start(&[&args[..], &drain].concat())
    }

    fn address(&self) -> String {
        self.endpoint.strip_prefix("http://").unwrap().to_owned()
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The exit code and stderr of a server that does not start.
fn refused(args: &[&str]) -> (i32, String) {
    let output = command(args).stderr(Stdio::piped()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_signal_ends_the_server_with_exit_code_0() {
    for signal in ["-INT", "-TERM"] {
        let server = Server::start(&["--ephemeral", "--listen", "127.0.0.1:0"]);
        server.signal(signal);
        assert!(server.wait().success(), "{signal}");
    }
}

/// A terminal with a server that was started from it.
struct Terminal {
    /// The end of the terminal's window. The terminal is closed when it is dropped.
    _window: std::os::fd::OwnedFd,
    server: Server,
}

impl Terminal {
    /// Runs the words in a session of its own, as a shell in a new window would.
    fn run(words: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let window = openpt(flags | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&window).unwrap();
        unlockpt(&window).unwrap();
        let name = ptsname(&window, Vec::new()).unwrap();
        // Opening it does not make it the terminal of the test.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let stdin = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let stderr = stdin.try_clone().unwrap();
        let mut command = Command::new("setsid");
        command.arg("--ctty").args(words).stdin(stdin).stdout(Stdio::piped()).stderr(stderr);
        Self { _window: window, server: Server::spawn(command) }
    }
}

const SERVER: &str = env!("CARGO_BIN_EXE_server");
const FOR_A_TEST: [&str; 3] = ["--ephemeral", "--listen", "127.0.0.1:0"];

/// POSIX: a program is sent SIGHUP when its terminal is closed, and ends.
#[test]
fn closing_the_terminal_drains_the_server_with_or_without_files_to_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = command(&["certs", folder.path().to_str().unwrap()]).status().unwrap();
    assert!(made.success());
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    for more in [&[][..], &tls] {
        let words = [&[SERVER][..], &FOR_A_TEST, more].concat();
        let Terminal { _window: window, server } = Terminal::run(&words);
        drop(window);
        assert!(server.wait().success(), "{more:?}");
    }
}

/// GNU nohup: "run a command immune to hangups".
#[test]
fn nohup_keeps_a_server_when_its_terminal_is_closed() {
    let words = [&["nohup", SERVER][..], &FOR_A_TEST].concat();
    let Terminal { _window: window, server } = Terminal::run(&words);
    let ignored = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    assert!(ignored.lines().any(|line| line.starts_with("SigIgn:") && line.ends_with('1')));
    drop(window);
    server.signal("-HUP");
    let health = command(&["health", "--endpoint", &server.endpoint]).status().unwrap();
    assert!(health.success(), "it still serves");
    server.signal("-TERM");
    assert!(server.wait().success());
}

/// The default action of SIGHUP. With files it reloads them: `security.rs` tests that.
#[test]
fn sighup_ends_a_server_that_has_nothing_to_reload() {
    let server = Server::start(&FOR_A_TEST);
    server.signal("-HUP");
    assert!(server.wait().success());
}

#[test]
fn a_server_starts_although_nobody_reads_its_stdout() {
    let (reader, unread) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command(&FOR_A_TEST).stdout(unread).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("listening on http://")).expect("the log says it");
    let endpoint = line.split_once("listening on ").unwrap().1.split(' ').next().unwrap();
    let health = command(&["health", "--endpoint", endpoint]).status().unwrap();
    let server = Server { child, endpoint: endpoint.to_owned(), _stdout: None };
    assert!(health.success());
    server.signal("-TERM");
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_ends_the_server_at_once_with_an_error() {
    let args = ["--ephemeral", "--listen", "127.0.0.1:0", "--frames", "--drain-timeout", "10m"];
    let mut server = Server::start_logging(&args, Stdio::piped());
    let mut log = BufReader::new(server.child.stderr.take().unwrap());
    let mut wait_for = |wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended without {wanted:?}");
        }
    };
    // A drain waits for an upload that goes on.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let endpoint = server.endpoint.clone();
    let upload = runtime.spawn(async move {
        let mut client = PostServiceClient::connect(endpoint).await.unwrap();
        client.upload_posts(stream::pending()).await
    });
    wait_for("recv HEADERS stream 1");
    server.signal("-TERM");
    wait_for("sent GOAWAY");
    server.signal("-TERM");
    wait_for("stopped by a second signal before all calls had ended");
    assert_eq!(server.wait().code(), Some(1));
    assert!(runtime.block_on(upload).unwrap().is_err());
}

#[test]
fn a_usage_error_exits_with_2_and_names_the_flag() {
    for (args, problem) in [
        (vec!["--lisen", "127.0.0.1:0"], "--listen"),
        (vec!["--listen", "127.0.0.1:0", "--serve", "post", "--ephemeral"], "--user-endpoint"),
        (vec!["--ephemeral", "--read-only"], "--read-only"),
        (vec!["--threads", "0"], "it must be a whole number, at least 1"),
        (vec!["--max-connections", "0"], "it must be a whole number, at least 1"),
        (vec!["--max-open-calls", "0"], "it must be a whole number, at least 1"),
        (vec!["--listen", "localhost:9005"], "localhost is 127.0.0.1:9005 or [::1]:9005"),
    ] {
        let (code, stderr) = refused(&args);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(problem), "{stderr}");
    }
}

#[test]
fn an_unusable_file_or_address_exits_with_1_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.jsonl");
    std::fs::write(
        &users,
        "{\"user_id\":\"1\",\"name\":\"A\"}\n{\"user_id\":\"1\",\"name\":\"B\"}\n",
    )
    .unwrap();
    let (code, stderr) =
        refused(&["--ephemeral", "--listen", "127.0.0.1:0", "--users", users.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(stderr.contains("users.jsonl, line 2") && stderr.contains("twice"), "{stderr}");

    let server = Server::start(&["--ephemeral", "--listen", "127.0.0.1:0"]);
    let (code, stderr) = refused(&["--ephemeral", "--listen", &server.address()]);
    assert_eq!(code, 1);
    let problem = format!("cannot listen on {}: another process does; `", server.address());
    assert!(stderr.contains(&problem), "{stderr}");

    let file = users.to_str().unwrap();
    for (args, problem) in [
        (["--data", file], format!("cannot keep a post log in {file}: it is not a directory")),
        (["--data", &format!("{file}/x")], format!("in {file}: it is not a directory")),
        (["--data", "/proc/x"], "cannot open the post log in /proc/x".to_owned()),
    ] {
        let (code, stderr) = refused(&[&args[..], &["--listen", "127.0.0.1:0"]].concat());
        assert_eq!(code, 1);
        assert!(stderr.contains(&problem), "{stderr}");
    }
    let (_, stderr) = refused(&["token", "--sub", "1", "--key", file]);
    assert!(stderr.contains(&format!("{file} is not a private key")), "{stderr}");
}

#[test]
fn only_its_owner_can_read_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("parent/data");
    drop(Server::start(&["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = data.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "the lock and a segment: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_log_has_one_server_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let server = Server::on(folder.path(), "127.0.0.1:0");
    let (code, stderr) = refused(&["--listen", "127.0.0.1:0", "--data", data]);
    assert_eq!(code, 1);
    assert!(stderr.contains("in use") && stderr.contains(data), "{stderr}");
    drop(server);
    drop(Server::on(folder.path(), "127.0.0.1:0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_serves_the_log_and_accepts_no_post() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    drop(Server::start(&["--listen", "127.0.0.1:0", "--data", data]));
    let before = std::fs::read(folder.path().join("00000000000000000001.log")).unwrap();
    let server = Server::start(&["--listen", "127.0.0.1:0", "--data", data, "--read-only"]);
    assert_eq!(log(&server).await.len(), 8);
    let posts = || stream::iter([Ok(post("new", 0))]).boxed();
    let mut upload = Box::pin(upload_posts(connect(&server.endpoint).unwrap(), posts));
    let error = loop {
        match upload.next().await.unwrap() {
            Ok(UploadEvent::Done(response)) => panic!("{response:?}"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason().as_deref(), Some("LOG_READ_ONLY"));
    drop(server);
    assert_eq!(before, std::fs::read(folder.path().join("00000000000000000001.log")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_stops_the_server_which_names_it_and_read_only_serves_what_precedes_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let stored = store_some(folder.path()).await;
    let Damage { batch, first } = second_batch(folder.path());
    let record = batch + 32;
    for (byte, place) in [(batch + 8, batch), (record + 4, record), (record + 20, record)] {
        flip(folder.path(), byte);
        let before = std::fs::read(folder.path().join(SEGMENT)).unwrap();

        let (code, stderr) = refused(&["--listen", "127.0.0.1:0", "--data", data]);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(&format!("{SEGMENT} is damaged at byte {place}:")), "{stderr}");
        let server = Server::start(&["--listen", "127.0.0.1:0", "--data", data, "--read-only"]);
        assert_eq!(log(&server).await, stored[..first], "byte {byte}");

        assert_eq!(
            before,
            std::fs::read(folder.path().join(SEGMENT)).unwrap(),
            "the file is unchanged"
        );
        flip(folder.path(), byte);
    }
    assert_eq!(log(&Server::on(folder.path(), "127.0.0.1:0")).await, stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_flips_under_a_running_server_is_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let stored = store_some(folder.path()).await;
    // A new process, so that it reads from the disk.
    let server = Server::on(folder.path(), "127.0.0.1:0");
    let Damage { batch, first } = second_batch(folder.path());
    flip(folder.path(), batch + 32 + 20);

    // Once, a batch that was half read at the damage was dropped, including its good posts.
    let (read, error) = list_after(&server, 0).await;
    assert_eq!(read, stored[..first]);
    assert_eq!(error.unwrap().reason().as_deref(), Some("LOG_DAMAGED"));

    upload_some(&server, "later").await;
    let (read, error) = list_after(&server, first as i64 + 1).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(read[..stored.len() - first - 1], stored[first + 1..], "the rest is still there");
    assert_eq!(read.len(), stored.len() - first - 1 + 5, "and the log goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_looked_into_while_a_server_uses_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let stored = store_some(folder.path()).await;
    let server = Server::on(folder.path(), "127.0.0.1:0");

    let (code, info) = look(&["info", data]);
    let head = format!("posts     {}\n", stored.len());
    assert!(code == 0 && info.contains(&head) && info.contains("damage    none"), "{info}");
    let (code, verdict) = look(&["verify", data]);
    assert!(code == 0 && verdict.contains("every checksum is right"), "{verdict}");
    let (code, posts) = look(&["dump", "--json", "--after", "2", data]);
    assert_eq!((code, posts.lines().count()), (0, stored.len() - 2));
    let first = posts.lines().next().unwrap();
    assert!(first.contains(&format!("\"post_id\":\"{}\"", stored[2].post_id)), "{first}");
    assert_eq!(look(&["dump", "--tag", "unheard", data]), (0, String::new()));

    upload_some(&server, "later").await;
    assert_eq!(look(&["dump", data]).1.lines().count(), stored.len() + 5, "it is not kept open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_any_part_of_a_log_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    store_some(folder.path()).await;
    let last = std::fs::metadata(folder.path().join(SEGMENT)).unwrap().len() as usize - 1;
    let Damage { batch, .. } = second_batch(folder.path());
    for byte in [0, 20, 60, batch, batch + 20, batch + 40, batch + 60, last] {
        flip(folder.path(), byte);
        let (code, verdict) = look(&["verify", data]);
        assert_eq!(code, 1, "byte {byte}: {verdict}");
        flip(folder.path(), byte);
    }
    assert_eq!(look(&["verify", data]).0, 0);
    assert_eq!(look(&["verify", "/nowhere"]).0, 1);
}

/// The exit code of `server log`, and what it prints.
fn look(args: &[&str]) -> (i32, String) {
    let output = command(&[&["log"], args].concat()).output().unwrap();
    let printed = [output.stdout, output.stderr.clone()];
    let text = if output.status.success() { printed[0].clone() } else { printed.concat() };
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

const SEGMENT: &str = "00000000000000000001.log";

/// The second batch of a log, to be damaged.
struct Damage {
    /// Where the second batch starts, in bytes.
    batch: usize,
    /// The number of posts before it.
    first: usize,
}

/// Finds the second batch, by the format in `docs/reference/log-format.md`.
fn second_batch(folder: &Path) -> Damage {
    let segment = std::fs::read(folder.join(SEGMENT)).unwrap();
    let number = |at: usize| u32::from_le_bytes(segment[at..at + 4].try_into().unwrap()) as usize;
    let (header, count, length) = (72, number(72 + 4), number(72 + 16));
    let batch = header + 32 + length;
    assert_eq!(
        (&segment[header..header + 4], &segment[batch..batch + 4]),
        (&b"BTCH"[..], &b"BTCH"[..])
    );
    Damage { batch, first: count }
}

fn flip(folder: &Path, byte: usize) {
    let segment = folder.join(SEGMENT);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[byte] ^= 0x10;
    std::fs::write(&segment, bytes).unwrap();
}

/// Stores three batches, and returns the log.
async fn store_some(folder: &Path) -> Vec<PostMessage> {
    let server = Server::on(folder, "127.0.0.1:0");
    for writer in ["one", "two", "three"] {
        upload_some(&server, writer).await;
    }
    log(&server).await
}

/// Uploads five posts.
async fn upload_some(server: &Server, writer: &'static str) {
    let posts = move || stream::iter((0..5).map(move |n| Ok(post(writer, n)))).boxed();
    let mut upload = Box::pin(upload_posts(connect(&server.endpoint).unwrap(), posts));
    while let Some(event) = upload.next().await {
        event.unwrap();
    }
}

const KILLS: usize = 5;
/// Posts that each writer sends between two kills.
const POSTS_PER_KILL: usize = 200;
const FEEDS: usize = 3;
const UPLOADS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    ended_again_and_again("-KILL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_again_and_again_under_load_lets_every_call_resume() {
    ended_again_and_again("-TERM").await;
}

/// Runs uploads, feeds and a reader with the client library, while the server is ended with
/// `signal` and started again several times.
async fn ended_again_and_again(signal: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), "127.0.0.1:0");
    let address = server.address();
    let endpoint = server.endpoint.clone();

    let names =
        || (0..FEEDS).map(|n| format!("feed{n}")).chain((0..UPLOADS).map(|n| format!("upload{n}")));
    let paces: Vec<_> = names().map(|_| Arc::new(Semaphore::new(0))).collect();
    let release = || paces.iter().for_each(|pace| pace.add_permits(POSTS_PER_KILL));
    let mut writers = JoinSet::new();
    for (name, pace) in names().zip(&paces) {
        match name.starts_with("feed") {
            true => writers.spawn(publish(endpoint.clone(), name, pace.clone())),
            false => writers.spawn(upload(endpoint.clone(), name, pace.clone())),
        };
    }
    let all = (FEEDS + UPLOADS) * POSTS_PER_KILL * (KILLS + 1);
    let (seen, mut reader_saw) = watch::channel(HashMap::new());
    let reader = tokio::task::spawn(follow(endpoint, all, seen));

    for kill in 0..KILLS {
        release();
        // Ends it in the middle: every writer has made progress, and few are done.
        let enough = |seen: &HashMap<String, usize>| {
            names().all(|name| {
                seen.get(&name).is_some_and(|posts| *posts > kill * POSTS_PER_KILL + 20)
            })
        };
        timeout(SOON, reader_saw.wait_for(enough)).await.unwrap().unwrap();
        server.signal(signal);
        server.wait();
        server = Server::on(folder.path(), &address);
    }
    release();

    let mut acknowledged = Vec::new();
    while let Some(writer) = timeout(SOON, writers.join_next()).await.unwrap() {
        acknowledged.extend(writer.unwrap());
    }
    let (read, resumes) = timeout(SOON, reader).await.unwrap().unwrap();
    let log = log(&server).await;

    assert!(resumes >= KILLS, "the reader resumed only {resumes} times");
    assert_eq!(log.len(), all, "every post is stored once");
    let sequences: Vec<i64> = log.iter().map(|post| post.sequence).collect();
    assert_eq!(sequences, (1..=all as i64).collect::<Vec<_>>(), "without a gap");
    assert_eq!(read, log, "the reader saw the log, each post once and in order");
    for (post_id, sequence) in acknowledged {
        assert_eq!(
            log[sequence as usize - 1].post_id,
            post_id,
            "a receipt has the post's sequence"
        );
    }
    for writer in
        (0..FEEDS).map(|n| format!("feed{n}")).chain((0..UPLOADS).map(|n| format!("upload{n}")))
    {
        let numbers =
            log.iter().filter_map(|post| post.post_id.strip_prefix(&format!("{writer}-")));
        let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers, (0..POSTS_PER_KILL * (KILLS + 1)).collect::<Vec<_>>(), "{writer}");
    }
}

fn post(writer: &str, number: usize) -> PostMessage {
    PostMessage {
        post_id: format!("{writer}-{number}"),
        title: format!("post {number} of {writer}"),
        user_id: "1".to_owned(),
        tags: vec!["killed".to_owned()],
        ..PostMessage::default()
    }
}

/// A writer's posts, one per permit of `pace`. A repeated post needs no new permit.
fn paced(
    writer: String,
    pace: Arc<Semaphore>,
    sent: Arc<Semaphore>,
) -> impl Stream<Item = PostMessage> {
    stream::iter(0..POSTS_PER_KILL * (KILLS + 1)).then(move |number| {
        let (writer, pace, sent) = (writer.clone(), pace.clone(), sent.clone());
        async move {
            if sent.available_permits() <= number {
                pace.acquire().await.unwrap().forget();
                sent.add_permits(1);
            }
            post(&writer, number)
        }
    })
}

/// Publishes on a feed and returns the ids and sequences of its receipts.
async fn publish(endpoint: String, writer: String, pace: Arc<Semaphore>) -> Vec<(String, i64)> {
    let posts = paced(writer, pace, Arc::new(Semaphore::new(0)));
    let requests = posts.map(FeedRequest::Publish);
    let mut feed = Box::pin(tag_feed(connect(&endpoint).unwrap(), FeedStart::Now, requests));
    let mut receipts = Vec::new();
    while let Some(event) = feed.next().await {
        if let FeedEvent::Receipt(receipt) = event.unwrap() {
            assert_eq!(receipt.status, None);
            receipts.push((receipt.post_id, receipt.sequence));
        }
    }
    receipts
}

async fn upload(endpoint: String, writer: String, pace: Arc<Semaphore>) -> Vec<(String, i64)> {
    let sent = Arc::new(Semaphore::new(0));
    let open = move || paced(writer.clone(), pace.clone(), sent.clone()).map(Ok).boxed();
    let mut upload = Box::pin(upload_posts(connect(&endpoint).unwrap(), open));
    while let Some(event) = upload.next().await {
        if let UploadEvent::Done(response) = event.unwrap() {
            assert!(response.complete && response.reject_count == 0, "{response:?}");
        }
    }
    Vec::new()
}

/// Follows the log until it has read this many posts, and counts them by writer in `seen`. Returns
/// the posts and the number of disconnects.
async fn follow(
    endpoint: String,
    posts: usize,
    seen: watch::Sender<HashMap<String, usize>>,
) -> (Vec<PostMessage>, usize) {
    let request = ListPostsRequest { follow: true, ..ListPostsRequest::default() };
    let mut events = Box::pin(list_posts(connect(&endpoint).unwrap(), request));
    let (mut read, mut cuts) = (Vec::new(), 0);
    while read.len() < posts {
        match events.next().await.unwrap().unwrap() {
            ListEvent::Batch(batch) => {
                let writers =
                    batch.post_messages.iter().filter_map(|p| p.post_id.split('-').next());
                seen.send_modify(|seen| {
                    writers.for_each(|name| *seen.entry(name.to_owned()).or_default() += 1);
                });
                read.extend(batch.post_messages);
            }
            ListEvent::Disconnected(_) => {}
            ListEvent::Reconnected(_) => cuts += 1,
        }
    }
    (read, cuts)
}

/// The whole log.
async fn log(server: &Server) -> Vec<PostMessage> {
    let (posts, error) = list_after(server, 0).await;
    assert!(error.is_none(), "{error:?}");
    posts
}

/// The posts after a sequence, and the error that ends the list, if any.
async fn list_after(server: &Server, sequence: i64) -> (Vec<PostMessage>, Option<Error>) {
    let resume_after = Some(LogPosition { sequence, ..LogPosition::default() });
    let request = ListPostsRequest { resume_after, ..ListPostsRequest::default() };
    let mut events = Box::pin(list_posts(connect(&server.endpoint).unwrap(), request));
    let mut posts = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(ListEvent::Batch(batch)) => posts.extend(batch.post_messages),
            Ok(_) => {}
            Err(error) => return (posts, Some(error)),
        }
    }
    (posts, None)
}
