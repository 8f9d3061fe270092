//! Where a server keeps its log: a directory, or a file system of its own that can lose power and
//! be filled.
//!
//! A file system of its own is an image in a file on a loop device. Power loss is its shutdown
//! without flushing (`xfs_io -x -c shutdown`, which ext4 knows too): what was synced is in the
//! image, what was not is forgotten, and the next mount recovers as after a real power loss. Not
//! here: a disk that loses what it said was flushed.
//!
//! It takes root and `mount`, `umount`, `mkfs` and `xfs_io`. Mount in a namespace of your own:
//! [`in_a_namespace`].

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
};

use clap::ValueEnum;
use rustix::fs::{FallocateFlags, fallocate};
use tempfile::TempDir;
use tokio::process::Command;

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileSystem {
    /// ext4, as `mkfs.ext4` makes it.
    Ext4,
    /// XFS, as `mkfs.xfs` makes it.
    Xfs,
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        })
    }
}

/// The least that `mkfs.xfs` accepts, and some. The image is sparse.
const IMAGE_BYTES: u64 = 512 * 1024 * 1024;

/// Where a log is kept. Dropping it removes all of it.
#[derive(Debug)]
pub struct Volume {
    /// None: the home is a plain directory.
    file_system: Option<FileSystem>,
    home: TempDir,
}

impl Volume {
    /// A plain directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory() -> io::Result<Self> {
        Ok(Self { file_system: None, home: TempDir::new()? })
    }

    /// A file system of its own, made and mounted.
    ///
    /// # Errors
    /// What this machine lacks for it, or does not allow.
    pub async fn of(file_system: FileSystem) -> Result<Self, Box<dyn Error>> {
        run(Command::new("xfs_io").arg("-V")).await?;
        let volume = Self { file_system: Some(file_system), home: TempDir::new()? };
        let image = File::create_new(volume.image())?;
        image.set_len(IMAGE_BYTES)?;
        fs::create_dir(volume.mount_point())?;
        run(Command::new(format!("mkfs.{file_system}")).arg("-q").arg(volume.image())).await?;
        volume.mount().await?;
        Ok(volume)
    }

    /// Which file system it is, if it can lose power.
    pub fn file_system(&self) -> Option<FileSystem> {
        self.file_system
    }

    /// Where the log goes.
    pub fn data(&self) -> PathBuf {
        match self.file_system {
            Some(_) => self.mount_point().join("data"),
            None => self.home.path().join("data"),
        }
    }

    /// A place for other files, on no failing file system.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Takes the power: nothing that was not synced will be found again, and nothing more is
    /// written. Whoever writes must stand still by then.
    pub(super) async fn cut_power(&self) -> Result<(), Box<dyn Error>> {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(self.mount_point())).await
    }

    /// Mounts it again, once nobody uses it, as it is found after a power loss.
    pub(super) async fn restore_power(&self) -> Result<(), Box<dyn Error>> {
        run(Command::new("umount").arg(self.mount_point())).await?;
        self.mount().await
    }

    /// Takes all the room that is left.
    pub(super) fn fill(&self) -> io::Result<()> {
        let filler = File::create(self.filler())?;
        let (mut filled, mut step) = (0, IMAGE_BYTES);
        while step >= BLOCK {
            match fallocate(&filler, FallocateFlags::empty(), filled, step) {
                Ok(()) => filled += step,
                Err(rustix::io::Errno::NOSPC) => step /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(super) fn make_room(&self) -> io::Result<()> {
        fs::remove_file(self.filler())
    }

    async fn mount(&self) -> Result<(), Box<dyn Error>> {
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop"]).arg(self.image()).arg(self.mount_point())).await
    }

    fn image(&self) -> PathBuf {
        self.beside("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.beside("mount")
    }

    fn filler(&self) -> PathBuf {
        self.mount_point().join("filler")
    }
}

/// The least that a file takes.
const BLOCK: u64 = 4096;

impl Drop for Volume {
    fn drop(&mut self) {
        if self.file_system.is_some() {
            // Lazily, for whoever still uses it; if it was never mounted, there is nothing to do.
            let mut umount = std::process::Command::new("umount");
            let _ = umount.arg("--lazy").arg(self.mount_point()).output();
        }
    }
}

/// Goes on as this program with these arguments in a mount namespace of its own, which ends with
/// it: however it ends, nothing stays mounted. Returns only if that is not possible, and why.
pub async fn in_a_namespace(arguments: impl Iterator<Item = OsString>) -> Box<dyn Error> {
    let flags = ["--mount", "--propagation", "private"];
    if let Err(error) = run(Command::new("unshare").args(flags).arg("true")).await {
        return error;
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    std::process::Command::new("unshare").args(flags).arg(program).args(arguments).exec().into()
}

/// Runs a tool of the system.
async fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let tool = command.as_std().get_program().display().to_string();
    let output = command.kill_on_drop(true).output().await;
    let output = output.map_err(|error| format!("cannot run {tool}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} failed: {}", said.lines().next().unwrap_or_default()).into())
}
