//! Puts the parts of a server together, and takes them apart again.

use std::{sync::Arc, time::SystemTime};

use hyper_util::rt::TokioIo;
use quartet::{
    blog::{post_server::PostServer, user_server::UserServer},
    limits::REQUEST_BYTES,
    post::v1::post_service_server::PostServiceServer,
    user::v1::user_service_server::UserServiceServer,
};
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use crate::{
    authors::Authors,
    config::{Config, Role},
    connection::{self, HttpService, Listener},
    deadline,
    dispatcher::Dispatcher,
    log::{
        LogError, PostLog,
        disk::Access,
        embedded::{EmbeddedLog, OpenError, Options},
        memory::MemoryLog,
    },
    recover, seed,
    service::Posts,
    users::{Users, UsersError},
};

/// Bytes that the pipe between Post and User holds.
const PIPE: usize = 64 * 1024;

/// Why a server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The users cannot be read.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The log cannot be opened.
    #[error("cannot open the post log")]
    Open(#[from] OpenError),
    /// The log failed while the server started or stopped.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The User service cannot be where `--user-endpoint` says.
    #[error(transparent)]
    UserEndpoint(#[from] quartet_client::Error),
    /// The Post service does not know where the User service is.
    #[error("--serve post needs --user-endpoint, or --serve user,post")]
    NoUserService,
    /// A part that all streams need ended: a bug.
    #[error("the dispatcher ended")]
    Dispatcher,
}

/// A server that is ready to take calls: its log is open.
#[derive(Debug)]
pub struct Server {
    config: Config,
    users: Option<Users>,
    posts: Option<Posts>,
    /// Connections from the Post service to the User service of this process.
    pipe: mpsc::Receiver<DuplexStream>,
    drain: CancellationToken,
}

impl Server {
    /// Opens the log, reads the users, and seeds an empty log if it is asked to.
    pub async fn open(config: Config) -> Result<Self, ServerError> {
        let drain = CancellationToken::new();
        let (connector, pipe) = mpsc::channel(1);
        let users = match (&config.users, config.runs(Role::User)) {
            (_, false) => None,
            (Some(file), true) => Some(Users::from_file(file)?),
            (None, true) => Some(Users::sample()),
        };
        let posts = if config.runs(Role::Post) {
            let channel = match (&config.user_endpoint, &users) {
                (Some(url), _) => quartet_client::connect(url)?,
                (None, Some(_)) => pipe_channel(connector),
                (None, None) => return Err(ServerError::NoUserService),
            };
            let log = open_log(&config).await?;
            if config.seeds() {
                seed::seed(&*log).await?;
            }
            Some(posts(log, channel, SystemTime::now, &drain))
        } else {
            None
        };
        Ok(Self { config, users, posts, pipe, drain })
    }

    /// A Post service alone, over what a test or a simulation brings: a log that is open, the way to a User service, and
    /// a clock.
    pub fn of_posts(
        log: Arc<dyn PostLog>,
        users: Channel,
        clock: fn() -> SystemTime,
        config: Config,
    ) -> Self {
        let drain = CancellationToken::new();
        let (_, pipe) = mpsc::channel(1);
        let posts = Some(posts(log, users, clock, &drain));
        Self { config, users: None, posts, pipe, drain }
    }

    /// Takes calls until `shutdown` resolves, then drains: streams end resumable, uploads finish, and what is not
    /// done after the drain timeout is cut. When it returns, nothing of the server runs any more.
    pub async fn serve(
        self,
        listener: impl Listener + 'static,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let Self { config, users, posts, pipe, drain } = self;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();

        let dispatcher = posts.as_ref().map(|posts| posts.dispatcher.clone());
        let dispatcher = tasks.spawn(run_dispatcher(dispatcher, stop.clone()));
        let users_only = routes(users.clone(), None);
        tasks.spawn(connection::serve(pipe, users_only, stop.clone(), config.drain_timeout));
        let all = routes(users, posts.clone());
        let connections =
            tasks.spawn(connection::serve(listener, all, drain.clone(), config.drain_timeout));

        let result = tokio::select! {
            biased;
            () = shutdown => Ok(()),
            // It runs until it is stopped. Without it, streams would wait for ever.
            _ = dispatcher => Err(ServerError::Dispatcher),
        };
        tracing::info!("draining");
        drain.cancel();
        // The error of a task is a panic, which the hook has reported.
        let _ = connections.await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        if let Some(posts) = posts {
            posts.authors.close().await;
            posts.log.close().await?;
        }
        result
    }
}

/// Opens a server and serves: for callers who need not know when it is ready.
pub async fn serve(
    listener: impl Listener + 'static,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    Server::open(config).await?.serve(listener, shutdown).await
}

fn posts(
    log: Arc<dyn PostLog>,
    users: Channel,
    clock: fn() -> SystemTime,
    drain: &CancellationToken,
) -> Posts {
    let dispatcher = Dispatcher::new(log.clone());
    Posts { log, dispatcher, authors: Authors::new(users), clock, drain: drain.clone() }
}

async fn open_log(config: &Config) -> Result<Arc<dyn PostLog>, OpenError> {
    if config.ephemeral {
        return Ok(Arc::new(MemoryLog::new()));
    }
    let access = if config.read_only { Access::Read } else { Access::Write };
    let options = Options { access, ..Options::default() };
    Ok(Arc::new(EmbeddedLog::open_directory(&config.data, options).await?))
}

async fn run_dispatcher(dispatcher: Option<Arc<Dispatcher>>, stop: CancellationToken) {
    match dispatcher {
        Some(dispatcher) => dispatcher.run(stop).await,
        None => stop.cancelled().await,
    }
}

/// A channel to the User service of this process, over a pipe in memory: a real gRPC client and a real server.
fn pipe_channel(connector: mpsc::Sender<DuplexStream>) -> Channel {
    let connect = service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let (client, server) = tokio::io::duplex(PIPE);
            connector.send(server).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(client))
        }
    });
    Endpoint::from_static("http://user.in-process").connect_with_connector_lazy(connect)
}

/// The services of a process, each under its own name and under the blog's.
fn routes(users: Option<Users>, posts: Option<Posts>) -> HttpService {
    let mut routes = Routes::default();
    if let Some(users) = users {
        routes = routes
            .add_service(
                UserServiceServer::new(users.clone()).max_decoding_message_size(REQUEST_BYTES),
            )
            .add_service(UserServer::new(users).max_decoding_message_size(REQUEST_BYTES));
    }
    if let Some(posts) = posts {
        routes = routes
            .add_service(
                PostServiceServer::new(posts.clone()).max_decoding_message_size(REQUEST_BYTES),
            )
            .add_service(PostServer::new(posts).max_decoding_message_size(REQUEST_BYTES));
    }
    // From the outside in: a panic of anything below becomes INTERNAL; a call ends with its deadline.
    recover::around(deadline::around(HttpService::new(routes.prepare())))
}
