//! A history, indexed for the predicates.

use std::collections::BTreeMap;

use crate::history::{
    Ended, Event, Follows, History, Opened, Outcome, Position, Post, Rpc, Uploaded, What,
};

/// The number of an event in its history: the order of events.
pub(crate) type Index = usize;

/// A history by calls and by clients.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) history: &'a History,
    /// In the order in which they were opened.
    pub(crate) calls: Vec<Call<'a>>,
    /// The posts of the log, by id.
    pub(crate) stored: BTreeMap<&'a str, &'a Post>,
}

/// A call, from its start.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) client: &'a str,
    pub(crate) number: u32,
    pub(crate) begun: Index,
    pub(crate) opened: &'a Opened,
    /// The events of the call after its start.
    pub(crate) events: Vec<(Index, &'a What)>,
}

/// A message that a reader received, and the filter in force when it arrived.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) index: Index,
    pub(crate) posts: &'a [Post],
    pub(crate) position: &'a Position,
    /// Whether it says that the reader is complete, up to the head at that time.
    pub(crate) complete: bool,
}

/// The filter of a reader from a position on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InForce<'a> {
    pub(crate) after: i64,
    pub(crate) follows: &'a Follows,
}

impl<'a> View<'a> {
    /// Whether the chain value of a position, if it has one, is that of the log there. A log that
    /// was read over its service has no values to compare with.
    pub(crate) fn is_of_branch(&self, position: &Position) -> bool {
        let log = &self.history.log;
        let index = usize::try_from(position.sequence - 1).ok();
        let here = index.and_then(|index| log.get(index)).map(|post| post.chain);
        let has_values = log.first().is_some_and(|post| post.chain != 0);
        !has_values || position.chain == 0 || here == Some(position.chain)
    }

    pub(crate) fn new(history: &'a History) -> Self {
        let mut calls: Vec<Call<'_>> = Vec::new();
        let mut open: BTreeMap<(&str, u32), usize> = BTreeMap::new();
        for (index, Event { client, call, what, .. }) in history.events.iter().enumerate() {
            if let What::Opened(opened) = what {
                open.insert((client, *call), calls.len());
                let (client, number, begun) = (client.as_str(), *call, index);
                calls.push(Call { client, number, begun, opened, events: Vec::new() });
            } else if let Some(call) = open.get(&(client.as_str(), *call)) {
                calls[*call].events.push((index, what));
            }
        }
        // In reverse, so that of two posts with one id the first stays.
        let newest_first = history.log.iter().rev();
        let stored = newest_first.map(|post| (post.post_id.as_str(), post)).collect();
        Self { history, calls, stored }
    }

    /// The reading calls, by client.
    pub(crate) fn readers(&self) -> BTreeMap<&'a str, Vec<&Call<'a>>> {
        let mut readers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.opened.rpc != Rpc::Upload) {
            readers.entry(call.client).or_default().push(call);
        }
        readers
    }

    /// The post with a sequence.
    pub(crate) fn at(&self, sequence: i64) -> Option<&'a Post> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.history.log.get(index)
    }

    /// The sequence of a post with this id and content.
    pub(crate) fn place(&self, post: &Post) -> Option<i64> {
        let stored = self.stored.get(post.post_id.as_str())?;
        stored.is_same(post).then_some(stored.sequence)
    }

    /// The posts after one position, up to another.
    pub(crate) fn between(&self, after: i64, to: i64) -> &'a [Post] {
        let clamp = |sequence: i64| (sequence.max(0) as usize).min(self.history.log.len());
        self.history.log.get(clamp(after)..clamp(to)).unwrap_or_default()
    }

    /// The largest sequence acknowledged before each event; the last entry covers all events.
    pub(crate) fn acknowledged(&self) -> Vec<i64> {
        let mut newest = 0;
        let mut before = Vec::with_capacity(self.history.events.len() + 1);
        for event in &self.history.events {
            before.push(newest);
            newest = newest.max(acknowledged_by(&event.what));
        }
        before.push(newest);
        before
    }
}

/// The largest sequence that an event acknowledges to a writer.
fn acknowledged_by(what: &What) -> i64 {
    match what {
        What::Receipt {
            outcome: Outcome::Created { sequence } | Outcome::Duplicate { sequence },
            ..
        } => *sequence,
        What::Uploaded(Uploaded { position, .. }) => position.sequence,
        _ => 0,
    }
}

impl<'a> Call<'a> {
    /// The posts that the client sent, each with the index of its event.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (Index, &'a Post)> {
        self.events.iter().filter_map(|(index, what)| match what {
            What::Sent { post } => Some((*index, post)),
            _ => None,
        })
    }

    /// The receipts that arrived, each with the index of its event.
    pub(crate) fn receipts(&self) -> impl Iterator<Item = (Index, &'a str, &'a Outcome)> {
        self.events.iter().filter_map(|(index, what)| match what {
            What::Receipt { post_id, outcome } => Some((*index, post_id.as_str(), outcome)),
            _ => None,
        })
    }

    /// The answer to an upload, with the index of its event.
    pub(crate) fn uploaded(&self) -> Option<(Index, &'a Uploaded)> {
        self.events.iter().find_map(|(index, what)| match what {
            What::Uploaded(uploaded) => Some((*index, uploaded)),
            _ => None,
        })
    }

    /// How the call ended, if it did, with the index of its event.
    pub(crate) fn ended(&self) -> Option<(Index, &'a Ended)> {
        self.events.iter().find_map(|(index, what)| match what {
            What::Ended(ended) => Some((*index, ended)),
            _ => None,
        })
    }

    /// The position from which the first message counts: the start that the call requested, or the
    /// one that the answer to a feed's first join names. `None` for a feed without a join in force;
    /// its positions have no meaning.
    pub(crate) fn start(&self) -> Option<i64> {
        if self.opened.rpc == Rpc::Feed {
            return self.in_force().first().map(|in_force| in_force.after);
        }
        Some(self.opened.after.as_ref().map_or(0, |position| position.sequence))
    }

    /// The filters in force, each with its position, in order.
    pub(crate) fn in_force(&self) -> Vec<InForce<'a>> {
        if self.opened.rpc != Rpc::Feed {
            return vec![InForce { after: i64::MIN, follows: &self.opened.follows }];
        }
        let changes = self.events.iter().filter_map(|(_, what)| match what {
            What::Follows { follows, position } => {
                Some(InForce { after: position.sequence, follows })
            }
            _ => None,
        });
        changes.skip_while(|change| change.follows.is_nothing()).collect()
    }

    /// The messages with posts or a position, from the first that counts.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'a>> {
        let feed = self.opened.rpc == Rpc::Feed;
        let counts = move |(_, what): &&(Index, &What)| match what {
            What::Follows { follows, .. } => !follows.is_nothing(),
            What::Posts { .. } => true,
            _ => !feed,
        };
        self.events.iter().skip_while(move |event| !counts(event)).filter_map(|(index, what)| {
            let position = what.position()?;
            let (posts, complete) = match what {
                What::Posts { posts, complete, .. } => (posts.as_slice(), *complete),
                What::Bookmark { caught_up, .. } => (&[][..], *caught_up),
                _ => (&[][..], false),
            };
            Some(Message { index: *index, posts, position, complete })
        })
    }

    /// The posts that arrived, each with the index of its event.
    pub(crate) fn delivered(&self) -> impl Iterator<Item = (Index, &'a Post)> {
        self.messages()
            .flat_map(|message| message.posts.iter().map(move |post| (message.index, post)))
    }

    /// The last position that arrived, or the start of the call.
    pub(crate) fn position(&self) -> Option<i64> {
        self.messages().last().map(|message| message.position.sequence).or_else(|| self.start())
    }
}

impl Follows {
    pub(crate) fn is_nothing(&self) -> bool {
        !self.all_tags && self.tags.is_empty()
    }
}
