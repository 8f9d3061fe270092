//! The real server, in this process, and clients whose connections a check can read and break.
//!
//! Everything runs on one thread with paused time: a second passes only once nothing else can
//! happen. So a check takes milliseconds and gives the same verdict each time.

use std::{future::Future, time::Duration};

use quartet::{
    post::v1::{
        ListPostsRequest, PostMessage, UploadFinish, UploadPostsRequest,
        post_service_client::PostServiceClient, upload_posts_request::Payload,
    },
    user::v1::user_service_client::UserServiceClient,
};
use quartet_channel::{Address, BoxedIo, Builder, Channel, Credentials};
use quartet_connection::listener::memory::{self, Connector};
use quartet_server::{auth::AuthSettings, server::Server, settings::Settings};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{verdict::Verdict, wire::Wire};

/// A client of the Post service, as the generator makes it.
pub type Client = PostServiceClient<Channel>;

/// Longer than any correct program needs, in paused time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// When a check gives up, in paused time.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Runs a check on one thread with paused time.
///
/// # Panics
/// The operating system gives no event queue.
pub fn run(check: impl Future<Output = Verdict>) -> Verdict {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    runtime.expect("an event queue").block_on(async {
        let stuck = |_| Err("The program waits for something that never happens.".to_owned());
        tokio::time::timeout(LIMIT, check).await.unwrap_or_else(stuck)
    })
}

/// A server with an empty log, and the connection to it.
#[derive(Debug)]
pub struct Stage {
    connector: Connector,
    wire: Wire,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// What the check itself shows to a server that requires tokens.
    credentials: Option<Credentials>,
}

impl Stage {
    /// Starts a server. It ends with the runtime of the check.
    ///
    /// # Errors
    /// The server does not start.
    pub async fn open() -> Result<Self, String> {
        Self::open_with(AuthSettings::default(), None).await
    }

    /// The same, with authentication. The check itself has these credentials.
    ///
    /// # Errors
    /// The server does not start.
    pub async fn open_with(
        auth: AuthSettings,
        credentials: Option<Credentials>,
    ) -> Result<Self, String> {
        let (connector, listener) = memory::listen();
        let settings = Settings { auth, ..Settings::default() };
        let server = Server::open(settings).await.map_err(|error| error.to_string())?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(server.serve(listener, stop.clone().cancelled_owned()));
        Ok(Self { connector, wire: Wire::default(), tasks, stop, credentials })
    }

    /// Begins to stop the server, as a signal would: streams end with UNAVAILABLE.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// The connections of [`client`](Self::client): what passed, and faults.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// A client for the program under test.
    pub fn client(&self) -> Client {
        self.client_with(|builder| builder)
    }

    /// The same, with settings of its channel.
    pub fn client_with(&self, tune: impl FnOnce(Builder) -> Builder) -> Client {
        PostServiceClient::new(self.channel_with(tune))
    }

    /// A client of the User service for the program under test.
    pub fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel_with(|builder| builder))
    }

    /// A channel for any service, for the program under test.
    pub fn channel_with(&self, tune: impl FnOnce(Builder) -> Builder) -> Channel {
        let (connector, wire, tasks) =
            (self.connector.clone(), self.wire.clone(), self.tasks.clone());
        let dial = move |_: Address| {
            let (connector, wire, tasks) = (connector.clone(), wire.clone(), tasks.clone());
            async move {
                let (client, near) = tokio::io::duplex(64 * 1024);
                tasks.spawn(wire.carry(near, connector.connect().await?));
                Ok(Box::new(client) as BoxedIo)
            }
        };
        tune(in_memory().dialer(dial)).build()
    }

    /// A client of the check itself: no fault touches it.
    pub fn checker(&self) -> Client {
        let connector = self.connector.clone();
        let dial = move |_: Address| {
            let connector = connector.clone();
            async move { Ok(Box::new(connector.connect().await?) as BoxedIo) }
        };
        let channel = in_memory().dialer(dial).build();
        let credentials = self.credentials.clone().map(Credentials::over_plaintext);
        PostServiceClient::new(match credentials {
            Some(credentials) => channel.with_credentials(credentials).expect("over plaintext"),
            None => channel,
        })
    }

    /// Stores posts.
    ///
    /// # Errors
    /// The server does not store all of them.
    pub async fn write(&self, posts: Vec<PostMessage>) -> Verdict {
        let count = posts.len() as i64;
        let posts = posts.into_iter().map(Payload::PostMessage);
        let finish = Payload::Finish(UploadFinish { post_count: count });
        let messages =
            posts.chain([finish]).map(|payload| UploadPostsRequest { payload: Some(payload) });
        let messages: Vec<_> = messages.collect();
        let answer = self.checker().upload_posts(tokio_stream::iter(messages)).await;
        let stored = answer.map_err(|status| status.to_string())?.into_inner().created_count;
        if stored == count { Ok(()) } else { Err(format!("stored {stored} of {count} posts")) }
    }

    /// Stores posts one by one, each after a pause.
    ///
    /// # Errors
    /// The server does not store one of them.
    pub async fn write_slowly(&self, posts: Vec<PostMessage>, pause: Duration) -> Verdict {
        for post in posts {
            tokio::time::sleep(pause).await;
            self.write(vec![post]).await?;
        }
        Ok(())
    }

    /// The whole log.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn log(&self) -> Result<Vec<PostMessage>, String> {
        let failed = |status: tonic::Status| status.to_string();
        let list = self.checker().list_posts(ListPostsRequest::default()).await;
        let (mut batches, mut log) = (list.map_err(failed)?.into_inner(), Vec::new());
        while let Some(batch) = batches.message().await.map_err(failed)? {
            log.extend(batch.post_messages);
        }
        Ok(log)
    }

    /// Waits until nothing happens any more.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn in_memory() -> Builder {
    Channel::builder("passthrough:///in.memory".parse().expect("a target"))
}

/// `count` posts of sample user 1, `post-1` and so on, each with a body of so many bytes.
pub fn posts(count: usize, bytes: usize) -> Vec<PostMessage> {
    let post = |number| PostMessage {
        post_id: format!("post-{number}"),
        title: format!("Post {number}"),
        body: "x".repeat(bytes),
        user_id: "1".to_owned(),
        ..PostMessage::default()
    };
    (1..=count).map(post).collect()
}
