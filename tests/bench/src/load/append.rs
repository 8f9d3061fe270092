//! The limit for uploads: batches of posts, each made durable before the next, in this process and
//! without a network.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    time::Instant,
};

use hdrhistogram::Histogram;
use prost::Message as _;

use super::{
    latencies::latencies,
    list::expect,
    options::{Engine, Options},
};
use crate::{
    error::Result,
    posts,
    proto::PostMessage,
    usage::{Figures, Meter},
};

#[cfg(feature = "stores")]
mod stores;

pub(super) fn append(options: &Options) -> Result<Figures> {
    let batches = options.count.div_ceil(posts::BATCH);
    let mut latencies = latencies()?;
    let meter = Meter::start(std::process::id())?;
    let bytes = match options.engine {
        Engine::Raw => raw(&options.dir, batches, &mut latencies)?,
        #[cfg(feature = "stores")]
        Engine::Redb => stores::redb(&options.dir, batches, &mut latencies)?,
        #[cfg(feature = "stores")]
        Engine::Fjall => stores::fjall(&options.dir, batches, &mut latencies)?,
    };
    let figures = meter.stop(batches * posts::BATCH)?.with_latencies(&latencies);
    Ok(Figures { bytes, ..figures })
}

/// The same batch again and again: a file does not look into it, and a limit shall not pay for
/// making posts.
fn raw(dir: &Path, batches: u64, latencies: &mut Histogram<u64>) -> Result<u64> {
    let batch = batch();
    let path = dir.join("append");
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    for _ in 0..batches {
        let begun = Instant::now();
        file.write_all(&batch)?;
        file.sync_data()?;
        latencies.saturating_record(begun.elapsed().as_micros() as u64);
    }
    let bytes = batches * batch.len() as u64;
    expect("the length of the file", fs::metadata(&path)?.len(), bytes)?;
    Ok(bytes)
}

fn batch() -> Vec<u8> {
    let (mut bytes, mut post) = (Vec::new(), PostMessage::default());
    for index in 0..posts::BATCH {
        posts::fill(index, &mut post);
        post.create_time = Some(posts::create_time());
        bytes.extend_from_slice(&post.encode_to_vec());
    }
    bytes
}
