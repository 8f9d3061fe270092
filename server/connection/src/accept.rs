//! Accepts connections, and drains them when the server stops.

use std::{io, net::IpAddr, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{Admission, Permit},
    context::Context,
    deadline, lifecycle,
    listener::Listener,
    peer::{Peer, PeerAddress},
    service::{BoxError, HttpService},
    settings::Settings,
    tls::Tls,
};

/// Serves connections until `drain` is cancelled, then lets them finish within the drain timeout
/// and cuts the rest, which takes a second more at most.
///
/// Draining closes the listener and sends a GOAWAY on every connection; streams are told by their
/// [`Stop`](crate::Stop). A listener that ends by itself is closed without that: its connections go
/// on until they end.
///
/// When this returns, every task that it has started has ended. Dropping the future instead leaves
/// them to themselves.
pub async fn serve(
    mut listener: impl Listener,
    service: HttpService,
    settings: Settings,
    drain: CancellationToken,
) {
    let context = Arc::new(context(service, settings, drain));
    accept(&mut listener, &context).await;
    drop(listener);
    let Context { settings, tasks, drain, cut, .. } = &*context;
    tasks.close();
    tokio::select! {
        () = drain.cancelled() => {}
        () = tasks.wait() => return,
    }
    let limit = settings.drain_timeout;
    if timeout(limit, tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "still busy after {limit:?}; cutting");
        cut.cancel();
        tasks.wait().await;
    }
}

fn context(service: HttpService, settings: Settings, drain: CancellationToken) -> Context {
    let statuses = Arc::new(settings.statuses.clone());
    let service = match service.keeps_deadlines() {
        true => service,
        false => HttpService::new(deadline::around(service, statuses.clone())),
    };
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    Context { service, settings, statuses, tasks, drain, cut }
}

async fn accept<L: Listener>(listener: &mut L, context: &Arc<Context>) {
    let settings = &context.settings;
    let limits = Limits::new(settings);
    let mut pause = settings.accept_pause;
    while let Some(accepted) = context.drain.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok(Some(io)) => {
                pause = settings.accept_pause;
                start::<L>(io, &limits, context);
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                context.drain.run_until_cancelled(sleep(pause)).await;
                pause = (pause * 2).min(settings.longest_accept_pause);
            }
        }
    }
}

/// Serves a connection on one of the cores. Beyond the limits it is closed.
fn start<L: Listener>(io: L::Io, limits: &Limits, context: &Arc<Context>) {
    let peer = Peer { address: L::address(&io), certificate_names: None };
    let Some((open, unfinished)) = limits.admit(peer.address) else { return };
    let Settings { gauges, cores, .. } = &context.settings;
    let held = (open, gauges.connections.hold());
    let connection = serve_one(io, L::adopt, peer, context.clone(), unfinished);
    cores.spawn(&context.tasks, async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %causes(&*error), "connection ended");
        }
        drop(held);
    });
}

/// Serves a connection on the runtime that polls this. Boxed: one in plaintext does not reserve the
/// memory of a TLS handshake.
fn serve_one<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: IO,
    adopt: fn(IO) -> io::Result<IO>,
    peer: Peer,
    context: Arc<Context>,
    unfinished: Permit<IpAddr>,
) -> BoxFuture<'static, Result<(), BoxError>> {
    let until = Instant::now() + context.settings.handshake_timeout;
    match context.settings.tls.clone() {
        None => {
            async move { Ok(lifecycle::serve(adopt(io)?, peer, context, unfinished, until).await?) }
                .boxed()
        }
        Some(tls) => {
            async move { encrypted(tls, adopt(io)?, peer, context, unfinished, until).await }
                .boxed()
        }
    }
}

async fn encrypted<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    tls: Tls,
    io: IO,
    mut peer: Peer,
    context: Arc<Context>,
    unfinished: Permit<IpAddr>,
    until: Instant,
) -> Result<(), BoxError> {
    let handshake = timeout_at(until, tls.accept(io).boxed());
    let Some(Ok(accepted)) = context.drain.run_until_cancelled(handshake).await else {
        return Ok(());
    };
    let (io, certificate_names) = accepted?;
    peer.certificate_names = certificate_names;
    Ok(lifecycle::serve(io, peer, context, unfinished, until).await?)
}

/// The limits of open connections.
struct Limits {
    open: Arc<Admission<IpAddr>>,
    unfinished: Arc<Admission<IpAddr>>,
}

impl Limits {
    fn new(settings: &Settings) -> Self {
        let Settings { max_connections, max_unfinished, max_unfinished_per_address, .. } =
            *settings;
        Self {
            open: Admission::new(max_connections, max_connections),
            unfinished: Admission::new(max_unfinished, max_unfinished_per_address),
        }
    }

    /// Permits for a connection to be open, and to be unfinished for a while. There is no queue for
    /// them: a half-made connection that waits in one would keep others out.
    fn admit(&self, address: PeerAddress) -> Option<(Permit<IpAddr>, Permit<IpAddr>)> {
        let ip = address.ip();
        let permits = self.open.admit(ip).zip(self.unfinished.admit(ip));
        if permits.is_none() {
            let (open, unfinished) = (self.open.taken(), self.unfinished.taken());
            tracing::debug!(open, unfinished, %address, "too many connections");
        }
        permits
    }
}

/// An error and its causes, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
