//! What is logged on this thread, where all of a test's server runs.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::sleep;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt as _};

use super::soon;

/// A log that is being written.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects what this filter lets through, until the guard is dropped.
    pub fn collect(filter: &str) -> (Self, impl Sized) {
        let log = Self::default();
        let lines = tracing_subscriber::fmt().without_time().with_level(false).with_ansi(false);
        let lines = lines.with_env_filter(EnvFilter::new(filter)).with_writer(log.clone());
        (log, lines.set_default())
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

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
