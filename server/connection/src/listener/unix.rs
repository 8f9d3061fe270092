//! Connections over unix sockets.
//!
//! The file system says who may connect: the socket has mode 0600, so only processes of the same
//! user can (and root).

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

use super::Listener;
use crate::peer::PeerAddress;

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 1024;

/// Only the owner reads and writes.
const MODE: u32 = 0o600;

/// Listens on a unix socket at `path`, which replaces one that no process accepts on any more.
///
/// The check and the bind are done under a lock of the directory (`flock`), so that of two servers
/// that start at the same time one is refused.
///
/// # Errors
/// Another process serves on the path ([`AddrInUse`](ErrorKind::AddrInUse)); there is a file that
/// is no socket, which is left alone ([`AlreadyExists`](ErrorKind::AlreadyExists)); or what the
/// system says, such as a path that is too long (108 bytes on Linux) or a directory that may not be
/// written.
pub async fn bind(path: impl AsRef<Path>) -> io::Result<UnixSocket> {
    let path = path.as_ref();
    // Released when it is dropped. It blocks for as long as another server binds in this directory.
    let directory = File::open(directory_of(path))?;
    directory.lock()?;
    remove_stale(path).await?;
    let socket = tokio::net::UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Before it listens: until then connections are refused, whatever the mode.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    let listener = socket.listen(BACKLOG)?;
    Ok(UnixSocket { listener, path: path.to_owned(), file: file_of(path)? })
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Removes a socket that no process accepts on. Refuses to remove anything else.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        let problem = format!("{} is not a socket, so it is not removed", path.display());
        return Err(io::Error::new(ErrorKind::AlreadyExists, problem));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        // Also one whose backlog is full.
        Ok(_) | Err(_) => {
            let problem = format!("another process serves on {}", path.display());
            Err(io::Error::new(ErrorKind::AddrInUse, problem))
        }
    }
}

/// What tells one file from another at the same path.
fn file_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Accepts connections on a unix socket. Dropping it removes the socket, unless another has taken
/// its place.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

impl UnixSocket {
    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if file_of(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

impl Listener for UnixSocket {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<Option<UnixStream>> {
        Ok(Some(self.listener.accept().await?.0))
    }

    fn adopt(stream: UnixStream) -> io::Result<UnixStream> {
        UnixStream::from_std(stream.into_std()?)
    }

    fn address(stream: &UnixStream) -> PeerAddress {
        PeerAddress::Unix { uid: stream.peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_gone_with_its_listener() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut listener = bind(&path).await.unwrap();
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, MODE);
        let (client, server) = tokio::join!(UnixStream::connect(&path), listener.accept());
        let (_client, server) = (client.unwrap(), server.unwrap().unwrap());
        assert_eq!(UnixSocket::address(&server), PeerAddress::Unix { uid: Some(metadata.uid()) });
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "it is left behind, as by a process that was killed");
        let listener = bind(&path).await.unwrap();
        let refused = bind(&path).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        let problem = format!("another process serves on {}", path.display());
        assert_eq!(refused.to_string(), problem);
        assert!(path.exists());
        drop(listener);
        bind(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "precious").unwrap();
        let refused = bind(&path).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(bind(&link).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_socket_that_took_the_place_of_this_one_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let first = bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let _second = bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn of_servers_that_start_together_on_a_stale_socket_one_serves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        for _ in 0..20 {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let starting = (0..4).map(|_| {
                let (path, runtime) = (path.clone(), tokio::runtime::Handle::current());
                std::thread::spawn(move || runtime.block_on(bind(path)))
            });
            let starting: Vec<_> = starting.collect();
            let joined = tokio::task::spawn_blocking(|| {
                starting.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            let outcomes = joined.await.unwrap();
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        }
    }
}
