//! Lists: one at a time with every post checked, or many at once.

use std::pin::pin;

use futures::StreamExt as _;
use prost::Message as _;
use quartet::encoded::PostRef;
use quartet_client::{ListEvent, borrowed::BorrowedBatch, read_posts};

use tokio::{io::AsyncReadExt as _, net::TcpStream, task::JoinSet};

use super::{
    connection::Connection,
    options::Options,
    streams::{Event, Streams},
};
use crate::{
    error::Result,
    posts,
    proto::{ListPostsRequest, PostMessage, post_service_client::PostServiceClient},
    usage::{Figures, Meter},
    wire::{MessageSplitter, each, same_content},
};

/// One post in this many is compared byte for byte; a prime, so that its place in a batch varies.
const SAMPLED: u64 = 997;
const READ: usize = 256 * 1024;

/// Lists one after the other on one connection.
pub(super) async fn list(options: &Options) -> Result<Figures> {
    let connection = Connection::open(&options.address, options.ca.as_deref()).await?;
    // One list before the measurement, so that a new server has fetched the names.
    checked(&connection, options.posts).await?;
    let meter = Meter::start(options.pid)?;
    for _ in 0..options.lists {
        checked(&connection, options.posts).await?;
    }
    meter.stop(options.lists * options.posts)
}

async fn checked(connection: &Connection, posts: u64) -> Result<()> {
    let mut check = Check::default();
    let mut messages = connection.ask("ListPosts", &ListPostsRequest::default()).await?;
    messages.read_all(|message| each(message, 1, |post| check.post(post))).await?;
    check.done(posts)
}

/// The same with the client of a tutorial.
pub(super) async fn tonic_list(options: &Options) -> Result<Figures> {
    let mut client = PostServiceClient::connect(format!("http://{}", options.address)).await?;
    let meter = Meter::start(options.pid)?;
    for _ in 0..options.lists {
        let mut received = 0;
        let mut responses = client.list_posts(ListPostsRequest::default()).await?.into_inner();
        while let Some(response) = responses.message().await? {
            for post in response.post_messages {
                received += 1;
                expect("a sequence", post.sequence as u64, received)?;
                if received.is_multiple_of(SAMPLED) {
                    same(&PostRef::decode(&post.encode_to_vec())?)?;
                }
            }
        }
        expect("a count of posts", received, options.posts)?;
    }
    meter.stop(options.lists * options.posts)
}

/// The same with this suite's client, which reads posts in place, checks their order and can
/// resume.
pub(super) async fn client_list(options: &Options) -> Result<Figures> {
    let channel = quartet_client::connect(&format!("http://{}", options.address))?;
    let meter = Meter::start(options.pid)?;
    for _ in 0..options.lists {
        let mut check = Check::default();
        let request = quartet::post::v1::ListPostsRequest::default();
        let mut events = pin!(read_posts::<BorrowedBatch>(channel.clone(), request));
        while let Some(event) = events.next().await {
            let ListEvent::Batch(batch) = event? else { return Err("the list was cut".into()) };
            batch.posts().try_for_each(|post| check.read(&post?))?;
        }
        check.done(options.posts)?;
    }
    meter.stop(options.lists * options.posts)
}

/// The same from a bare TCP connection for each list.
pub(super) async fn raw_list(options: &Options) -> Result<Figures> {
    let meter = Meter::start(options.pid)?;
    let mut buf = vec![0; READ];
    for _ in 0..options.lists {
        let mut stream = TcpStream::connect(&options.address).await?;
        let (mut check, mut frames) = (Check::default(), MessageSplitter::default());
        loop {
            let len = stream.read(&mut buf).await?;
            if len == 0 {
                break;
            }
            frames.push(&buf[..len], |post| check.post(post))?;
        }
        check.done(options.posts)?;
    }
    meter.stop(options.lists * options.posts)
}

/// Parallel lists. Their posts are only counted: on a machine with two cores, a load that decodes
/// for 64 readers would measure itself.
pub(super) async fn readers(options: &Options) -> Result<Figures> {
    let lists = options.lists / options.readers;
    let meter = Meter::start(options.pid)?;
    let mut connections = JoinSet::new();
    for connection in 0..options.connections {
        let readers = (connection..options.readers).step_by(options.connections as usize).count();
        let streams = Streams::open(&options.address).await?;
        connections.spawn(read(streams, readers as u64, lists, options.posts));
    }
    while let Some(connection) = connections.join_next().await {
        connection??;
    }
    meter.stop(options.readers * lists * options.posts)
}

/// Reads for some readers on a connection, each with one list after the other.
async fn read(mut streams: Streams, readers: u64, lists: u64, posts: u64) -> Result<()> {
    let mut received = Vec::new();
    let (mut asked, mut ended) = (0, 0);
    while ended < readers * lists {
        // A reader that has a list requests the next one.
        while asked < readers * lists && asked < readers + ended {
            streams.ask("ListPosts", &ListPostsRequest::default(), false);
            received.push(0);
            asked += 1;
        }
        let each = |list: usize, event: Event<'_>| match event {
            Event::Message(message) => each(message, 1, |_| {
                received[list] += 1;
                Ok(())
            }),
            Event::Ended => {
                ended += 1;
                expect("a count of posts", received[list], posts)
            }
        };
        streams.read(each).await?;
    }
    Ok(())
}

/// Checks a list: dense sequences, authors, and the uploaded posts.
#[derive(Default)]
struct Check {
    received: u64,
}

impl Check {
    #[inline]
    fn post(&mut self, message: &[u8]) -> Result<()> {
        self.read(&PostRef::decode(message)?)
    }

    #[inline]
    fn read(&mut self, post: &PostRef<'_>) -> Result<()> {
        self.received += 1;
        if post.sequence as u64 != self.received
            || post.author.is_empty()
            || post.create_time.is_none()
        {
            return Err(format!("post {} is {post:?}", self.received).into());
        }
        if self.received.is_multiple_of(SAMPLED) { same(post) } else { Ok(()) }
    }

    fn done(&self, count: u64) -> Result<()> {
        expect("a count of posts", self.received, count)
    }
}

/// Compares a post with the one that was uploaded at its sequence, including its author.
pub(super) fn same(post: &PostRef<'_>) -> Result<()> {
    let mut expected = PostMessage::default();
    posts::fill(post.sequence as u64 - 1, &mut expected);
    if same_content(post, &expected) && post.author == posts::author(post.user_id) {
        return Ok(());
    }
    Err(format!("{post:?} should be {expected:?}").into())
}

/// Returns an error if two numbers differ.
pub(super) fn expect(what: &str, found: u64, expected: u64) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} is {found} and should be {expected}").into())
}
