//! What goes wrong on purpose.

use std::{io, time::Duration};

use quartet_server::log::disk::Fault as DiskFault;
use rand::{Rng, RngExt as _};

use super::{GROUPS, Simulation, TICK, servers::State};

/// A kind of fault. Each is over when its injection returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing gets through between a group of clients and the server.
    Partition,
    /// Nothing gets through in one direction.
    OneWay,
    /// Everything gets through, later.
    Hold,
    /// The connections of a group are reset.
    Cut,
    /// The server's process ends; its machine goes on.
    Kill,
    /// The server's machine loses power.
    PowerLoss,
    /// It loses power in the middle of an operation of the disk.
    PowerLossInWrite,
    /// An operation of the disk fails, a write or an fsync; the server is restarted later.
    DiskError,
    /// The disk is full; the server is restarted later.
    DiskFull,
    /// A byte of the log flips while the server is down. It must refuse to start until the byte is back.
    Flip,
    /// The User service goes away, and the Post server forgets the names that it knew.
    UsersGone,
    /// The server is told to stop and started again.
    Drain,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 12] = [
        Kind::Partition,
        Kind::OneWay,
        Kind::Hold,
        Kind::Cut,
        Kind::Kill,
        Kind::PowerLoss,
        Kind::PowerLossInWrite,
        Kind::DiskError,
        Kind::DiskFull,
        Kind::Flip,
        Kind::UsersGone,
        Kind::Drain,
    ];

    /// One of them.
    pub(super) fn any(rng: &mut impl Rng) -> Self {
        Self::ALL[rng.random_range(0..Self::ALL.len())]
    }

    /// As reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Partition => "partition",
            Kind::OneWay => "one-way partition",
            Kind::Hold => "held link",
            Kind::Cut => "cut connections",
            Kind::Kill => "server killed",
            Kind::PowerLoss => "power loss",
            Kind::PowerLossInWrite => "power loss in a write",
            Kind::DiskError => "failed write or fsync",
            Kind::DiskFull => "full disk",
            Kind::Flip => "flipped byte",
            Kind::UsersGone => "User service gone",
            Kind::Drain => "server drained",
        }
    }
}

impl Simulation {
    /// Lets a fault happen, and repairs what it broke.
    pub(super) fn inject(&mut self, kind: Kind) -> turmoil::Result {
        let fired = match kind {
            Kind::Partition => {
                let group = self.any_group();
                self.sim.partition(group, "posts");
                self.pass_up_to(300, 5000)?;
                self.sim.repair(group, "posts");
                true
            }
            Kind::OneWay => {
                let group = self.any_group();
                let to_server = self.rng.random_bool(0.5);
                let (from, to) = if to_server { (group, "posts") } else { ("posts", group) };
                self.sim.partition_oneway(from, to);
                self.pass_up_to(300, 5000)?;
                self.sim.repair_oneway(from, to);
                true
            }
            Kind::Hold => {
                let group = self.any_group();
                self.sim.hold(group, "posts");
                self.pass_up_to(100, 5000)?;
                self.sim.release(group, "posts");
                true
            }
            Kind::Cut => {
                let group = self.any_group();
                self.cuts[group].cut();
                true
            }
            Kind::Kill => self.restart(false)?,
            Kind::PowerLoss => self.restart(true)?,
            Kind::PowerLossInWrite => {
                let fired = self.fail_disk(DiskFault::PowerLoss)?;
                self.restart(true)? && fired
            }
            Kind::DiskError => self.disk_fails(io::ErrorKind::Other)?,
            Kind::DiskFull => self.disk_fails(io::ErrorKind::StorageFull)?,
            Kind::Flip => return self.flip(),
            Kind::UsersGone => {
                self.sim.crash("users");
                let fired = self.restart(false)?;
                self.pass_up_to(300, 5000)?;
                self.sim.bounce("users");
                fired
            }
            Kind::Drain => self.drain()?,
        };
        self.count(kind, fired);
        Ok(())
    }

    fn count(&mut self, kind: Kind, fired: bool) {
        let count = self.faults.entry(kind.name().to_owned()).or_default();
        count.armed += 1;
        count.fired += u64::from(fired);
    }

    fn any_group(&mut self) -> &'static str {
        GROUPS[self.rng.random_range(0..GROUPS.len())]
    }

    /// Ends the server's process at once. Its connections are reset by us, because their ends would come in the order in
    /// which tokio drops tasks, and that depends on how many tasks other runs in this process had.
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

    /// Ends the server's process, and its machine if `power`, and starts it again. Returns whether there was one.
    fn restart(&mut self, power: bool) -> Result<bool, Box<dyn std::error::Error>> {
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

    /// Lets one of the next operations of the disk fail, and waits until it did.
    fn fail_disk(&mut self, fault: DiskFault) -> Result<bool, Box<dyn std::error::Error>> {
        let disk = self.posts.disk();
        let after = self.rng.random_range(0..6);
        let due = disk.operations() + after;
        disk.arm(after, fault);
        self.pass_until(Duration::from_secs(20), |_| disk.operations() > due)
    }

    fn disk_fails(&mut self, error: io::ErrorKind) -> Result<bool, Box<dyn std::error::Error>> {
        let fired = self.fail_disk(DiskFault::Error(error))?;
        self.pass_up_to(0, 2000)?;
        let power = self.rng.random_bool(0.5);
        Ok(self.restart(power)? && fired)
    }

    /// Flips a byte before the last segment, where no torn write can have been.
    fn flip(&mut self) -> turmoil::Result {
        self.crash_posts();
        let disk = self.posts.disk();
        let mut segments = disk.segments();
        segments.pop();
        if let Some(name) = (!segments.is_empty())
            .then(|| segments.swap_remove(self.rng.random_range(0..segments.len())))
        {
            let whole = disk.content(&name).unwrap_or_default();
            let mut flipped = whole.clone();
            flipped[self.rng.random_range(0..whole.len())] ^= 1 << self.rng.random_range(0..8);
            disk.replace(&name, flipped);
            self.posts.set(State::Starting);
            self.sim.bounce("posts");
            self.pass(TICK * 4)?;
            let refused = matches!(self.posts.state(), State::Refused(why) if why.contains(&name));
            disk.replace(&name, whole);
            self.count(Kind::Flip, refused);
        }
        self.start()
    }

    fn drain(&mut self) -> Result<bool, Box<dyn std::error::Error>> {
        let State::Serving(stop) = self.posts.state() else { return Ok(false) };
        stop.cancel();
        let ended = |it: &mut Self| matches!(it.posts.state(), State::Ended);
        let fired = self.pass_until(Duration::from_secs(8), ended)?;
        self.start()?;
        Ok(fired)
    }
}
