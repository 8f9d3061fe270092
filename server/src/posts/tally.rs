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
#[derive(Default)]
pub(crate) struct Tally {
    response: UploadPostsResponse,
    /// The highest sequence of its posts.
    reached: u64,
}

impl Tally {
    /// Counts the log's outcome for a post.
    pub(crate) fn count(&mut self, index: i64, post_id: &str, outcome: Outcome) {
        match outcome {
            Outcome::Created(sequence) => {
                self.response.created_count += 1;
                self.reached(sequence);
            }
            Outcome::Duplicate(sequence) => {
                self.response.duplicate_count += 1;
                self.reached(sequence);
            }
            Outcome::IdTaken => self.reject(index, post_id, &id_taken(post_id)),
        }
    }

    /// Counts a refused post, and lists it if it is among the first.
    pub(crate) fn reject(&mut self, index: i64, post_id: &str, status: &Status) {
        self.response.reject_count += 1;
        self.response.rejects.push(UploadReject {
            index,
            post_id: codec::truncate(post_id, ID_CHARS).to_owned(),
            status: Some(error::embedded(status)),
        });
        // Sorted, because a taken id is found later than an invalid post.
        self.response.rejects.sort_by_key(|reject| reject.index);
        self.response.rejects.truncate(LISTED_REJECTS);
    }

    /// The highest sequence of the posts counted; 0 without any.
    pub(crate) fn highest(&self) -> u64 {
        self.reached
    }

    /// The summary. `position` is that of the [`highest`](Self::highest) sequence.
    pub(crate) fn into_response(
        self,
        position: LogPosition,
        complete: bool,
    ) -> UploadPostsResponse {
        UploadPostsResponse { complete, position: Some(position), ..self.response }
    }

    fn reached(&mut self, sequence: u64) {
        self.reached = self.reached.max(sequence);
    }
}
