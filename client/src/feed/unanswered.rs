//! The requests of a feed that have no answer yet.

use std::collections::VecDeque;

use quartet::limits;

use super::event::FeedRequest;

/// Requests without an answer, oldest first.
///
/// Those that went out on the present call stand before those that wait to be sent. At most
/// [`limits::OWED_RECEIPTS`] are accepted, so a server that does not answer costs no more memory.
#[derive(Debug, Default)]
pub(super) struct UnansweredRequests {
    queue: VecDeque<UnansweredRequest>,
    /// How many of them, from the front, went out on the present call.
    sent: usize,
}

/// A request without an answer.
#[derive(Debug, Clone)]
pub(super) struct UnansweredRequest {
    pub(super) request: FeedRequest,
    /// Whether this library made it, to join the tags of the previous call again. The caller of the
    /// feed sees neither this request nor its answer.
    pub(super) is_rejoin: bool,
}

impl UnansweredRequests {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < limits::OWED_RECEIPTS
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.queue.len()
    }

    /// Adds a request of the caller.
    pub(super) fn push(&mut self, request: FeedRequest) {
        self.queue.push_back(UnansweredRequest { request, is_rejoin: false });
    }

    /// Prepares for a new call: `rejoin` goes first, then everything without an answer.
    pub(super) fn send_again(&mut self, rejoin: Option<FeedRequest>) {
        self.sent = 0;
        self.queue.retain(|unanswered| !unanswered.is_rejoin);
        if let Some(request) = rejoin {
            self.queue.push_front(UnansweredRequest { request, is_rejoin: true });
        }
    }

    /// Marks the next request as sent and returns it.
    pub(super) fn send_next(&mut self) -> Option<UnansweredRequest> {
        let next = self.queue.get(self.sent)?.clone();
        self.sent += 1;
        Some(next)
    }

    /// Removes the request that an answer belongs to: the oldest one of its kind that was sent.
    pub(super) fn answer(
        &mut self,
        is_kind: impl Fn(&FeedRequest) -> bool,
    ) -> Option<UnansweredRequest> {
        let mut sent = self.queue.iter().take(self.sent);
        let index = sent.position(|unanswered| is_kind(&unanswered.request))?;
        self.sent -= 1;
        self.queue.remove(index)
    }
}
