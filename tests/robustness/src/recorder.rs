//! Writes down what clients do and see, in one order.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use quartet_check::history::{Ended, Event, Follows, Opened, Outcome, Rpc, Uploaded, What};

/// What happened so far. Clones write the same record.
///
/// It puts events in one order. That order is sound if all clients run on one thread, because then
/// nothing happens between what a client does and its writing it down.
#[derive(Clone)]
pub struct Recorder {
    events: Arc<Mutex<Vec<Event>>>,
    progress: Arc<Mutex<Progress>>,
    clock: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("events", &self.events.lock().len())
            .finish_non_exhaustive()
    }
}

/// How far everybody is.
#[derive(Debug, Default, Clone)]
pub struct Progress {
    /// The newest sequence that a writer was told of.
    pub acknowledged: i64,
    /// The last position of each reader that stays at the head.
    pub readers: BTreeMap<String, i64>,
    /// How many events there are.
    pub events: u64,
    /// How many calls the server ended, by the reason that it gave.
    pub ended: BTreeMap<String, u64>,
}

impl Recorder {
    /// A record whose times come from this clock.
    pub fn new(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { events: Arc::default(), progress: Arc::default(), clock: Arc::new(clock) }
    }

    /// The pen of a client.
    pub fn client(&self, name: impl Into<String>) -> Client {
        let calls = Arc::new(AtomicU32::new(0));
        Client { recorder: self.clone(), name: name.into().into(), calls }
    }

    /// How far everybody is.
    pub fn progress(&self) -> Progress {
        self.progress.lock().clone()
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    fn note(&self, client: &str, call: u32, what: What) {
        self.progress.lock().note(client, &what);
        let at = (self.clock)().as_micros() as u64;
        self.events.lock().push(Event { at, client: client.to_owned(), call, what });
    }
}

impl Progress {
    fn note(&mut self, client: &str, what: &What) {
        self.events += 1;
        match what {
            What::Opened(Opened { rpc: Rpc::List, stays: true, .. }) => {
                self.readers.entry(client.to_owned()).or_default();
            }
            What::Receipt {
                outcome: Outcome::Created { sequence } | Outcome::Duplicate { sequence },
                ..
            } => self.acknowledged = self.acknowledged.max(*sequence),
            What::Uploaded(Uploaded { position, .. }) => {
                self.acknowledged = self.acknowledged.max(position.sequence);
            }
            What::Follows { follows, .. } if *follows == Follows::default() => {
                self.readers.remove(client);
            }
            What::Follows { position, .. } => {
                self.readers.insert(client.to_owned(), position.sequence);
            }
            What::Posts { position, .. } | What::Bookmark { position, .. } => {
                if let Some(reader) = self.readers.get_mut(client) {
                    *reader = position.sequence;
                }
            }
            What::Ended(Ended { reason, .. }) if !reason.is_empty() => {
                *self.ended.entry(reason.clone()).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Whether every reader that stays is at or past a sequence.
    pub fn all_at(&self, sequence: i64) -> bool {
        self.readers.values().all(|position| *position >= sequence)
    }
}

/// One client's pen. Clones write for the same client.
#[derive(Debug, Clone)]
pub struct Client {
    recorder: Recorder,
    name: Arc<str>,
    calls: Arc<AtomicU32>,
}

impl Client {
    /// Begins a call.
    pub fn open(&self, what: What) -> Call {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let call = Call { client: self.clone(), number };
        call.note(what);
        call
    }
}

/// One call's pen.
#[derive(Debug, Clone)]
pub struct Call {
    client: Client,
    number: u32,
}

impl Call {
    /// Writes down what happened on it.
    pub fn note(&self, what: What) {
        self.client.recorder.note(&self.client.name, self.number, what);
    }
}
