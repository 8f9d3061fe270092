//! What a process used, read from `/proc`.

use std::{fs, time::Instant};

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The kernel counts CPU time for `stat` in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one load measured. The runs hand it over as JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Posts, calls, deliveries or feeds.
    pub(crate) count: u64,
    /// Bytes of posts that a writer sent.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Seconds of CPU.
    pub(crate) server_cpu: f64,
    pub(crate) load_cpu: f64,
    /// Memory of the server before and after the work, and the most that it ever was.
    pub(crate) before_kib: u64,
    pub(crate) after_kib: u64,
    pub(crate) peak_kib: u64,
    /// Bytes that the server sent to its disk.
    pub(crate) written: u64,
    /// The part of the deliveries that arrived, of a feed.
    pub(crate) delivered: Option<f64>,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

/// Runs from the start of the work to its end.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: u32,
    begun: Instant,
    server: Cpu,
    own: Cpu,
    written: u64,
    before_kib: u64,
}

impl Meter {
    pub(crate) fn start(pid: u32) -> Result<Self> {
        Ok(Self {
            pid,
            server: Cpu::of(pid)?,
            own: Cpu::of(std::process::id())?,
            written: written(pid)?,
            before_kib: memory(pid, "VmRSS:")?,
            begun: Instant::now(),
        })
    }

    pub(crate) fn stop(self, count: u64) -> Result<Figures> {
        Ok(Figures {
            count,
            seconds: self.begun.elapsed().as_secs_f64(),
            server_cpu: Cpu::of(self.pid)?.since(self.server),
            load_cpu: Cpu::of(std::process::id())?.since(self.own),
            written: written(self.pid)? - self.written,
            before_kib: self.before_kib,
            after_kib: memory(self.pid, "VmRSS:")?,
            peak_kib: memory(self.pid, "VmHWM:")?,
            ..Figures::default()
        })
    }
}

/// CPU time, user and system, counted in two ways.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    /// Of all threads there ever were, in hundredths of a second.
    coarse: f64,
    /// Of the threads there are, in nanoseconds.
    fine: f64,
}

impl Cpu {
    fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name stands in parentheses and may hold anything. After it come the state and 10
        // numbers, then the times.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
        let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        let coarse = times.sum::<Result<f64, _>>()? / TICKS_PER_SECOND;
        let mut fine = 0.0;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the two calls.
            if let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) {
                fine += line.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9;
            }
        }
        Ok(Self { coarse, fine })
    }

    /// The fine count, unless threads ended and took theirs with them, or the kernel does not keep
    /// it.
    fn since(self, before: Self) -> f64 {
        let (coarse, fine) = (self.coarse - before.coarse, self.fine - before.fine);
        if (coarse - fine).abs() > 2.5 / TICKS_PER_SECOND { coarse } else { fine }
    }
}

/// KiB of memory.
fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next());
    Ok(figure.ok_or_else(|| format!("no {name} in status"))?.parse()?)
}

fn written(pid: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("no write_bytes in io")?.trim().parse()?)
}
