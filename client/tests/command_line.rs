//! The four binaries as processes: output, exit codes, signals.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use clap::Parser as _;
use quartet::{
    post::v1::{
        Bookmark, Joined, Receipt, UploadPostsResponse, UploadReject,
        tag_feed_request::Payload as Request, tag_feed_response::Payload as Response,
    },
    reason,
};
use quartet_client::command::{Failure, Io, client_streaming};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::LocalModes,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

use crate::fake::{Fake, LOG_ID, page, position, within};

const UNARY: &str = env!("CARGO_BIN_EXE_unary");
const SERVER_STREAMING: &str = env!("CARGO_BIN_EXE_server-streaming");
const CLIENT_STREAMING: &str = env!("CARGO_BIN_EXE_client-streaming");
const BIDIRECTIONAL: &str = env!("CARGO_BIN_EXE_bidirectional");
const ALL: [&str; 4] = [UNARY, SERVER_STREAMING, CLIENT_STREAMING, BIDIRECTIONAL];
const NAMES: [&str; 4] = ["unary", "server-streaming", "client-streaming", "bidirectional"];

/// A running binary, killed if the test fails.
struct Process(Option<Child>);

impl Process {
    fn start(binary: &str, args: &[&str]) -> Self {
        let mut command = Command::new(binary);
        command.args(args).env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    /// Types the whole input and ends it.
    fn type_all(mut self, input: &str) -> Self {
        self.child().stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        self
    }

    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child().stdout.take().unwrap())
    }

    fn interrupt(&mut self) {
        let id = self.child().id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }

    /// Waits for its end. Stdin stays open until then.
    async fn end(mut self) -> Output {
        let mut child = self.0.take().unwrap();
        let stdin = child.stdin.take();
        let output = tokio::task::spawn_blocking(|| child.wait_with_output());
        let output = within(output).await.unwrap().unwrap();
        drop(stdin);
        output
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads a line without stopping the fake.
async fn line(stdout: BufReader<ChildStdout>) -> (String, BufReader<ChildStdout>) {
    let read = tokio::task::spawn_blocking(move || {
        let (mut stdout, mut line) = (stdout, String::new());
        stdout.read_line(&mut line).unwrap();
        (line, stdout)
    });
    within(read).await.unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("not killed")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json_position(sequence: i64) -> Value {
    json!({ "log_id": LOG_ID, "sequence": sequence })
}

fn json_post(sequence: i64) -> Value {
    json!({
        "event": "post",
        "sequence": sequence,
        "post_id": format!("p{sequence}"),
        "user_id": "1",
        "author": "Kim",
        "title": format!("post {sequence}"),
        "body": "",
        "tags": ["go"],
    })
}

fn refusal(code: Code, reason: &str, message: &str) -> Option<pb::Status> {
    let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, []);
    let status = Status::with_error_details(code, message, details);
    let message = message.into();
    Some(pb::Status { code: code.into(), message, details: decode_details(&status) })
}

fn decode_details(status: &Status) -> Vec<prost_types::Any> {
    use prost::Message as _;
    pb::Status::decode(status.details()).unwrap().details
}

#[tokio::test]
async fn a_wrong_command_line_exits_2() {
    for binary in ALL {
        for args in [
            &["--nonsense"][..],
            &["--endpoint", "ftp://localhost"],
            &["--timeout", "soon"],
            &["--service-config", r#"{"methodConfig": 1}"#],
        ] {
            let output = Process::start(binary, args).end().await;
            assert_eq!(code(&output), 2, "{binary} {args:?}: {}", text(&output.stderr));
        }
    }
    for (binary, args) in
        [(SERVER_STREAMING, &["--limit", "0"][..]), (UNARY, &["--user-id", "1", "--count", "0"])]
    {
        let output = Process::start(binary, args).end().await;
        assert_eq!(code(&output), 2);
        let problem = text(&output.stderr);
        assert!(problem.contains("it must be a whole number, at least 1"), "{problem}");
    }
    for binary in [UNARY, SERVER_STREAMING, BIDIRECTIONAL] {
        for position in ["x", "-1"] {
            let output = Process::start(binary, &["--after", position]).end().await;
            assert_eq!(code(&output), 2);
            let problem = text(&output.stderr);
            assert!(
                problem.contains("a position is N, LOG_ID:N or LOG_ID:N:CHAIN"),
                "{binary}: {problem}"
            );
        }
    }
}

#[tokio::test]
async fn help_has_examples_and_a_next_step() {
    for binary in ALL {
        let output = Process::start(binary, &["--help"]).end().await;
        assert_eq!(code(&output), 0);
        let help = text(&output.stdout);
        for part in ["RPC", "Examples:", "Next:", "--endpoint", "--timeout", "--json"] {
            assert!(help.contains(part), "{binary}: {part} in {help}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}

#[tokio::test]
async fn help_wraps_at_the_width_of_the_terminal() {
    for binary in ALL {
        let output = Command::new(binary).arg("--help").env("COLUMNS", "60").output().unwrap();
        let help = text(&output.stdout);
        assert!(help.lines().all(|line| line.chars().count() <= 60), "{binary}: {help}");
    }
}

#[tokio::test]
async fn the_version_names_the_command() {
    for (binary, name) in ALL.iter().zip(NAMES) {
        let output = Process::start(binary, &["--version"]).end().await;
        let version = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(text(&output.stdout), version);
    }
}

#[tokio::test]
async fn without_a_server_every_binary_exits_1_with_one_line() {
    // Bound and not listening: connections are refused, and no other test gets the port.
    let unused = tokio::net::TcpSocket::new_v4().unwrap();
    unused.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", unused.local_addr().unwrap());
    let calls = [
        (UNARY, "ListPostsByUserId", &["--user-id", "1"][..]),
        (SERVER_STREAMING, "ListPosts", &[]),
        (CLIENT_STREAMING, "UploadPosts", &[]),
        (BIDIRECTIONAL, "TagFeed", &["--tag", "go"]),
    ];
    for (binary, rpc, args) in calls {
        let args = [&["--json", "--endpoint", &endpoint], args].concat();
        let process = Process::start(binary, &args);
        let process = process.type_all(r#"{"user_id":"1","title":"t"}"#);
        let output = process.end().await;
        assert_eq!(code(&output), 1, "{binary}");
        assert_eq!(text(&output.stdout), "");
        let (errors, talk): (Vec<_>, Vec<_>) =
            text(&output.stderr).lines().partition(|line| line.starts_with("error: "));
        let expected = format!("error: {rpc} at {endpoint}: cannot connect: Connection refused");
        assert!(errors.len() == 1 && errors[0].starts_with(&expected), "{errors:?}");
        assert!(!talk.iter().any(|line| line.starts_with("0 posts")), "{talk:?}");
    }
}

#[tokio::test]
async fn unary_prints_posts_and_where_the_page_ends() {
    let mut server = Fake::start().await;
    for json in [true, false] {
        let url = server.url();
        let mut args = vec!["--user-id", "1", "--after", "log:3", "--endpoint", &url];
        args.extend(json.then_some("--json"));
        let process = Process::start(UNARY, &args);
        let call = server.accept_unary().await;
        assert_eq!(call.request.resume_after, Some(position(3)));
        call.answer.send(Ok(page(&[4], 9, false))).unwrap();
        let output = process.end().await;
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "1 post; go on with --after log:9\n");
        if json {
            let end = json!({
                "event": "bookmark", "position": json_position(9), "caught_up": true,
            });
            assert_eq!(json_lines(&output), [json_post(4), end]);
        } else {
            assert_eq!(
                text(&output.stdout),
                "→ call     ListPostsByUserId user 1 after 3\n\
                 ← post          4  Kim           post 4  #go\n\
                 ← page     1 post up to 9\n"
            );
        }
    }
}

#[tokio::test]
async fn repeated_calls_are_counted_per_server_and_failures_are_reported() {
    let mut server = Fake::start().await;
    let url = server.url();
    for json in [true, false] {
        let mut args = vec!["--user-id", "1", "--count", "3", "--explain", "--endpoint", &url];
        args.extend(json.then_some("--json"));
        let process = Process::start(UNARY, &args);
        for answer in
            [Ok(page(&[4], 9, false)), Err(Status::aborted("no")), Ok(page(&[], 9, false))]
        {
            server.accept_unary().await.answer.send(answer).unwrap();
        }
        let output = process.end().await;
        assert_eq!(code(&output), 1);
        let (out, talk) = (text(&output.stdout), text(&output.stderr));
        let address = server.address.to_string();
        if json {
            let expected = json!({"event": "served_by", "counts": {&address: 2}});
            assert_eq!(json_lines(&output), [expected]);
        } else {
            let expected = format!("← served        2  {address}  {}", "█".repeat(40));
            assert!(out.ends_with(&format!("{expected}\n")), "{out}");
        }
        assert!(talk.contains(&format!("{address}: READY\n")), "{talk}");
        assert!(talk.contains(&format!("attempt 1, {address}: ABORTED\n")), "{talk}");
        let end = "error: 1 of 3 calls failed, the first with: ABORTED: no\n";
        assert!(talk.contains(end), "{talk}"); // the channel may go IDLE after it
    }
}

#[tokio::test]
async fn a_service_config_in_a_file_is_applied_and_its_unknown_keys_are_reported() {
    let mut server = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let config = json!({"colour": "blue", "methodConfig": [{"name": [{}], "retryPolicy": {
        "maxAttempts": 2, "initialBackoff": "0.01s",
        "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["ABORTED"]}}]});
    std::fs::write(&file, config.to_string()).unwrap();
    let (url, file) = (server.url(), file.to_str().unwrap().to_owned());
    let args = ["--user-id", "1", "--endpoint", &url, "--service-config", &file];
    let process = Process::start(UNARY, &args);
    for answer in [Err(Status::aborted("no")), Ok(page(&[4], 9, false))] {
        server.accept_unary().await.answer.send(answer).unwrap();
    }
    let output = process.end().await;
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("the service config's colour is not known and is ignored")
    );
    let missing =
        Process::start(UNARY, &["--user-id", "1", "--service-config", "/nowhere"]).end().await;
    assert_eq!(code(&missing), 2);
    assert!(text(&missing.stderr).contains("cannot read the file"), "{}", text(&missing.stderr));
}

#[tokio::test]
async fn a_list_is_resumed_within_one_run_and_its_json_reports_it() {
    let mut server = Fake::start().await;
    let process = Process::start(SERVER_STREAMING, &["--json", "--endpoint", &server.url()]);
    let call = server.accept_list().await;
    call.send(&[1, 2], 2, false).await;
    call.fail(Status::unavailable("draining")).await;
    let call = server.accept_list().await;
    assert_eq!(call.request.resume_after, Some(position(2)));
    call.send(&[3], 5, true).await;
    drop(call);
    let output = process.end().await;
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let reconnected = json!({ "event": "reconnected", "position": json_position(2) });
    let complete = json!({ "event": "snapshot_complete", "position": json_position(5) });
    let expected = [json_post(1), json_post(2), reconnected, json_post(3), complete];
    assert_eq!(json_lines(&output), expected);
    let talk = text(&output.stderr);
    assert!(talk.starts_with("UNAVAILABLE: draining; trying again in "), "{talk}");
    assert!(talk.ends_with("3 posts; go on with --after log:5\n"), "{talk}");
}

#[tokio::test]
async fn a_limit_stops_in_the_middle_of_a_batch_and_names_the_last_post_as_the_position() {
    let mut server = Fake::start().await;
    let args = ["--follow", "--limit", "2", "--tag", "go", "--endpoint", &server.url()];
    let process = Process::start(SERVER_STREAMING, &args);
    let call = server.accept_list().await;
    call.send(&[1, 3, 4], 9, true).await;
    let output = process.end().await;
    assert_eq!(code(&output), 0);
    assert_eq!(
        text(&output.stdout),
        "→ call     ListPosts posts tagged #go, and new ones\n\
         ← post          1  Kim           post 1  #go\n\
         ← post          3  Kim           post 3  #go\n"
    );
    assert_eq!(text(&output.stderr), "2 posts; go on with --after log:3\n");
}

#[tokio::test]
async fn a_closed_pipe_and_an_interrupt_end_a_waiting_reader_with_exit_code_0() {
    let mut server = Fake::start().await;
    let url = server.url();
    for interrupt in [true, false] {
        let args = ["--json", "--follow", "--endpoint", &url];
        let mut process = Process::start(SERVER_STREAMING, &args);
        let stdout = process.stdout();
        let call = server.accept_list().await;
        call.send(&[1], 1, true).await;
        let (first, stdout) = line(stdout).await;
        assert!(first.contains("\"post\""), "{first}");
        if interrupt {
            process.interrupt();
        } else {
            drop(stdout);
        }
        let output = process.end().await;
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        // A program reads JSON, and `head` may have left some of it unread.
        let (start, next) = match interrupt {
            true => ("1 post; go on with --after", "\n"),
            false => (
                "the output was closed after 1 post; go on with --after",
                ", or with the number of the last post that you saw\n",
            ),
        };
        assert_eq!(text(&output.stderr), format!("{start} {LOG_ID}:1{next}"));
    }
}

#[tokio::test]
async fn one_hash_before_a_tag_is_left_out_and_said() {
    let mut server = Fake::start().await;
    let args = ["--tag", "#go", "--tag", "##x", "--tag", "y", "--endpoint", &server.url()];
    let process = Process::start(SERVER_STREAMING, &args);
    let call = server.accept_list().await;
    assert_eq!(call.request.tags, ["go", "#x", "y"]);
    drop(call);
    let stderr = process.end().await.stderr;
    assert!(text(&stderr).starts_with("#go is the tag go; the # is left out\n##x is the tag #x;"));

    let args = ["--tag", "#go", "--endpoint", &server.url()];
    let process = Process::start(BIDIRECTIONAL, &args).type_all("/join #x\n/leave #x\n/quit\n");
    let mut call = server.accept_feed().await;
    assert!(matches!(call.next().await, Request::Join(join) if join.tags == ["go"]));
    assert!(matches!(call.next().await, Request::Join(join) if join.tags == ["x"]));
    assert!(matches!(call.next().await, Request::Leave(leave) if leave.tags == ["x"]));
    drop(call);
    let stderr = process.end().await.stderr;
    assert_eq!(text(&stderr).matches("the # is left out").count(), 3, "{}", text(&stderr));
}

#[tokio::test]
async fn a_timeout_bounds_a_call_that_never_ends() {
    let mut server = Fake::start().await;
    let args = ["--follow", "--timeout", "300ms", "--endpoint", &server.url()];
    let process = Process::start(SERVER_STREAMING, &args);
    let call = server.accept_list().await;
    call.send(&[1], 1, true).await;
    let output = process.end().await;
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).ends_with("error: timed out after 300ms\n"));
}

const FILE: &str = "{\"post_id\":\"p1\",\"user_id\":\"1\",\"title\":\"안녕\",\"tags\":[\"go\"]}\n\
                    \n\
                    not json\n\
                    {\"post_id\":\"p2\",\"user_id\":\"9\",\"title\":\"hello\"}\n";

fn refusing_answer() -> UploadPostsResponse {
    let status = refusal(Code::NotFound, reason::USER_NOT_FOUND, "no user \"9\"");
    UploadPostsResponse {
        created_count: 1,
        duplicate_count: 1,
        reject_count: 1,
        rejects: vec![UploadReject { index: 1, post_id: "p2".into(), status }],
        position: Some(position(7)),
        complete: true,
    }
}

#[tokio::test]
async fn an_upload_reports_bad_lines_and_rejects_with_their_line_and_exits_1() {
    let mut server = Fake::start().await;
    for json in [true, false] {
        let url = server.url();
        let mut args = vec!["-", "--endpoint", &url];
        args.extend(json.then_some("--json"));
        let process = Process::start(CLIENT_STREAMING, &args).type_all(FILE);
        let mut call = server.accept_upload().await;
        assert_eq!(call.posts(2).await, ["p1", "p2"]);
        assert_eq!(call.finish().await, 2);
        call.answer.send(Ok(refusing_answer())).unwrap();
        let output = process.end().await;
        assert_eq!(code(&output), 1);
        assert_eq!(
            text(&output.stderr),
            "line 3: it must be a JSON object: {\"user_id\": \"1\", \"title\": \"Hello\"}\n\
             error: 1 bad line, 1 post refused\n"
        );
        if json {
            let reject = json!({
                "index": 1, "line": 4, "post_id": "p2", "code": "NOT_FOUND",
                "reason": "USER_NOT_FOUND", "message": "no user \"9\"",
            });
            let uploaded = json!({
                "event": "uploaded", "created_count": 1, "duplicate_count": 1, "reject_count": 1,
                "rejects": [reject], "position": json_position(7), "complete": true,
            });
            assert_eq!(json_lines(&output), [uploaded]);
        } else {
            assert_eq!(
                text(&output.stdout),
                "→ call     UploadPosts\n\
                 → post     안녕  #go\n\
                 → post     hello\n\
                 → finish   2 posts in all\n\
                 ← uploaded 1 created, 1 duplicate, 1 rejected, up to 7\n\
                 ← reject   line 4  p2  NOT_FOUND (USER_NOT_FOUND): no user \"9\"\n"
            );
        }
    }
}

#[tokio::test]
async fn an_upload_to_a_read_only_log_does_not_say_that_posts_may_be_stored() {
    let mut server = Fake::start().await;
    let args = ["--endpoint", &server.url()];
    let process =
        Process::start(CLIENT_STREAMING, &args).type_all("{\"user_id\":\"1\",\"title\":\"t\"}\n");
    let mut call = server.accept_upload().await;
    call.posts(1).await;
    let details = ErrorDetails::with_error_info(reason::LOG_READ_ONLY, reason::DOMAIN, []);
    let refusal = Status::with_error_details(Code::FailedPrecondition, "read-only", details);
    call.answer.send(Err(refusal)).unwrap();
    let output = process.end().await;
    assert_eq!(code(&output), 1);
    let talk = text(&output.stderr);
    assert!(talk.starts_with("error: ") && talk.contains("(LOG_READ_ONLY): read-only"), "{talk}");
}

/// As a proxy's limit on requests does, and a full disk.
#[tokio::test]
async fn an_upload_that_would_fail_again_gives_no_advice_to_repeat_it_at_once() {
    let mut server = Fake::start().await;
    let args = ["--endpoint", &server.url()];
    let process =
        Process::start(CLIENT_STREAMING, &args).type_all("{\"user_id\":\"1\",\"title\":\"t\"}\n");
    let mut call = server.accept_upload().await;
    call.posts(1).await;
    call.answer.send(Err(Status::unknown("HTTP status 413"))).unwrap();
    let output = process.end().await;
    assert_eq!(code(&output), 1);
    let talk = text(&output.stderr);
    assert!(talk.starts_with("some posts may be stored; once the cause is gone, "), "{talk}");
}

#[tokio::test]
async fn an_interrupted_upload_exits_1_and_says_that_repeating_it_is_safe() {
    let mut server = Fake::start().await;
    let args = ["--endpoint", &server.url()];
    let mut process =
        Process::start(CLIENT_STREAMING, &args).type_all("{\"user_id\":\"1\",\"title\":\"t\"}\n");
    let mut call = server.accept_upload().await;
    call.posts(1).await;
    process.interrupt();
    let output = process.end().await;
    assert_eq!(code(&output), 1);
    assert_eq!(
        text(&output.stderr),
        "some posts may be stored; run the same command again, it stores nothing twice\n\
         error: interrupted\n"
    );
}

#[tokio::test]
async fn an_upload_can_be_interrupted_while_it_waits_for_input() {
    let (input, typing) = std::io::pipe().unwrap();
    let io = Io::new(input, std::io::sink(), std::io::sink());
    let io = Io { interrupt: Box::pin(std::future::ready(())), ..io };
    let args = client_streaming::Args::parse_from(["client-streaming", "-"]);
    let ended = within(client_streaming::run(args, io)).await;
    assert!(matches!(ended, Err(Failure::Interrupted)), "{ended:?}");
    drop(typing);
}

/// All posts must be at hand before the first is sent, because a cut upload is sent again.
#[tokio::test]
async fn an_upload_from_a_pipe_without_an_end_says_that_it_waits() {
    let mut process = Process::start(CLIENT_STREAMING, &["--endpoint", "http://127.0.0.1:1"]);
    let stderr = BufReader::new(process.child().stderr.take().unwrap());
    let said = tokio::task::spawn_blocking(move || stderr.lines().next().unwrap().unwrap());
    let said = within(said).await.unwrap();
    assert_eq!(said, "still reading: the posts are sent once the input has ended");
}

#[tokio::test]
async fn an_upload_goes_on_after_its_output_is_closed() {
    let mut server = Fake::start().await;
    let mut process = Process::start(CLIENT_STREAMING, &["--endpoint", &server.url()]);
    drop(process.stdout());
    let process = process.type_all("{\"user_id\":\"1\",\"title\":\"t\"}\n");
    let mut call = server.accept_upload().await;
    call.posts(1).await;
    assert_eq!(call.finish().await, 1);
    let answer = UploadPostsResponse { created_count: 1, complete: true, ..Default::default() };
    call.answer.send(Ok(answer)).unwrap();
    assert_eq!(code(&process.end().await), 0);
}

#[tokio::test]
async fn a_typed_line_is_a_post_with_the_joined_tags_and_is_shown_once_with_its_receipt() {
    let mut server = Fake::start().await;
    let args = ["--tag", "go", "--user-id", "7", "--endpoint", &server.url()];
    let process = Process::start(BIDIRECTIONAL, &args)
        .type_all("hello\n/join C++ 한글\n/nonsense\n\nbye\n/leave go\n/quit\nnever\n");
    let mut call = server.accept_feed().await;
    assert!(matches!(call.next().await, Request::Join(join) if join.tags == ["go"]));
    let Request::Publish(hello) = call.next().await else { panic!("no publish") };
    assert!(matches!(call.next().await, Request::Join(join) if join.tags == ["C++ 한글"]));
    let Request::Publish(bye) = call.next().await else { panic!("no publish") };
    assert!(matches!(call.next().await, Request::Leave(leave) if leave.tags == ["go"]));
    assert!(call.is_half_closed().await);

    let (hello, bye) = (hello.post_message.unwrap(), bye.post_message.unwrap());
    assert_eq!((hello.title.as_str(), hello.user_id.as_str()), ("hello", "7"));
    assert_eq!(hello.tags, ["go"]);
    assert_eq!(bye.tags, ["C++ 한글", "go"]);
    assert_ne!(hello.post_id, bye.post_id);

    let tags = vec!["go".to_owned()];
    let joined = Joined { tags, all_tags: false, position: Some(position(4)) };
    call.send(Response::Joined(joined)).await;
    let receipt = Receipt { post_id: hello.post_id.clone(), sequence: 5, ..Default::default() };
    call.send(Response::Receipt(receipt)).await;
    call.send_own_post(hello, 5).await;
    call.send_posts(&[6], 6).await;
    let tags = vec!["C++ 한글".to_owned(), "go".to_owned()];
    let joined = Joined { tags, all_tags: false, position: Some(position(6)) };
    call.send(Response::Joined(joined)).await;
    let status = refusal(Code::NotFound, reason::USER_NOT_FOUND, "no user \"7\"");
    let receipt = Receipt { post_id: bye.post_id, status, ..Default::default() };
    call.send(Response::Receipt(receipt)).await;
    let tags = vec!["C++ 한글".to_owned()];
    let left = quartet::post::v1::Left { tags, all_tags: false, position: Some(position(6)) };
    call.send(Response::Left(left)).await;
    let bookmark = Bookmark { position: Some(position(6)), caught_up: true };
    call.send(Response::Bookmark(bookmark)).await;
    drop(call);

    let output = process.end().await;
    assert_eq!(code(&output), 1, "a post was refused");
    let mut lines: Vec<_> = text(&output.stdout).lines().collect();
    let sent: Vec<_> = lines.extract_if(.., |line| line.starts_with('→')).collect();
    assert_eq!(
        sent,
        [
            "→ call     TagFeed",
            "→ join     #go",
            "→ publish  hello  #go",
            "→ join     #C++ 한글",
            "→ publish  bye  #C++ 한글 #go",
            "→ leave    #go",
        ]
    );
    assert_eq!(
        lines,
        [
            "← joined   #go after 4",
            "← receipt       5  hello",
            "← post          6  Kim           post 6  #go",
            "← joined   #C++ 한글 #go after 6",
            "← receipt  refused  bye: NOT_FOUND (USER_NOT_FOUND): no user \"7\"",
            "← left     #C++ 한글 after 6",
            "← bookmark caught up at 6",
        ]
    );
    assert_eq!(
        text(&output.stderr),
        "no such command; try /help\n1 post; go on with --after log:6\nerror: 1 post refused\n"
    );
}

/// A terminal with a program in it.
struct Terminal {
    /// What is typed goes in here, and what is seen comes out.
    window: File,
    process: Process,
    written: Vec<u8>,
}

impl Terminal {
    fn start(binary: &str, args: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let window = openpt(flags).unwrap();
        grantpt(&window).unwrap();
        unlockpt(&window).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let name = ptsname(&window, Vec::new()).unwrap();
        let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let mut command = Command::new(binary);
        command.args(args).env_remove("RUST_LOG").env("TERM", "xterm");
        command.stdout(terminal.try_clone().unwrap()).stderr(terminal.try_clone().unwrap());
        let child = command.stdin(terminal).spawn().unwrap();
        Self { window: window.into(), process: Process(Some(child)), written: Vec::new() }
    }

    /// Reads until `wanted` is written.
    async fn shows(mut self, wanted: &'static str) -> Self {
        let reading = tokio::task::spawn_blocking(move || {
            while !String::from_utf8_lossy(&self.written).contains(wanted) {
                // A read could not be given up.
                let mut readable = [PollFd::new(&self.window, PollFlags::IN)];
                let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
                assert_eq!(poll(&mut readable, Some(&patience)), Ok(1), "no {wanted:?}");
                let mut bytes = [0; 4096];
                let count = self.window.read(&mut bytes).unwrap();
                self.written.extend_from_slice(&bytes[..count]);
            }
            self
        });
        within(reading).await.unwrap()
    }

    /// The lines that a person sees, in which erased text is gone.
    fn seen(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.written).replace("\r\n", "\n");
        let erase = ["\r\x1b[K", "\r\x1b[2K"];
        let after_erased = |line: &str| {
            erase.iter().fold(line, |line, erase| line.rsplit(erase).next().unwrap()).to_owned()
        };
        text.lines().map(after_erased).collect()
    }
}

#[tokio::test]
async fn in_a_terminal_a_post_that_comes_in_does_not_split_the_line_being_typed() {
    let mut server = Fake::start().await;
    let args = ["--tag", "go", "--endpoint", &server.url()];
    let mut terminal = Terminal::start(BIDIRECTIONAL, &args);
    let mut call = server.accept_feed().await;
    assert!(matches!(call.next().await, Request::Join(_)));
    let tags = vec!["go".to_owned()];
    let joined = Joined { tags, all_tags: false, position: Some(position(4)) };
    call.send(Response::Joined(joined)).await;
    terminal = terminal.shows("joined").await;
    terminal.window.write_all(b"hel").unwrap();
    terminal = terminal.shows("hel").await;
    call.send_posts(&[5], 5).await;
    terminal = terminal.shows("post").await;
    terminal.window.write_all(b"lo\n").unwrap();
    let Request::Publish(hello) = call.next().await else { panic!("no publish") };
    let hello = hello.post_message.unwrap();
    assert_eq!(hello.title, "hello");
    terminal = terminal.shows("hello").await;
    let seen = terminal.seen();
    assert!(seen.iter().any(|line| line == "hello"), "{seen:?}");
    let post = seen.iter().find(|line| line.contains("post")).unwrap();
    assert!(post.ends_with("post 5  #go"), "{seen:?}");

    terminal.window.write_all(b"\x04").unwrap();
    assert!(call.is_half_closed().await);
    let modes = rustix::termios::tcgetattr(&terminal.window).unwrap();
    assert!(!modes.local_modes.contains(LocalModes::ECHO), "the line is drawn instead");
    let receipt = Receipt { post_id: hello.post_id, sequence: 6, ..Default::default() };
    call.send(Response::Receipt(receipt)).await;
    call.send(Response::Bookmark(Bookmark { position: Some(position(6)), caught_up: true })).await;
    drop(call);
    assert_eq!(code(&terminal.process.end().await), 0);
    let modes = rustix::termios::tcgetattr(&terminal.window).unwrap();
    assert!(modes.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON), "as before");
}

#[tokio::test]
async fn in_a_terminal_the_progress_of_an_upload_leaves_nothing_behind_and_its_rate_is_rounded() {
    let mut server = Fake::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let line = |n| format!("{{\"post_id\":\"p{n}\",\"user_id\":\"1\",\"title\":\"t\"}}\n");
    std::fs::write(file.path(), (0..500).map(line).collect::<String>()).unwrap();
    for is_stored in [true, false] {
        let args = [file.path().to_str().unwrap(), "--endpoint", &server.url()];
        let mut terminal = Terminal::start(CLIENT_STREAMING, &args);
        let mut call = server.accept_upload().await;
        call.posts(500).await;
        assert_eq!(call.finish().await, 500);
        terminal = terminal.shows("posts/s").await;
        let answer =
            UploadPostsResponse { created_count: 500, complete: true, ..Default::default() };
        let refusal = Status::invalid_argument("no");
        call.answer.send(if is_stored { Ok(answer) } else { Err(refusal) }).unwrap();
        terminal = terminal.shows(if is_stored { "uploaded" } else { "error: " }).await;
        let seen = terminal.seen();
        assert!(!seen.iter().any(|line| line.contains("posts/s")), "{seen:?}");
        let written = String::from_utf8_lossy(&terminal.written);
        let rates: Vec<_> = written.split(" posts/s").collect();
        for rate in &rates[..rates.len() - 1] {
            let rate = rate.rsplit(' ').next().unwrap();
            assert!(rate.chars().all(|c| c.is_ascii_digit() || c == ','), "{rate}");
        }
    }
}

#[tokio::test]
async fn a_feed_without_tags_says_so_and_applies_its_start_to_the_first_join() {
    let mut server = Fake::start().await;
    let args = ["--from-oldest", "--endpoint", &server.url()];
    let process = Process::start(BIDIRECTIONAL, &args).type_all("/join go\n");
    let mut call = server.accept_feed().await;
    assert!(matches!(call.next().await, Request::Join(join) if join.from_oldest));
    call.fail(Status::invalid_argument("enough")).await;
    let output = process.end().await;
    let talk = text(&output.stderr);
    assert!(talk.starts_with("nothing is joined yet; type /join T to follow a tag\n"), "{talk}");
}

#[tokio::test]
async fn a_feed_that_is_interrupted_while_it_waits_for_a_line_exits_0() {
    let mut server = Fake::start().await;
    let args = ["--all-tags", "--json", "--endpoint", &server.url()];
    let mut process = Process::start(BIDIRECTIONAL, &args);
    let stdout = process.stdout();
    let mut call = server.accept_feed().await;
    assert!(matches!(call.next().await, Request::Join(join) if join.all_tags));
    let joined = Joined { tags: vec![], all_tags: true, position: Some(position(0)) };
    call.send(Response::Joined(joined)).await;
    let (first, _stdout) = line(stdout).await;
    let expected = json!({
        "event": "joined", "tags": [], "all_tags": true, "position": json_position(0),
    });
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap(), expected);
    process.interrupt();
    assert_eq!(code(&process.end().await), 0);
}

#[tokio::test]
async fn an_endpoint_with_a_password_is_refused_and_the_password_not_printed() {
    for binary in ALL {
        for endpoint in ["http://kim:c2VjcmV0@127.0.0.1:1", "dns:///kim:c2VjcmV0@localhost:1"] {
            let mut command = Command::new(binary);
            command.args(["--endpoint", endpoint]).stdin(Stdio::null());
            let refused = command.output().unwrap();
            let stderr = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{binary}: {stderr}");
            assert!(stderr.contains("a user or a password"), "{binary}: {stderr}");
            assert!(!stderr.contains("c2VjcmV0") && !stderr.contains("kim"), "{binary}: {stderr}");
        }
    }
}

#[tokio::test]
async fn a_token_is_never_printed_and_goes_over_plaintext_only_with_insecure_token() {
    const SECRET: &str = "eyJzdWIiOiIxIn0";
    let server = Fake::start().await;
    for binary in ALL {
        let call = |more: &[&str]| {
            let mut command = Command::new(binary);
            command.args(["--endpoint", &server.url(), "--token", SECRET]).args(more);
            if binary == UNARY {
                command.args(["--user-id", "1"]);
            }
            command.env("RUST_LOG", "trace").stdin(Stdio::null());
            command
        };
        let refused = call(&[]).output().unwrap();
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{binary}: {stderr}");
        assert!(stderr.contains("a token is not sent over plaintext"), "{binary}: {stderr}");
        let sent = within(tokio::task::spawn_blocking({
            let mut command = call(&["--insecure-token", "--timeout", "500ms"]);
            move || command.output().unwrap()
        }));
        let sent = sent.await.unwrap();
        for text in [&sent.stdout, &sent.stderr, &refused.stderr] {
            assert!(!String::from_utf8_lossy(text).contains(SECRET), "{binary}");
        }
        let stderr = String::from_utf8_lossy(&sent.stderr);
        assert!(stderr.contains("TRACE"), "{binary} logs at level TRACE");
    }
}
