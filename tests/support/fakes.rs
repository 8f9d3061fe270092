//! A User service that counts its calls, and a log that can be slow, broken or damaged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use quartet::user::v1::{
    GetUserRequest, GetUserResponse, ListUsersRequest, ListUsersResponse, UserMessage,
    user_service_server::{UserService, UserServiceServer},
};
use quartet_client::Channel;
use quartet_connection::HttpService;
use quartet_log::{
    Appending, Limit, LogError, MemoryLog, NewPosts, Outcome, PostLog, Records, UserPage,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};

use super::server::serve_routes;

/// A User service that knows every user except `nobody`, as `name of {user_id}` unless a [`Mood`]
/// changes that.
#[derive(Clone, Default)]
pub struct CountingUsers(Arc<Counting>);

#[derive(Default)]
struct Counting {
    calls: Mutex<BTreeMap<String, usize>>,
    mood: watch::Sender<Mood>,
}

/// How the User service behaves.
#[derive(Debug, Clone, Default)]
pub enum Mood {
    #[default]
    Answers,
    /// It has this name for every user.
    Renames(&'static str),
    /// It accepts calls and does not answer.
    Hangs,
    /// It refuses every call with this status.
    Refuses(Status),
}

impl CountingUsers {
    pub fn set(&self, mood: Mood) {
        self.0.mood.send_replace(mood);
    }

    /// How often this user was looked up.
    pub fn calls(&self, user_id: &str) -> usize {
        self.0.calls.lock().unwrap().get(user_id).copied().unwrap_or_default()
    }

    /// Waits until this user was looked up this many times.
    pub async fn called(&self, user_id: &str, times: usize) {
        while self.calls(user_id) < times {
            tokio::task::yield_now().await;
        }
    }

    /// A channel to this service, through memory, and the task that serves it.
    pub fn serve(&self) -> (Channel, JoinHandle<()>) {
        serve_routes(HttpService::new(Routes::new(UserServiceServer::new(self.clone())).prepare()))
    }
}

impl UserService for CountingUsers {
    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<GetUserResponse>, Status> {
        let user_id = request.into_inner().user_id;
        *self.0.calls.lock().unwrap().entry(user_id.clone()).or_default() += 1;
        let mut mood = self.0.mood.subscribe();
        // The sender lives in `self`, so the wait ends only with a new mood.
        let mood = mood.wait_for(|mood| !matches!(mood, Mood::Hangs)).await.unwrap().clone();
        match mood {
            Mood::Refuses(status) => Err(status),
            _ if user_id == "nobody" => Err(Status::not_found("nobody")),
            mood => {
                let name = match mood {
                    Mood::Renames(name) => name.to_owned(),
                    _ => format!("name of {user_id}"),
                };
                let user = UserMessage { user_id, name, ..UserMessage::default() };
                Ok(Response::new(GetUserResponse { user_message: Some(user) }))
            }
        }
    }

    async fn list_users(
        &self,
        _: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        Ok(Response::new(ListUsersResponse::default()))
    }
}

/// A log in memory whose disk can be made slow, broken or damaged.
#[derive(Debug, Default)]
pub struct FakeLog {
    pub memory: MemoryLog,
    state: Mutex<State>,
    failed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Vec<Held>>,
    append: Option<LogError>,
    read: Option<LogError>,
    /// Whether reads of pages panic.
    panics: bool,
}

/// An append that was accepted and is not on disk yet.
type Held = (NewPosts, oneshot::Sender<Result<Vec<Outcome>, LogError>>);

impl FakeLog {
    /// Keeps new appends from the disk until [`release`](Self::release).
    pub fn hold(&self) {
        self.state.lock().unwrap().held = Some(Vec::new());
    }

    /// The number of posts that were accepted and are not on disk.
    pub fn held(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.held.iter().flatten().map(|(posts, _)| posts.len()).sum()
    }

    /// Stores the held appends in their order, and holds no more.
    pub async fn release(&self) {
        let held = self.state.lock().unwrap().held.take();
        for (posts, promise) in held.into_iter().flatten() {
            let outcomes = self.memory.append(posts).await.unwrap().await;
            // The caller may no longer wait.
            let _ = promise.send(outcomes);
        }
    }

    /// Fails the held appends and all later ones.
    pub fn fail_appends(&self, error: LogError) {
        let mut state = self.state.lock().unwrap();
        for (_, promise) in state.held.take().into_iter().flatten() {
            let _ = promise.send(Err(error.clone()));
        }
        state.append = Some(error);
        self.failed.cancel();
    }

    /// Fails every later read.
    pub fn fail_reads(&self, error: LogError) {
        self.state.lock().unwrap().read = Some(error);
    }
}

impl FakeLog {
    /// Panics in every later read of a page. The dispatchers, which read more at a time, are not
    /// affected.
    pub fn panic_in_readers(&self) {
        self.state.lock().unwrap().panics = true;
    }
}

#[tonic::async_trait]
impl PostLog for FakeLog {
    fn log_id(&self) -> &str {
        self.memory.log_id()
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.memory.head()
    }

    async fn append(&self, posts: NewPosts) -> Result<Appending, LogError> {
        {
            let mut state = self.state.lock().unwrap();
            if let Some(error) = &state.append {
                return Err(error.clone());
            }
            if let Some(held) = &mut state.held {
                let (promise, appending) = Appending::new();
                held.push((posts, promise));
                return Ok(appending);
            }
        }
        self.memory.append(posts).await
    }

    /// Works while reads are broken: what fails are the readers.
    async fn chain(&self, sequence: u64) -> Result<u64, LogError> {
        self.memory.chain(sequence).await
    }

    async fn read(&self, after: u64, limit: Limit) -> Result<Records, LogError> {
        let (broken, panics) = {
            let state = self.state.lock().unwrap();
            (state.read.clone(), state.panics)
        };
        assert!(!panics || limit.bytes >= 1024 * 1024, "a bug in a log");
        match broken {
            Some(error) => Err(error),
            None => self.memory.read(after, limit).await,
        }
    }

    async fn read_user(
        &self,
        user_id: &str,
        after: u64,
        limit: Limit,
    ) -> Result<UserPage, LogError> {
        let broken = self.state.lock().unwrap().read.clone();
        match broken {
            Some(error) => Err(error),
            None => self.memory.read_user(user_id, after, limit).await,
        }
    }

    async fn failed(&self) {
        self.failed.cancelled().await;
    }

    async fn close(&self) -> Result<(), LogError> {
        self.memory.close().await
    }
}
