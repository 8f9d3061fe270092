//! Counts the outcomes of an upload for its summary.

use quartet::{
    codec,
    limits::{ID_CHARS, LISTED_REJECTS},
    post::v1::{LogPosition, UploadPostsResponse, UploadReject},
};
use quartet_log::Outcome;
use tonic::Status;

use super::store::id_taken;
use crate::error;

/// The outcomes of an upload's posts so far.
pub(crate) struct Tally(UploadPostsResponse);

impl Tally {
    /// An upload without posts so far. `start` is the position before the first.
    pub(crate) fn new(start: LogPosition) -> Self {
        Self(UploadPostsResponse { position: Some(start), ..UploadPostsResponse::default() })
    }

    /// Counts the log's outcome for a post.
    pub(crate) fn count(&mut self, index: i64, post_id: &str, outcome: Outcome) {
        match outcome {
            Outcome::Created(sequence) => {
                self.0.created_count += 1;
                self.reached(sequence);
            }
            Outcome::Duplicate(sequence) => {
                self.0.duplicate_count += 1;
                self.reached(sequence);
            }
            Outcome::IdTaken => self.reject(index, post_id, &id_taken(post_id)),
        }
    }

    /// Counts a refused post, and lists it if it is among the first.
    pub(crate) fn reject(&mut self, index: i64, post_id: &str, status: &Status) {
        self.0.reject_count += 1;
        self.0.rejects.push(UploadReject {
            index,
            post_id: codec::truncate(post_id, ID_CHARS).to_owned(),
            status: Some(error::embedded(status)),
        });
        // Sorted, because a taken id is found later than an invalid post.
        self.0.rejects.sort_by_key(|reject| reject.index);
        self.0.rejects.truncate(LISTED_REJECTS);
    }

    /// The summary.
    pub(crate) fn into_response(self, complete: bool) -> UploadPostsResponse {
        UploadPostsResponse { complete, ..self.0 }
    }

    fn reached(&mut self, sequence: u64) {
        let position = self.0.position.get_or_insert_with(LogPosition::default);
        position.sequence = position.sequence.max(sequence as i64);
    }
}
