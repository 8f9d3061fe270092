//! Threads with one runtime each, over which connections are distributed.
//!
//! A connection stays on its core with all of its streams: they wake each other within their
//! thread, and their locks are uncontended. A server has many similar connections, so this gains
//! more than balancing the work would. A single connection uses one core.
//!
//! Without cores, as in tests and simulations, tasks run on the calling runtime.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    task,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Where connections run. The default is the calling runtime.
#[derive(Debug, Clone, Default)]
pub struct Cores(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    runtimes: Vec<Handle>,
    next: AtomicUsize,
}

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

impl Cores {
    /// The number of cores: at least one.
    pub fn count(&self) -> usize {
        self.0.runtimes.len().max(1)
    }

    /// The number of the calling core; 0 on any other thread.
    pub fn here() -> usize {
        HERE.get()
    }

    /// Runs a task on the next core, in turn.
    pub fn spawn(
        &self,
        tasks: &TaskTracker,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> task::JoinHandle<()> {
        self.spawn_on(self.0.next.fetch_add(1, Ordering::Relaxed), tasks, task)
    }

    /// Runs a task on the core with this number, modulo the number of cores.
    pub fn spawn_on(
        &self,
        core: usize,
        tasks: &TaskTracker,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> task::JoinHandle<()> {
        match self.0.runtimes.get(core % self.count()) {
            Some(runtime) => tasks.spawn_on(task, runtime),
            None => tasks.spawn(task),
        }
    }
}

/// The threads behind [`Cores`]. Dropping this drops their remaining tasks, ends them, and blocks
/// until they have ended.
#[derive(Debug)]
pub struct Threads {
    cores: Cores,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts this many threads.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (mut runtimes, mut threads) = (Vec::new(), Vec::new());
        let started = stop.clone().drop_guard();
        for core in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtimes.push(runtime.handle().clone());
            let stopped = stop.clone().cancelled_owned();
            let thread = thread::Builder::new().name(format!("core-{core}"));
            threads.push(thread.spawn(move || {
                HERE.set(core);
                runtime.block_on(stopped);
            })?);
        }
        let cores = Cores(Arc::new(Inner { runtimes, next: AtomicUsize::new(0) }));
        // All have started. After an error, the guard would have ended the others.
        started.disarm();
        Ok(Self { cores, stop, threads })
    }

    /// A handle for spawning tasks on the threads.
    pub fn cores(&self) -> Cores {
        self.cores.clone()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            // The error is a panic, which the hook has reported.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use super::*;

    #[tokio::test]
    async fn every_core_gets_as_many_tasks_and_knows_its_number() {
        let threads = Threads::start(3).unwrap();
        let (tasks, seen) = (TaskTracker::new(), Arc::new(Mutex::new(BTreeMap::new())));
        for _ in 0..30 {
            let seen = seen.clone();
            threads.cores().spawn(&tasks, async move {
                *seen.lock().unwrap().entry(Cores::here()).or_insert(0) += 1;
            });
        }
        tasks.close();
        tasks.wait().await;
        assert_eq!(*seen.lock().unwrap(), BTreeMap::from([(0, 10), (1, 10), (2, 10)]));
    }

    #[tokio::test]
    async fn without_cores_tasks_run_where_they_are_started() {
        let (tasks, here) = (TaskTracker::new(), thread::current().id());
        Cores::default().spawn(&tasks, async move {
            assert_eq!(thread::current().id(), here);
        });
        tasks.close();
        tasks.wait().await;
        assert_eq!(Cores::default().count(), 1);
    }
}
