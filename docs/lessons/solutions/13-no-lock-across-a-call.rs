//! Finds the name of a user: in memory, or from the User service.

use quartet::user::v1::GetUserRequest;
use quartet_lessons::checks::lock::{Names, Users};
use tonic::Status;

pub async fn author(mut users: Users, names: &Names, user_id: String) -> Result<String, Status> {
    // The guard ends with this line: no other handler waits for it during the call.
    let known = names.lock().await.get(&user_id).cloned();
    if let Some(name) = known {
        return Ok(name);
    }
    let request = GetUserRequest { user_id: user_id.clone() };
    let user = users.get_user(request).await?.into_inner().user_message;
    let name = user.ok_or_else(|| Status::internal("no user"))?.name;
    names.lock().await.insert(user_id, name.clone());
    Ok(name)
}
