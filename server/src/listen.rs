//! Listens on addresses, and says what to do about one that cannot be had.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", in_words(*address, error))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The cause. Not a source: the message includes it.
    pub error: io::Error,
}

/// Listens on an address; port 0 picks a free one.
///
/// # Errors
/// [`ListenError`].
pub async fn tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|error| ListenError { address, error })
}

fn in_words(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse if cfg!(target_os = "linux") => {
            format!("another process does; `ss -ltnp 'sport = :{port}'` shows which ({error})")
        }
        io::ErrorKind::AddrInUse => {
            format!("another process does; `lsof -nPi TCP:{port}` shows which ({error})")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is not an address of this machine ({error})", address.ip())
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} is for privileged processes ({error})")
        }
        _ => error.to_string(),
    }
}
