//! Reads runs of records from segment files and checks every record.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::index::{RecordEntry, Run};
use crate::{
    disk::{Disk, DiskFile},
    error::LogError,
    records::Record,
    segment::{self, ValidRecord},
};

/// [`DiskFile::read_exact_at`] or [`DiskFile::read_cached_at`].
pub(super) type ReadAt = fn(&(dyn DiskFile + 'static), &mut [u8], u64) -> io::Result<()>;

/// Reads records, one read per run, up to the first damaged one. It is an error only if no record
/// precedes it.
pub(super) fn read_runs(disk: &dyn Disk, runs: &[Run]) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    for run in runs {
        let read = open_segment(disk, run.base).and_then(|file| {
            let bytes = read_bytes(&*file, run, <dyn DiskFile>::read_exact_at)?;
            decode_run(run, &bytes, &mut records)
        });
        match read {
            Err(damage @ LogError::Damaged { .. }) => {
                tracing::error!(%damage, "a read met damage");
                return if records.is_empty() { Err(damage) } else { Ok(records) };
            }
            result => result?,
        }
    }
    Ok(records)
}

/// Reads all records of a run.
pub(super) fn read_run(
    file: &(dyn DiskFile + 'static),
    run: &Run,
    read: ReadAt,
) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::with_capacity(run.records.len());
    decode_run(run, &read_bytes(file, run, read)?, &mut records)?;
    Ok(records)
}

/// Opens the segment that starts with sequence `base`.
pub(super) fn open_segment(disk: &dyn Disk, base: u64) -> Result<Arc<dyn DiskFile>, LogError> {
    disk.open(&segment::file_name(base)).map_err(|error| read_failed(base, 0, error))
}

fn read_bytes(file: &(dyn DiskFile + 'static), run: &Run, read: ReadAt) -> Result<Bytes, LogError> {
    let start = run.records[0].start;
    let mut bytes = vec![0; (run.end - start) as usize];
    read(file, &mut bytes, u64::from(start))
        .map_err(|error| read_failed(run.base, start, error))?;
    Ok(bytes.into())
}

/// Adds the posts in the bytes of a run, up to the first damaged one.
fn decode_run(run: &Run, bytes: &Bytes, records: &mut Vec<Record>) -> Result<(), LogError> {
    for (sequence, RecordEntry { start, user }) in (run.first..).zip(run.records.iter().copied()) {
        let at = (start - run.records[0].start) as usize;
        let ValidRecord { post, chain, .. } = segment::decode_record(&bytes[at..], sequence)
            .ok_or_else(|| damaged(run.base, start, segment::BAD_RECORD.to_owned()))?;
        let post = bytes.slice(at + post.start..at + post.end);
        records.push(Record { sequence, user, chain, post });
    }
    Ok(())
}

fn damaged(base: u64, offset: u32, what: String) -> LogError {
    LogError::Damaged { file: segment::file_name(base), offset: u64::from(offset), what }
}

/// The error of a failed read: bytes that are missing are damage, anything else is a disk failure.
fn read_failed(base: u64, offset: u32, error: io::Error) -> LogError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => {
            damaged(base, offset, error.to_string())
        }
        _ => error.into(),
    }
}
