//! The injected faults.

use std::{error::Error, io, time::Duration};

use quartet_log::disk::memory::Fault as DiskFault;
use rand::{Rng, RngExt as _};

use super::{
    servers::State,
    world::{GROUPS, Simulation, TICK},
};

/// How long a fault waits for its precondition: a connection, an operation of the disk, a second
/// segment.
const DUE: Duration = Duration::from_secs(20);

/// A kind of fault. It waits for its precondition, and is over when its injection returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing gets through between a group of clients and the server.
    Partition,
    /// Nothing gets through in one direction.
    OneWay,
    /// Messages are delayed.
    Hold,
    /// The connections of a group are reset.
    Cut,
    /// The server's process ends; its machine keeps running.
    Kill,
    /// The server's machine loses power.
    PowerLoss,
    /// The machine loses power in the middle of an operation of the disk.
    PowerLossInWrite,
    /// An operation of the disk fails, a write or an fsync; the server is restarted later.
    DiskError,
    /// The disk is full; the server is restarted later.
    DiskFull,
    /// A byte of the log flips while the server is down. The server must refuse to start until it
    /// is restored.
    Flip,
    /// The User service is unreachable, and the Post server loses its cached names.
    UsersGone,
    /// The server is drained and started again.
    Drain,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Fault; 12] = [
        Fault::Partition,
        Fault::OneWay,
        Fault::Hold,
        Fault::Cut,
        Fault::Kill,
        Fault::PowerLoss,
        Fault::PowerLossInWrite,
        Fault::DiskError,
        Fault::DiskFull,
        Fault::Flip,
        Fault::UsersGone,
        Fault::Drain,
    ];

    /// A random kind.
    pub(super) fn any(rng: &mut impl Rng) -> Self {
        Self::ALL[rng.random_range(0..Self::ALL.len())]
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Partition => "partition",
            Fault::OneWay => "one-way partition",
            Fault::Hold => "held link",
            Fault::Cut => "cut connections",
            Fault::Kill => "server killed",
            Fault::PowerLoss => "power loss",
            Fault::PowerLossInWrite => "power loss in a write",
            Fault::DiskError => "failed write or fsync",
            Fault::DiskFull => "full disk",
            Fault::Flip => "flipped byte",
            Fault::UsersGone => "User service gone",
            Fault::Drain => "server drained",
        }
    }
}

impl Simulation {
    /// Injects a fault, and repairs what it broke.
    pub(super) fn inject(&mut self, fault: Fault) -> turmoil::Result {
        let fired = match fault {
            Fault::Partition => {
                let (group, fired) = self.connected_group()?;
                self.sim.partition(group, "posts");
                self.pass_up_to(300, 5000)?;
                self.sim.repair(group, "posts");
                fired
            }
            Fault::OneWay => {
                let (group, fired) = self.connected_group()?;
                let to_server = self.rng.random_bool(0.5);
                let (from, to) = if to_server { (group, "posts") } else { ("posts", group) };
                self.sim.partition_oneway(from, to);
                self.pass_up_to(300, 5000)?;
                self.sim.repair_oneway(from, to);
                fired
            }
            Fault::Hold => {
                let (group, fired) = self.connected_group()?;
                self.sim.hold(group, "posts");
                self.pass_up_to(100, 5000)?;
                self.sim.release(group, "posts");
                fired
            }
            Fault::Cut => {
                let (group, fired) = self.connected_group()?;
                self.cuts[group].cut();
                fired
            }
            Fault::Kill => self.restart(false)?,
            Fault::PowerLoss => self.restart(true)?,
            Fault::PowerLossInWrite => {
                let fired = self.fail_disk(DiskFault::PowerLoss)?;
                self.restart(true)? && fired
            }
            Fault::DiskError => self.disk_fails(io::ErrorKind::Other)?,
            Fault::DiskFull => self.disk_fails(io::ErrorKind::StorageFull)?,
            Fault::Flip => self.flip()?,
            Fault::UsersGone => {
                self.sim.crash("users");
                let fired = self.restart(false)?;
                self.pass_up_to(300, 5000)?;
                self.sim.bounce("users");
                fired
            }
            Fault::Drain => self.drain()?,
        };
        self.count(fault, fired);
        Ok(())
    }

    fn count(&mut self, fault: Fault, fired: bool) {
        let count = self.faults.entry(fault.name().to_owned()).or_default();
        count.armed += 1;
        count.fired += u64::from(fired);
    }

    /// A random group, once it has a connection, and whether it has one.
    fn connected_group(&mut self) -> Result<(&'static str, bool), Box<dyn Error>> {
        let group = GROUPS[self.rng.random_range(0..GROUPS.len())];
        let connected = self.pass_until(DUE, |it| it.cuts[group].is_open())?;
        Ok((group, connected))
    }

    /// Ends the server's process at once. The connections are reset here: otherwise their ends
    /// would come in the order in which tokio drops tasks, which depends on how many tasks other
    /// runs in this process had.
    fn crash_posts(&mut self) {
        for group in GROUPS {
            self.cuts[group].cut();
            self.sim.partition(group, "posts");
        }
        self.sim.crash("posts");
        for group in GROUPS {
            self.sim.repair(group, "posts");
        }
    }

    /// Ends the server's process, and its machine if `power`, and starts it again. Returns whether
    /// it had been running.
    fn restart(&mut self, power: bool) -> Result<bool, Box<dyn Error>> {
        let ran = self.posts.is_serving();
        self.crash_posts();
        if power {
            let found = self.posts.disk().crash(&mut self.rng);
            self.posts.replace_disk(found);
        }
        self.pass_up_to(0, 2000)?;
        self.start()?;
        Ok(ran)
    }

    fn start(&mut self) -> turmoil::Result {
        self.posts.set(State::Starting);
        self.sim.bounce("posts");
        let started = |it: &mut Self| !matches!(it.posts.state(), State::Starting);
        self.pass_until(Duration::from_secs(1), started)?;
        match self.posts.state() {
            State::Refused(why) => Err(format!("the server did not start again: {why}").into()),
            _ => Ok(()),
        }
    }

    /// Fails one of the next operations of the disk, and waits until that has happened.
    fn fail_disk(&mut self, fault: DiskFault) -> Result<bool, Box<dyn Error>> {
        let disk = self.posts.disk();
        let after = self.rng.random_range(0..6);
        let due = disk.operations() + after;
        disk.arm(after, fault);
        self.pass_until(DUE, |_| disk.operations() > due)
    }

    fn disk_fails(&mut self, error: io::ErrorKind) -> Result<bool, Box<dyn Error>> {
        let fired = self.fail_disk(DiskFault::Error(error))?;
        self.pass_up_to(0, 2000)?;
        let power = self.rng.random_bool(0.5);
        Ok(self.restart(power)? && fired)
    }

    /// Flips a byte before the last segment, where no torn write is possible.
    fn flip(&mut self) -> Result<bool, Box<dyn Error>> {
        let disk = self.posts.disk();
        if !self.pass_until(DUE, |_| disk.segments().len() > 1)? {
            return Ok(false);
        }
        self.crash_posts();
        let earlier = disk.segments().len() - 1;
        let name = disk.segments().swap_remove(self.rng.random_range(0..earlier));
        let whole = disk.content(&name).unwrap_or_default();
        let mut flipped = whole.clone();
        flipped[self.rng.random_range(0..whole.len())] ^= 1 << self.rng.random_range(0..8);
        disk.replace(&name, flipped);
        self.posts.set(State::Starting);
        self.sim.bounce("posts");
        self.pass(TICK * 4)?;
        let refused = matches!(self.posts.state(), State::Refused(why) if why.contains(&name));
        disk.replace(&name, whole);
        self.start()?;
        Ok(refused)
    }

    fn drain(&mut self) -> Result<bool, Box<dyn Error>> {
        let State::Serving(stop) = self.posts.state() else { return Ok(false) };
        stop.cancel();
        let ended = |it: &mut Self| matches!(it.posts.state(), State::Ended);
        let fired = self.pass_until(Duration::from_secs(8), ended)?;
        self.start()?;
        Ok(fired)
    }
}
