//! Who calls, once that is known.

use std::sync::Arc;

use http::Extensions;

/// The user that a call is made as: an extension of its request, put there by authentication and by nobody else.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Of the User service.
    pub user_id: Arc<str>,
}

impl Caller {
    /// The one of a request, among its extensions. `None` for a call that nobody has vouched for.
    pub fn of(request: &Extensions) -> Option<&Self> {
        request.get()
    }
}
