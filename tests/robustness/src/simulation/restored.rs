//! The past of a log: it was copied, went on, and was restored from the copy.
//!
//! Posts that were stored after the copy are gone, and others will get their sequences. Readers
//! still have positions of both branches; what the server does with them is judged.

use std::{error::Error, sync::Arc};

use prost::Message as _;
use quartet::{
    encoded::PostRef,
    post::v1::{LogPosition, PostMessage, UploadPostsResponse},
};
use quartet_check::{history::What, record};
use quartet_log::{EmbeddedLog, LogOptions, NewPosts, PostLog as _, disk::memory::MemoryDisk};
use rand::{RngExt as _, rngs::StdRng};

use crate::{recorder::Recorder, workload};

/// A restored log.
pub(super) struct Restored {
    pub(super) disk: MemoryDisk,
    /// The posts of the copy.
    kept: Vec<PostMessage>,
    /// A position after each post of the old branch, those that are gone included.
    pub(super) positions: Arc<[LogPosition]>,
}

impl Restored {
    /// Stores a few posts, copies the disk, and stores a few more.
    pub(super) fn new(options: LogOptions, rng: &mut StdRng) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let disk = MemoryDisk::new();
            let log = EmbeddedLog::open(Arc::new(disk.clone()), options).await?;
            let kept = workload::posts("kept", rng.random_range(2..8), rng);
            append(&log, &kept).await?;
            let copy = disk.crash(rng);
            append(&log, &workload::posts("gone", rng.random_range(1..5), rng)).await?;
            let mut positions = Vec::new();
            for sequence in 1..=*log.head().borrow() {
                let (log_id, chain) = (log.log_id().to_owned(), log.chain(sequence).await?);
                let sequence = sequence.cast_signed();
                positions.push(LogPosition { log_id, sequence, chain });
            }
            log.close().await?;
            Ok(Self { disk: copy, kept, positions: positions.into() })
        })
    }

    /// Records the upload of the posts that were kept.
    pub(super) fn record(&self, recorder: &Recorder) {
        let client = recorder.client("before the copy");
        let call = client.open(record::upload());
        for post in &self.kept {
            call.note(record::sent(post));
        }
        let count = self.kept.len();
        call.note(What::Finished { post_count: count as u64 });
        call.note(record::uploaded(&UploadPostsResponse {
            created_count: count as i64,
            complete: true,
            position: self.positions.get(count - 1).cloned(),
            ..UploadPostsResponse::default()
        }));
        call.note(record::ended(Ok(())));
    }
}

async fn append(log: &EmbeddedLog, posts: &[PostMessage]) -> Result<(), Box<dyn Error>> {
    let mut batch = NewPosts::new(&Default::default(), 0);
    for post in posts {
        batch.push(&PostRef::decode(&post.encode_to_vec())?);
    }
    log.append(batch).await?.await?;
    Ok(())
}
