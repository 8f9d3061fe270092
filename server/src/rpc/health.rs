//! Health checking: `grpc.health.v1`, for load balancers and orchestrators.
//!
//! The server as a whole and each of its services have a status: UNKNOWN while the server starts,
//! SERVING, or NOT_SERVING when it shuts down or cannot work. Unlike with tonic's health service, a
//! watch of an unknown service stays open with SERVICE_UNKNOWN, and every watch gets a last status
//! when the server shuts down.

use std::{collections::BTreeMap, sync::Arc};

use async_stream::try_stream;
use futures::stream::BoxStream;
use quartet::{
    codec,
    health::v1::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus, health_server,
    },
    reason,
};
use quartet_connection::Stop;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use crate::error;

/// The name that stands for the server as a whole.
const OVERALL: &str = "";
/// Characters of an unknown service's name in a status.
const NAME_CHARS: usize = 256;

/// The statuses of a server's services. Clones share them.
#[derive(Debug, Clone)]
pub struct Health {
    statuses: Arc<watch::Sender<BTreeMap<&'static str, ServingStatus>>>,
}

impl Health {
    /// The statuses of these services, all UNKNOWN.
    pub fn new(services: impl IntoIterator<Item = &'static str>) -> Self {
        let names = services.into_iter().chain([OVERALL]);
        let statuses = names.map(|name| (name, ServingStatus::Unknown)).collect();
        Self { statuses: Arc::new(watch::Sender::new(statuses)) }
    }

    /// Sets the status of a service. The server as a whole gets the worst status of all services.
    pub fn set(&self, service: &'static str, status: ServingStatus) {
        self.statuses.send_modify(|statuses| {
            statuses.insert(service, status);
            let all =
                statuses.iter().filter(|(name, _)| **name != OVERALL).map(|(_, status)| *status);
            let worst = all.min_by_key(|status| match status {
                ServingStatus::Serving => 2,
                ServingStatus::Unknown => 1,
                _ => 0,
            });
            statuses.insert(OVERALL, worst.unwrap_or(ServingStatus::Serving));
        });
    }

    /// Sets all statuses.
    pub fn set_all(&self, status: ServingStatus) {
        self.statuses.send_modify(|statuses| statuses.values_mut().for_each(|now| *now = status));
    }

    fn of(&self, service: &str) -> Option<ServingStatus> {
        self.statuses.borrow().get(service).copied()
    }
}

impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = self.of(&service).ok_or_else(|| {
            let name = codec::truncate(&service, NAME_CHARS);
            let message = format!("this server has no service {name:?}");
            error::status(Code::NotFound, reason::UNKNOWN_SERVICE, message)
        })?;
        Ok(Response::new(response(status)))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let statuses = self.statuses.borrow();
        let statuses =
            statuses.iter().map(|(name, status)| ((*name).to_owned(), response(*status)));
        Ok(Response::new(HealthListResponse { statuses: statuses.collect() }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // ANCHOR: watch
        let (stop, service) = (Stop::of(request.extensions()), request.into_inner().service);
        let mut statuses = self.statuses.subscribe();
        Ok(Response::new(Box::pin(try_stream! {
            let mut sent = None;
            loop {
                let now = statuses.borrow_and_update().get(&*service).copied();
                let now = now.unwrap_or(ServingStatus::ServiceUnknown);
                if sent != Some(now) {
                    sent = Some(now);
                    yield response(now);
                }
                // A server that shuts down changes all statuses first, so the last one has been
                // sent.
                if stop.is_due() {
                    Err(stop.status())?;
                }
                tokio::select! {
                    biased;
                    // The sender lives as long as `self`, which the server holds while it runs.
                    _ = statuses.changed() => {}
                    () = stop.due() => {}
                }
            }
        })))
        // ANCHOR_END: watch
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
