//! What is logged on this thread, where all of a test's server runs.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use tokio::time::sleep;
use tracing_subscriber::{
    filter::{LevelFilter, dynamic_filter_fn},
    fmt::{self, MakeWriter},
    layer::{Layer as _, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use super::wait::soon;

thread_local! {
    /// The log of the test that runs here, and what it wants to see.
    static HERE: RefCell<Option<(LevelFilter, Log)>> = const { RefCell::new(None) };
}

/// A log that is being written.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

/// Collects until it is dropped.
pub struct Collecting;

impl Drop for Collecting {
    fn drop(&mut self) {
        HERE.take();
    }
}

impl Log {
    /// Collects the access log of this thread, up to this level.
    ///
    /// There is one subscriber for all tests: those that come and go race for what each place in the code is told.
    pub fn collect(level: LevelFilter) -> (Self, Collecting) {
        static SUBSCRIBED: Once = Once::new();
        SUBSCRIBED.call_once(|| {
            let wanted = dynamic_filter_fn(|event, _| {
                let wanted = |here: &Option<(LevelFilter, Log)>| match here {
                    Some((level, _)) => event.target() == "access" && event.level() <= level,
                    None => false,
                };
                HERE.with_borrow(wanted)
            });
            let lines = fmt::layer().without_time().with_level(false).with_ansi(false);
            let lines = lines.with_writer(Here);
            let wanted = wanted.with_max_level_hint(LevelFilter::DEBUG);
            tracing_subscriber::registry().with(lines.with_filter(wanted)).init();
        });
        let log = Self::default();
        HERE.set(Some((level, log.clone())));
        (log, Collecting)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines of calls that have ended, in that order.
    pub fn ended(&self) -> Vec<Ended> {
        self.text().lines().filter_map(Ended::parse).collect()
    }

    /// The same, once there are so many.
    pub async fn reaches(&self, count: usize) -> Vec<Ended> {
        soon(async {
            while self.ended().len() < count {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        self.ended()
    }
}

/// A line of the access log.
#[derive(Debug)]
pub struct Ended {
    pub method: String,
    pub fields: BTreeMap<String, String>,
}

impl Ended {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("access: ")?.split(' ');
        let method = words.next()?.to_owned();
        let field = |word: &str| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        let fields: BTreeMap<_, _> = words.filter_map(field).collect();
        fields.contains_key("status").then_some(Self { method, fields })
    }

    /// "" if the line has none of this name.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub fn number(&self, name: &str) -> u64 {
        self.field(name).parse().unwrap_or_else(|_| panic!("{name} is no number: {self:?}"))
    }

    /// The method and how the call ended.
    pub fn outcome(&self) -> (&str, &str, &str) {
        (&self.method, self.field("status"), self.field("reason"))
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to the log of the thread that writes.
struct Here;

impl<'a> MakeWriter<'a> for Here {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        HERE.with_borrow(|here| here.as_ref().map(|(_, log)| log.clone())).unwrap_or_default()
    }
}
