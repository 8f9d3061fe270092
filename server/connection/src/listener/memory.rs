//! Connections within the process: pipes in memory.

use std::io;

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use super::Listener;

/// Bytes that a pipe holds in each direction: one frame of the largest size, as TCP would take it.
const PIPE_BYTES: usize = 64 * 1024;

/// A listener in memory and the way to it. The listener ends when all connectors are dropped.
pub fn listen() -> (Connector, MemoryListener) {
    // One waits while one is accepted: a connector waits for its turn, as in a backlog.
    let (connector, listener) = mpsc::channel(1);
    (Connector(connector), MemoryListener(listener))
}

/// Opens connections to a [`MemoryListener`]. Clones reach the same.
#[derive(Debug, Clone)]
pub struct Connector(mpsc::Sender<DuplexStream>);

impl Connector {
    /// Opens a connection. Cancel-safe: a dropped future has opened none.
    ///
    /// # Errors
    /// The listener is gone: [`ConnectionRefused`](io::ErrorKind::ConnectionRefused).
    pub async fn connect(&self) -> io::Result<DuplexStream> {
        self.connect_with(PIPE_BYTES).await
    }

    /// Opens a connection that holds so many bytes in each direction. Otherwise as
    /// [`connect`](Self::connect).
    ///
    /// # Errors
    /// The listener is gone.
    pub async fn connect_with(&self, bytes: usize) -> io::Result<DuplexStream> {
        let (near, far) = duplex(bytes);
        let refused = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "nothing listens");
        self.0.send(far).await.map_err(refused)?;
        Ok(near)
    }
}

/// Accepts the connections of its [`Connector`]s.
#[derive(Debug)]
pub struct MemoryListener(mpsc::Receiver<DuplexStream>);

impl Listener for MemoryListener {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Option<DuplexStream>> {
        Ok(self.0.recv().await)
    }
}
