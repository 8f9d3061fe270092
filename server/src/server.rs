//! Assembles a server, serves, and shuts it down.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::select_all;
use quartet::{
    health::v1::{health_check_response::ServingStatus, health_server::HealthServer},
    methods::{IDEMPOTENT, SINGLE_RESPONSES, post_v1, user_v1},
    post::v1::post_service_server::PostServiceServer,
    user::v1::user_service_server::UserServiceServer,
    v1::{post::post_server::PostServer, user::user_server::UserServer},
};
use quartet_channel::{
    Address, BoxedIo, Builder, Channel, Credentials, SetupError, backoff::Exponential,
};
use quartet_connection::{
    self as connection, HttpService, Listener, RequestBody, Routes,
    listener::memory::{self, Connector, MemoryListener},
    reload::{FileError, Reloader},
    tls::Tls,
};
use quartet_log::{Dispatchers, EmbeddedLog, LogError, LogOptions, MemoryLog, OpenError, PostLog};
use quartet_runtime::gauge::Gauge;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::service_fn;

use crate::{
    auth::Auth,
    chain::Chain,
    error,
    layers::{limits::Limits, record::Observers},
    listen::ListenError,
    observe::metrics::{CallMetrics, Metrics, endpoint::MetricsEndpoint, log::LogInstruments},
    posts::{
        authors::Authors,
        frame_cache::FrameCache,
        store::{Parts, PostStore},
    },
    rpc::{
        health::Health,
        reflection::{self, ReflectionError},
        users::{Users, UsersError},
    },
    seed,
    settings::{Role, Settings, Storage, UserEndpoint},
};

/// How long calls that began during the start may go on once the server has started.
const STARTED: Duration = Duration::from_millis(100);

/// Why a server cannot start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The users cannot be read.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The address of `--metrics` cannot be bound.
    #[error("metrics")]
    Metrics(#[from] ListenError),
    /// A file for TLS or tokens cannot be used.
    #[error("cannot use a file for TLS or tokens")]
    File(#[from] FileError),
    /// The directory of the log is a file.
    #[error("cannot keep a post log in {}: it is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The directory of the log, or a file in it, cannot be used.
    #[error("cannot open the post log in {}: {error}", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The cause, which names the file. Not a source: the message includes it.
        error: Arc<io::Error>,
    },
    /// The log cannot be opened.
    #[error("cannot open the post log")]
    Open(#[source] OpenError),
    /// The log failed while the server started or stopped.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The value of `--user-endpoint` is not valid.
    #[error(transparent)]
    UserEndpoint(#[from] SetupError),
    /// The Post service has no address of a User service.
    #[error("--serve post needs --user-endpoint, or --serve user,post")]
    NoUserService,
    /// The services cannot be described: a bug.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// A dispatcher, which all streams need, ended: a bug.
    #[error("the dispatcher ended")]
    Dispatcher,
}

/// A server with an open log, ready to take calls.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    users: Option<Users>,
    posts: Option<PostStore>,
    /// Connections from the Post service to the User service of this process.
    pipe: MemoryListener,
    security: Security,
    reloader: Reloader,
    drain: CancellationToken,
    gauges: ServerGauges,
    health: Health,
    chain: Chain,
    /// The endpoint of metrics, if one is configured.
    metrics: Option<(MetricsEndpoint, Arc<Metrics>)>,
}

/// Counts of open connections, streams and cursors. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ServerGauges {
    /// Connections, including those whose handshake has not finished.
    pub connections: Gauge,
    /// Streams, from their first frame to their last.
    pub streams: Gauge,
    /// Cursors: readers of the log.
    pub cursors: Gauge,
}

impl ServerGauges {
    fn new(connections: &connection::Settings, posts: Option<&PostStore>) -> Self {
        let connection::ConnectionGauges { connections, streams } = connections.gauges.clone();
        let cursors = posts.map(|posts| posts.dispatchers.cursors().clone());
        Self { connections, streams, cursors: cursors.unwrap_or_default() }
    }

    fn of_connections(&self) -> connection::ConnectionGauges {
        let Self { connections, streams, .. } = self.clone();
        connection::ConnectionGauges { connections, streams }
    }
}

/// Encryption and authentication.
#[derive(Debug, Clone, Default)]
struct Security {
    tls: Option<Tls>,
    auth: Option<Auth>,
}

impl Security {
    fn open(settings: &Settings) -> Result<Self, FileError> {
        let certificates = settings.tls.as_ref().is_some_and(|files| files.client_ca.is_some());
        let tls = settings.tls.clone().map(Tls::from_files).transpose()?;
        let auth = Auth::open(settings.auth.clone(), certificates)?;
        Ok(Self { tls: tls.or_else(|| settings.connections.tls.clone()), auth })
    }

    /// A reloader of all these files.
    fn reloader(&self) -> Reloader {
        let mut reloader = Reloader::default();
        self.tls.iter().for_each(|tls| reloader.add(tls.reloaded()));
        self.auth.iter().filter_map(Auth::keys).for_each(|keys| reloader.add(keys));
        reloader
    }

    /// Logs a warning or a note if callers are not authenticated, or tokens are not encrypted.
    fn log(&self) {
        match (&self.tls, &self.auth) {
            (_, None) => tracing::info!("no authentication: everyone may call everything"),
            (None, Some(_)) => {
                tracing::warn!("tokens are required, but sent in plaintext: there is no TLS")
            }
            (Some(_), Some(_)) => {}
        }
    }
}

impl Server {
    /// Opens the log, reads the users, and seeds an empty log if configured.
    ///
    /// # Errors
    /// [`ServerError`]: it names the file, directory or address that cannot be used.
    pub async fn open(settings: Settings) -> Result<Self, ServerError> {
        let security = Security::open(&settings)?;
        let endpoint = metrics_endpoint(&settings).await?;
        let log_metrics = LogInstruments::default();
        let (connector, pipe) = memory::listen();
        let users = match (&settings.users.file, settings.runs(Role::User)) {
            (_, false) => None,
            (Some(file), true) => Some(Users::from_file(file)?),
            (None, true) => Some(Users::sample()),
        };
        let posts = if settings.runs(Role::Post) {
            let channel = match (&settings.users.remote, &users) {
                (Some(endpoint), _) => user_channel(endpoint)?,
                (None, Some(_)) => pipe_channel(connector)?,
                (None, None) => return Err(ServerError::NoUserService),
            };
            let log = open_log(&settings.log.storage, log_metrics.clone()).await?;
            if settings.seeds() {
                seed::seed(&*log).await?;
            }
            Some(posts(log, channel, SystemTime::now, settings.connections.cores.count()))
        } else {
            None
        };
        let reloader = security.reloader();
        let server = Self::of(settings, users, posts, pipe);
        let chain = Chain { auth: security.auth.clone(), ..server.chain };
        let server = Self { security, reloader, chain, ..server };
        Ok(match endpoint {
            Some(endpoint) => server.with_metrics(endpoint, &log_metrics),
            None => server,
        })
    }

    fn with_metrics(self, endpoint: MetricsEndpoint, log: &LogInstruments) -> Self {
        let calls = CallMetrics::default();
        let dispatchers = self.posts.as_ref().map(|posts| posts.dispatchers.clone());
        let metrics =
            Arc::new(Metrics::new(&calls, log, self.gauges.of_connections(), dispatchers));
        let observers = Arc::new(Observers { metrics: Some(calls) });
        let chain = Chain { observers, ..self.chain };
        Self { chain, metrics: Some((endpoint, metrics)), ..self }
    }

    fn of(
        settings: Settings,
        users: Option<Users>,
        posts: Option<PostStore>,
        pipe: MemoryListener,
    ) -> Self {
        let health = Health::new(services(&settings));
        health.set_all(ServingStatus::Serving);
        let gauges = ServerGauges::new(&settings.connections, posts.as_ref());
        let drain = CancellationToken::new();
        let security = Security::default();
        let reloader = Reloader::default();
        let limits = Limits::new(settings.call_limits);
        let chain = Chain {
            limits,
            bare: settings.observability.bare,
            compress_answers: settings.compress_answers,
            ..Chain::default()
        };
        Self {
            settings,
            users,
            posts,
            pipe,
            security,
            reloader,
            drain,
            gauges,
            health,
            chain,
            metrics: None,
        }
    }

    /// A Post service alone, for tests and simulations: over an open log, a channel to a User
    /// service, and a clock.
    pub fn of_posts(
        log: Arc<dyn PostLog>,
        users: Channel,
        clock: fn() -> SystemTime,
        settings: Settings,
    ) -> Self {
        let (_, pipe) = memory::listen();
        Self::of(settings, None, Some(posts(log, users, clock, 1)), pipe)
    }

    /// Counts of open connections, streams and cursors.
    pub fn gauges(&self) -> &ServerGauges {
        &self.gauges
    }

    /// The address of the metrics endpoint, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|(endpoint, _)| endpoint.address().ok())
    }

    /// Reloads the files of TLS and tokens: by itself while the server serves, and on request.
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// Takes calls until `shutdown` resolves, then drains: streams end so that clients can resume,
    /// uploads finish, and calls still open after the drain timeout are cut. When it returns, all
    /// tasks of the server have ended.
    pub async fn serve(
        self,
        listener: impl Listener + 'static,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let Self {
            settings,
            users,
            posts,
            pipe,
            security,
            reloader,
            drain,
            gauges: _,
            health,
            chain,
            metrics,
        } = self;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        security.log();
        tasks.spawn(reloader.run(stop.clone()));

        let dispatchers = posts.iter().flat_map(|posts| posts.dispatchers.iter()).enumerate();
        let cores = &settings.connections.cores;
        let dispatchers: Vec<_> = dispatchers
            .map(|(core, one)| cores.spawn_on(core, &tasks, one.clone().run(stop.clone())))
            .collect();
        if let Some(posts) = &posts {
            tasks.spawn(watch_log(posts.log.clone(), health.clone(), stop.clone()));
        }
        if let Some((endpoint, metrics)) = metrics {
            // It stops last, so that metrics show the drain.
            tasks.spawn(endpoint.serve(metrics, stop.clone()));
        }
        // For calls within the process, from a Post service that authenticates its callers itself.
        let trusting = Chain { auth: None, ..chain.clone() };
        let users_only = trusting.around(user_routes(Routes::default(), users.clone()));
        let inside = connection::Settings {
            keepalive: Default::default(),
            trace_frames: false,
            ..by_itself(&settings.connections)
        };
        tasks.spawn(connection::serve(pipe, users_only, inside, stop.clone()));
        let all = chain.around(routes(&settings, users, posts.clone(), health.clone())?);
        let outside = connection::Settings { tls: security.tls, ..settings.connections };
        let connections = tasks.spawn(connection::serve(listener, all, outside, drain.clone()));

        let result = tokio::select! {
            biased;
            () = shutdown => Ok(()),
            () = any_ends(dispatchers) => Err(ServerError::Dispatcher),
        };
        tracing::info!("draining");
        health.set_all(ServingStatus::NotServing);
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

/// Answers calls on this listener while a server opens: health is UNKNOWN, all other calls are
/// UNAVAILABLE (STARTING). Returns the result of `opening`; the server can use the listener then.
pub async fn answer_while<T>(
    listener: &mut impl Listener,
    settings: &Settings,
    opening: impl Future<Output = T>,
) -> T {
    // `opening` reports an error of these files.
    let Ok(Security { tls, auth }) = Security::open(settings) else { return opening.await };
    let connections =
        connection::Settings { tls, drain_timeout: STARTED, ..by_itself(&settings.connections) };
    let opened = CancellationToken::new();
    let waiting = while_starting(Health::new(services(settings)), auth);
    let answering = connection::serve(listener, waiting, connections, opened.clone());
    let opening = async {
        let outcome = opening.await;
        opened.cancel();
        outcome
    };
    tokio::join!(answering, opening).1
}

/// Opens a server and serves, for callers that need not know when it is ready.
pub async fn serve(
    listener: impl Listener + 'static,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    Server::open(settings).await?.serve(listener, shutdown).await
}

fn posts(
    log: Arc<dyn PostLog>,
    users: Channel,
    clock: fn() -> SystemTime,
    cores: usize,
) -> PostStore {
    let dispatchers = Dispatchers::new(&log, cores);
    let (authors, frames) = (Authors::new(users), FrameCache::new(cores));
    PostStore::new(Parts { log, dispatchers, authors, frames, clock })
}

async fn metrics_endpoint(settings: &Settings) -> Result<Option<MetricsEndpoint>, ServerError> {
    let Some(address) = settings.observability.metrics else { return Ok(None) };
    let bound = MetricsEndpoint::bind(address).await;
    Ok(Some(bound?))
}

async fn open_log(
    storage: &Storage,
    metrics: LogInstruments,
) -> Result<Arc<dyn PostLog>, ServerError> {
    let Storage::Directory { path, access } = storage else {
        return Ok(Arc::new(MemoryLog::new()));
    };
    let options =
        LogOptions { access: *access, metrics: Arc::new(metrics), ..LogOptions::default() };
    let opened = EmbeddedLog::open_directory(path, options).await;
    Ok(Arc::new(opened.map_err(|error| cannot_open(path, error))?))
}

/// Says which file or directory is to blame, where the log only knows that its disk failed.
fn cannot_open(directory: &Path, error: OpenError) -> ServerError {
    let is_file = |path: &&Path| path.exists() && !path.is_dir();
    match (directory.ancestors().find(is_file), error) {
        (Some(file), OpenError::Log(LogError::Failed(_))) => {
            ServerError::NotADirectory(file.to_owned())
        }
        (None, OpenError::Log(LogError::Failed(error))) => {
            ServerError::Directory { directory: directory.to_owned(), error }
        }
        (_, error) => ServerError::Open(error),
    }
}

/// The same settings for connections that are not the server's own: in plaintext, on the calling
/// runtime, and not counted.
fn by_itself(connections: &connection::Settings) -> connection::Settings {
    connection::Settings {
        tls: None,
        cores: Default::default(),
        gauges: Default::default(),
        ..connections.clone()
    }
}

/// Waits until a dispatcher ends, which is a bug: its streams would wait forever.
async fn any_ends(dispatchers: Vec<JoinHandle<()>>) {
    if dispatchers.is_empty() {
        std::future::pending().await
    }
    // The error is a panic, which the hook has reported.
    drop(select_all(dispatchers).await);
}

/// A channel to a User service elsewhere, with the Post service's own credentials.
fn user_channel(endpoint: &UserEndpoint) -> Result<Channel, SetupError> {
    let builder = Channel::builder(endpoint.url.parse()?).tls(&endpoint.tls)?;
    let channel = soon_back(builder).build();
    match endpoint.token.clone() {
        Some(source) => channel.with_credentials(Credentials::new(source)),
        None => Ok(channel),
    }
}

/// A channel to the User service of this process, over a pipe in memory.
fn pipe_channel(connector: Connector) -> Result<Channel, ServerError> {
    let dial = move |_: Address| {
        let connector = connector.clone();
        async move { Ok(Box::new(connector.connect().await?) as BoxedIo) }
    };
    let target = "passthrough:///user.in-process".parse().map_err(SetupError::from)?;
    Ok(soon_back(Channel::builder(target)).dialer(dial).build())
}

/// Short backoff: posts have no names until the User service is back.
fn soon_back(builder: Builder) -> Builder {
    let builder = builder.single_responses(SINGLE_RESPONSES).idempotent(IDEMPOTENT);
    builder.connect_backoff(Exponential::new(
        Duration::from_millis(100),
        Duration::from_secs(5),
        1.6,
    ))
}

/// The names of the services that this process runs, for health and reflection.
fn services(settings: &Settings) -> Vec<&'static str> {
    let all = [(Role::User, user_v1::SERVICE), (Role::Post, post_v1::SERVICE)];
    all.into_iter().filter(|(role, _)| settings.runs(*role)).map(|(_, name)| name).collect()
}

/// Sets the Post service's health to NOT_SERVING when its log fails. Reading still works then, but
/// balancers should choose another server.
async fn watch_log(log: Arc<dyn PostLog>, health: Health, stop: CancellationToken) {
    if stop.run_until_cancelled(log.failed()).await.is_some() {
        health.set(post_v1::SERVICE, ServingStatus::NotServing);
    }
}

/// The routes of a process: its services under their own names and the blog's, health and
/// reflection.
fn routes(
    settings: &Settings,
    users: Option<Users>,
    posts: Option<PostStore>,
    health: Health,
) -> Result<Routes, ServerError> {
    let mut routes = user_routes(Routes::default(), users);
    if let Some(posts) = posts {
        let blog = PostServer::new(posts.clone());
        routes = routes.add_service(PostServiceServer::new(posts)).add_service(blog);
    }
    let routes = routes.add_service(HealthServer::new(health));
    Ok(reflection::describe(routes, &services(settings))?)
}

fn user_routes(routes: Routes, users: Option<Users>) -> Routes {
    let Some(users) = users else { return routes };
    let blog = UserServer::new(users.clone());
    routes.add_service(UserServiceServer::new(users)).add_service(blog)
}

/// The service before the log is open.
fn while_starting(health: Health, auth: Option<Auth>) -> HttpService {
    let health = Chain { auth, ..Chain::default() }.around(Routes::new(HealthServer::new(health)));
    let answer = service_fn(move |request: http::Request<RequestBody>| {
        let health = health.clone();
        async move {
            if request.uri().path().starts_with("/grpc.health.v1.Health/") {
                return health.call(request).await;
            }
            Ok::<_, Infallible>(error::starting().into_http())
        }
    });
    // Only health calls wait, and their chain enforces deadlines.
    HttpService::new(answer).keeping_deadlines()
}
