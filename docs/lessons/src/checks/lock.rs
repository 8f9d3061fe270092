//! Lesson 13: no lock across a call.

use std::collections::HashMap;

use futures::future::join_all;
use quartet::user::v1::user_service_client::UserServiceClient;
use quartet_channel::Channel;
use tokio::sync::Mutex;
use tonic::Status;

use crate::{
    stage::Stage,
    verdict::Verdict,
    wire::{From, Kind},
};

/// A client of the User service.
pub type Users = UserServiceClient<Channel>;
/// Names by user id.
pub type Names = Mutex<HashMap<String, String>>;

/// The program finds the name of a user. Four handlers run it at once, while the User service is
/// slow.
///
/// # Errors
/// The handlers wait for each other.
pub async fn check(
    program: impl AsyncFn(Users, &Names, String) -> Result<String, Status>,
) -> Verdict {
    let (stage, names) = (Stage::open().await?, Names::default());
    let users = stage.users();
    let name = async |user: usize| program(users.clone(), &names, user.to_string()).await;
    name(1).await.map_err(|status| status.to_string())?;
    let before = stage.wire().count(From::Client, Kind::Headers);
    stage.wire().hold(true);
    let waiting = async {
        stage.settle().await;
        stage.wire().hold(false);
        stage.wire().count(From::Client, Kind::Headers) - before
    };
    let (found, calls) = tokio::join!(join_all((2..=5).map(name)), waiting);
    if found.iter().flatten().ne(["Michael", "Jessie", "Max", "Tony"]) {
        return Err(format!("The names of users 2 to 5 are not {found:?}."));
    }
    match calls {
        4 => Ok(()),
        calls => Err(format!(
            "4 handlers need a name, and the User service takes its time.\n\
             On the wire: calls in flight: {calls}. The other handlers wait for the lock."
        )),
    }
}
