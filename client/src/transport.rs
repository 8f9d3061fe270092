//! What a channel connects through: a [`Dial`]. [`Dialer`] is the usual one; a simulator and tests bring theirs.

use std::{
    fmt,
    io::{self, ErrorKind},
    pin::Pin,
};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::dial::{Address, Dialer};

/// Bytes in two directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// An open connection, whatever carries it.
pub type BoxedIo = Box<dyn Io>;

/// The future of a [`Dial`].
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<BoxedIo>> + Send + 'a>>;

/// How connections are opened.
pub trait Dial: Send + Sync + 'static {
    /// Opens a connection. Dropping the future gives up; there is a limit of time around it.
    fn dial<'a>(&'a self, address: &'a Address) -> Dialing<'a>;
}

impl Dial for Dialer {
    fn dial<'a>(&'a self, address: &'a Address) -> Dialing<'a> {
        Box::pin(async { Ok(Box::new(self.dial(address).await?) as BoxedIo) })
    }
}

/// A function from an address to a stream is a way to open connections.
impl<F, R> Dial for F
where
    F: Fn(Address) -> R + Send + Sync + 'static,
    R: Future<Output = io::Result<BoxedIo>> + Send + 'static,
{
    fn dial<'a>(&'a self, address: &'a Address) -> Dialing<'a> {
        Box::pin(self(address.clone()))
    }
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}")]
pub struct ConnectError {
    /// Where to.
    pub address: Address,
    /// What went wrong.
    #[source]
    pub source: io::Error,
}

impl ConnectError {
    pub(crate) fn timed_out(address: Address) -> Self {
        let source = io::Error::new(ErrorKind::TimedOut, "connecting took too long");
        Self { address, source }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Name(name) => f.write_str(name),
        }
    }
}
