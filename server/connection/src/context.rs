//! What all connections of a listener share.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{service::HttpService, settings::Settings, statuses::Statuses};

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) service: HttpService,
    pub(crate) settings: Settings,
    pub(crate) statuses: Arc<Statuses>,
    /// The connections and their streams.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the server stops.
    pub(crate) drain: CancellationToken,
    /// Cancelled when the drain timeout is over.
    pub(crate) cut: CancellationToken,
}
