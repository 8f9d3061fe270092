//! Bugs of code that writes files.

use std::io;

use super::bug::Bug;
use crate::intercepted::Intercept;

impl Intercept for Bug {
    fn write(&self, bytes: &[u8], write: &dyn Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let written = write(bytes);
        if *self == Bug::FailedWriteIgnored { Ok(()) } else { written }
    }

    fn sync(&self, sync: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        match self {
            Bug::SyncDoesNothing => Ok(()),
            Bug::FailedSyncIgnored => sync().or(Ok(())),
            _ => sync(),
        }
    }
}
