//! The records of TLS.

/// The first byte of every TLS connection: the type of a handshake record.
pub(crate) const HANDSHAKE_RECORD: u8 = 0x16;
