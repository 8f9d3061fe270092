//! What a proxy makes of a stream whose server it has lost: an end without a status, its own page
//! within the response or in place of it, a reset. Lists, uploads and feeds resume.

use std::{io, net::SocketAddr, pin::pin};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};
use prost::Message;
use quartet::post::v1::{
    Bookmark, Joined, ListPostsRequest, ListPostsResponse, LogPosition, TagFeedResponse,
    UploadPostsResponse, tag_feed_response::Payload,
};
use quartet_client::{
    Channel, Error, FeedRequest, FeedStart, ListEvent, PostSource, ServiceConfig, UploadEvent,
    list_posts, tag_feed, upload_posts,
};
use quartet_wire::framing::prefix;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tonic::Code;

use crate::fake::{position, post, within};

/// How a server, or a proxy in its place, ends its response.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Trailers with OK.
    Ok,
    /// An empty DATA frame with END_STREAM, as HAProxy 2.6 sends it.
    NoTrailers,
    /// The beginning of a message, then END_STREAM.
    WithinMessage,
    /// A page as the last DATA, as Apache sends it.
    HtmlInData,
    /// RST_STREAM.
    Reset(Reason),
    /// No gRPC at all: an HTTP status, a content type, and a body.
    Page(u16, &'static str, &'static str),
}

/// Every way to lose a response that has begun.
const CUTS: [End; 6] = [
    End::NoTrailers,
    End::WithinMessage,
    End::HtmlInData,
    End::Reset(Reason::INTERNAL_ERROR),
    End::Reset(Reason::CANCEL),
    End::Reset(Reason::NO_ERROR),
];

/// A response: messages, and their end.
type Turn = (Vec<Bytes>, End);

fn message(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let prefix = prefix(message.len().try_into().unwrap());
    [&prefix[..], &message].concat().into()
}

/// Answers one request after another as `turns` say, each once its request is complete. Returns the
/// address, and a receiver that counts the requests.
async fn serve(turns: Vec<Turn>) -> (SocketAddr, mpsc::Receiver<()>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, mut tasks) = (listener.local_addr().unwrap(), JoinSet::new());
    let (seen, requests) = mpsc::channel(100);
    tasks.spawn(async move {
        let mut turns = turns.into_iter();
        loop {
            let (io, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(io).await.unwrap();
            let mut answers = JoinSet::new();
            while let Some(Ok((request, respond))) = connection.accept().await {
                seen.send(()).await.unwrap();
                let turn = turns.next().expect("no request follows the last turn");
                answers.spawn(answer(request.into_body(), respond, turn));
            }
        }
    });
    (address, requests, tasks)
}

/// `None`: the client has gone.
async fn answer(
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    (messages, end): Turn,
) -> Option<()> {
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).ok()?;
    }
    let head = Response::builder();
    if let End::Page(status, content_type, page) = end {
        let head = head.status(status).header("content-type", content_type).body(()).unwrap();
        let mut stream = respond.send_response(head, page.is_empty()).ok()?;
        return (!page.is_empty()).then(|| stream.send_data(page.into(), true).ok())?;
    }
    let head = head.header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).ok()?;
    for message in messages {
        stream.send_data(message, false).ok()?;
    }
    match end {
        End::Ok => {
            let status = ("grpc-status".parse().unwrap(), HeaderValue::from_static("0"));
            stream.send_trailers(HeaderMap::from_iter([status])).ok()
        }
        End::NoTrailers => stream.send_data(Bytes::new(), true).ok(),
        End::WithinMessage => stream.send_data(Bytes::from_static(b"\0\0\0\0\x09half"), true).ok(),
        End::HtmlInData => stream.send_data(Bytes::from_static(b"<html>503</html>"), true).ok(),
        End::Reset(reason) => {
            // h2 drops what is queued on a stream that is reset: it must leave first.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            stream.send_reset(reason);
            Some(())
        }
        End::Page(..) => unreachable!("answered above"),
    }
}

/// The kinds that resume.
#[derive(Debug, Clone, Copy)]
enum Kind {
    List,
    Upload,
    Feed,
}

const KINDS: [Kind; 3] = [Kind::List, Kind::Upload, Kind::Feed];

impl Kind {
    /// A response that is cut once there was progress.
    fn progress(self) -> Vec<Bytes> {
        match self {
            Self::List => vec![list_batch(4, false)],
            // An upload has made progress once its posts were sent.
            Self::Upload => vec![],
            Self::Feed => vec![joined(4)],
        }
    }

    /// A whole response.
    fn whole(self) -> Turn {
        let messages = match self {
            Self::List => vec![list_batch(5, true)],
            Self::Upload => {
                let complete = UploadPostsResponse { complete: true, ..Default::default() };
                vec![message(&complete)]
            }
            Self::Feed => vec![joined(4), caught_up(5)],
        };
        (messages, End::Ok)
    }

    /// Makes the call to its end. Returns the number of cuts.
    async fn run(self, channel: Channel) -> Result<usize, Error> {
        match self {
            Self::List => {
                let events = list_posts(channel, ListPostsRequest::default());
                count(events, |event| matches!(event, ListEvent::Disconnected(_))).await
            }
            Self::Upload => {
                let posts =
                    || -> PostSource { Box::pin(stream::iter([Ok::<_, io::Error>(post(1))])) };
                let events = upload_posts(channel, posts);
                count(events, |event| matches!(event, UploadEvent::Disconnected(_))).await
            }
            Self::Feed => {
                let join = FeedRequest::Join { tags: vec!["go".into()], all_tags: false };
                let events = tag_feed(channel, FeedStart::Now, stream::iter([join]));
                count(events, |event| matches!(event, quartet_client::FeedEvent::Disconnected(_)))
                    .await
            }
        }
    }
}

async fn count<E>(
    events: impl Stream<Item = Result<E, Error>>,
    is_cut: impl Fn(&E) -> bool,
) -> Result<usize, Error> {
    pin!(events).try_fold(0, async |cuts, event| Ok(cuts + usize::from(is_cut(&event)))).await
}

fn list_batch(at: i64, snapshot_complete: bool) -> Bytes {
    let position = Some(position(at));
    message(&ListPostsResponse { position, snapshot_complete, ..Default::default() })
}

fn feed_message(payload: Payload) -> Bytes {
    message(&TagFeedResponse { payload: Some(payload) })
}

fn joined(at: i64) -> Bytes {
    let position: Option<LogPosition> = Some(position(at));
    feed_message(Payload::Joined(Joined {
        tags: vec!["go".into()],
        position,
        ..Default::default()
    }))
}

fn caught_up(at: i64) -> Bytes {
    feed_message(Payload::Bookmark(Bookmark { position: Some(position(at)), caught_up: true }))
}

/// Makes a call whose requests get these responses. Returns the number of requests as well.
async fn call(kind: Kind, turns: Vec<Turn>, config: &str) -> (Result<usize, Error>, usize) {
    let (address, mut requests, _tasks) = serve(turns).await;
    let target = format!("http://{address}").parse().unwrap();
    let config: ServiceConfig = config.parse().unwrap();
    let channel = Channel::builder(target).service_config(config).build();
    let result = within(kind.run(channel)).await;
    let mut count = 0;
    while requests.try_recv().is_ok() {
        count += 1;
    }
    (result, count)
}

#[tokio::test]
async fn in_every_kind_that_resumes_a_response_without_the_servers_status_is_a_cut() {
    for kind in KINDS {
        for cut in CUTS {
            let turns = vec![(kind.progress(), cut), kind.whole()];
            let (result, requests) = call(kind, turns, "{}").await;
            assert_eq!((result.unwrap(), requests), (1, 2), "{kind:?}, {cut:?}");
        }
    }
}

/// The table of http-grpc-status-mapping: these four are UNAVAILABLE, which is worth another
/// attempt once there was progress, as after a restart of the server behind its proxy.
#[tokio::test]
async fn after_progress_a_proxys_page_that_means_unavailable_is_waited_out_in_every_kind() {
    for kind in KINDS {
        for status in [429, 502, 503, 504] {
            for page in [
                End::Page(status, "text/html", "<html>"),
                End::Page(status, "text/plain", ""),
                End::Page(status, "application/grpc", ""),
            ] {
                let turns = vec![(kind.progress(), End::NoTrailers), (vec![], page), kind.whole()];
                let (result, requests) = call(kind, turns, "{}").await;
                assert_eq!((result.unwrap(), requests), (2, 3), "{kind:?}, {page:?}");
            }
        }
    }
}

#[tokio::test]
async fn after_progress_a_page_that_means_anything_else_is_final_in_every_kind() {
    for kind in KINDS {
        for (status, code) in [
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (413, Code::Unknown),
        ] {
            let page = End::Page(status, "text/html", "<html>");
            let turns = vec![(kind.progress(), End::NoTrailers), (vec![], page)];
            let (result, requests) = call(kind, turns, "{}").await;
            let Err(Error::Call(error)) = result else { panic!("{kind:?}, {page:?}: {result:?}") };
            assert_eq!((error.status().code(), requests), (code, 2), "{kind:?}, {page:?}");
        }
    }
}

/// Without progress and without a policy, the caller learns at once that no server is there.
#[tokio::test]
async fn a_page_at_the_first_attempt_ends_the_call_unless_a_policy_retries_it() {
    const POLICY: &str = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s",
        "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
    // An upload that was sent has made progress, so it is repeated anyway.
    for kind in [Kind::List, Kind::Feed] {
        let page = (vec![], End::Page(503, "text/html", "<html>"));
        let (result, requests) = call(kind, vec![page.clone()], "{}").await;
        assert!(matches!(result, Err(Error::Call(_))), "{kind:?}: {result:?}");
        assert_eq!(requests, 1, "{kind:?}");
        let (result, requests) = call(kind, vec![page, kind.whole()], POLICY).await;
        assert_eq!((result.unwrap(), requests), (0, 2), "{kind:?}: retried unseen");
    }
}
