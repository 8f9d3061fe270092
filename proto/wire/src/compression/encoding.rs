//! The encodings, and the headers that name them.

use std::{fmt, str::FromStr};

use http::{HeaderMap, HeaderName};

/// The encoding of the messages of a request or a response.
pub const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// The encodings that the sender of this header can read.
pub const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// How messages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// The encodings that this build knows.
    #[cfg(feature = "compression")]
    pub const KNOWN: &[Self] = &[Self::Gzip, Self::Zstd];
    /// The encodings that this build knows.
    #[cfg(not(feature = "compression"))]
    pub const KNOWN: &[Self] = &[];

    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The encoding of this name, if this build knows it.
    pub fn named(name: &str) -> Option<Self> {
        Self::KNOWN.iter().copied().find(|encoding| encoding.name() == name)
    }

    /// The value of [`GRPC_ACCEPT_ENCODING`] of a side that reads all that this build knows.
    pub fn accepted() -> String {
        let names = Self::KNOWN.iter().map(|encoding| encoding.name());
        std::iter::once("identity").chain(names).collect::<Vec<_>>().join(",")
    }

    /// Whether headers offer to read this encoding.
    pub fn is_accepted(self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(GRPC_ACCEPT_ENCODING).iter();
        let mut names =
            values.filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(','));
        names.any(|name| name.trim() == self.name())
    }
}

/// A name that this build knows no encoding of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownEncoding;

impl fmt::Display for UnknownEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Encoding::KNOWN.iter().map(|encoding| encoding.name()).collect();
        match known[..] {
            [] => f.write_str("this build is without the feature `compression`"),
            _ => write!(f, "it is none of {}", known.join(", ")),
        }
    }
}

impl std::error::Error for UnknownEncoding {}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(name: &str) -> Result<Self, UnknownEncoding> {
        Self::named(name).ok_or(UnknownEncoding)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
