//! The volume of a server's log: a directory, or a separate file system that can lose power and be
//! filled.
//!
//! A separate file system is an image in a file on a loop device. Power loss is its shutdown
//! without flushing (`xfs_io -x -c shutdown`, which ext4 supports too): synced data is in the
//! image, the rest is forgotten, and the next mount recovers as after a real power loss. Not
//! covered: a disk that loses data after confirming a flush.
//!
//! Requires root and `mount`, `umount`, `mkfs` and `xfs_io`. Mount in a separate namespace:
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

/// The least that `mkfs.xfs` accepts, and a margin. The image is sparse.
const IMAGE_BYTES: u64 = 512 * 1024 * 1024;

/// The storage of a log. Dropping it removes all of it.
#[derive(Debug)]
pub struct Volume {
    /// `None`: the home is a plain directory.
    file_system: Option<FileSystem>,
    home: TempDir,
}

impl Volume {
    /// A plain directory.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn directory() -> io::Result<Self> {
        Ok(Self { file_system: None, home: TempDir::new()? })
    }

    /// A separate file system, created and mounted.
    ///
    /// # Errors
    /// The machine lacks a tool for it, or does not permit it.
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

    /// The file system, if this volume can lose power.
    pub fn file_system(&self) -> Option<FileSystem> {
        self.file_system
    }

    /// The directory of the log.
    pub fn data(&self) -> PathBuf {
        match self.file_system {
            Some(_) => self.mount_point().join("data"),
            None => self.home.path().join("data"),
        }
    }

    /// The path of another file, outside of the failing file system.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Cuts the power: unsynced data is lost, and nothing more is written. The server must be
    /// suspended or dead by then.
    pub(super) async fn cut_power(&self) -> Result<(), Box<dyn Error>> {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(self.mount_point())).await
    }

    /// Mounts the file system again as after a power loss, once no process uses it.
    pub(super) async fn restore_power(&self) -> Result<(), Box<dyn Error>> {
        run(Command::new("umount").arg(self.mount_point())).await?;
        self.mount().await
    }

    /// Fills all free space.
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

    /// Frees the space again.
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

/// The smallest size of a file.
const BLOCK: u64 = 4096;

impl Drop for Volume {
    fn drop(&mut self) {
        if self.file_system.is_some() {
            // Lazily, because a process may still use it. It fails harmlessly if nothing was
            // mounted.
            let mut umount = std::process::Command::new("umount");
            let _ = umount.arg("--lazy").arg(self.mount_point()).output();
        }
    }
}

/// Executes this program again, with these arguments, in a separate mount namespace that ends with
/// it, so that nothing stays mounted however it ends. Returns, with the reason, only if that is not
/// possible.
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} failed: {}", stderr.lines().next().unwrap_or_default()).into())
}
