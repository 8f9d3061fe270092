//! `server log`: looks into the log in a directory, also while a server uses it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use prost::Message as _;
use quartet::post::v1::PostMessage;
use quartet_log::{
    EmbeddedLog, Limit, LogError, LogOptions, OpenError, PostLog as _, disk::Access,
};
use serde_json::json;
use tokio::time::sleep;

/// The limit of one read.
const LIMIT: Limit = Limit { posts: 1024, bytes: 1 << 20 };

/// Look into the log in a directory, also while a server uses it. Nothing is changed.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum LogCommand {
    /// Print what the log is, how much it holds, and whether it is damaged.
    Info(Directory),
    /// Print the posts of the log, in order.
    Dump(Dump),
    /// Read the whole log, and check every checksum. Exit code: 0 if all are right, otherwise 1.
    Verify(Directory),
}

/// A directory with a log.
#[derive(Debug, Clone, Args)]
pub(crate) struct Directory {
    /// The directory of the log, as --data of the server names it.
    #[arg(value_name = "DIR", default_value = "quartet-data")]
    data: PathBuf,
}

/// Which posts to print, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    directory: Directory,

    /// Begin after this sequence.
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,

    /// Only posts with this tag.
    #[arg(long, value_name = "T")]
    tag: Option<String>,

    /// Print one JSON object per line, which the client client-streaming can upload again.
    #[arg(long)]
    json: bool,
}

/// Longer than a server takes to write a batch.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// Why a log cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("post {0} cannot be decoded: {1}")]
    Post(u64, prost::DecodeError),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl LogCommand {
    /// Runs it. Returns whether the log is whole.
    pub(crate) async fn run(self, out: &mut impl Write) -> Result<bool, LookError> {
        match self {
            Self::Info(directory) => info(&directory.data, out).await,
            Self::Dump(dump) => dump.run(out).await,
            Self::Verify(directory) => verify(&directory.data, out).await,
        }
    }
}

async fn open(data: &Path) -> Result<EmbeddedLog, OpenError> {
    let options = LogOptions { access: Access::Observe, ..LogOptions::default() };
    EmbeddedLog::open_directory(data, options).await
}

async fn info(data: &Path, out: &mut impl Write) -> Result<bool, LookError> {
    let log = open(data).await?;
    let (head, segments) = (*log.head().borrow(), segments(data)?);
    let bytes: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
    writeln!(out, "log id    {}", log.log_id())?;
    writeln!(out, "posts     {head}")?;
    writeln!(out, "position  {}:{head}:{:016x}", log.log_id(), log.chain(head).await?)?;
    writeln!(out, "bytes     {bytes}")?;
    for (name, bytes) in &segments {
        writeln!(out, "segment   {name}  {bytes}")?;
    }
    match log.damage() {
        Some(damage) => writeln!(out, "damage    {damage}")?,
        None => writeln!(out, "damage    none")?,
    }
    Ok(true)
}

/// The segment files and their bytes, in order.
fn segments(data: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".log") {
            segments.push((name, entry.metadata()?.len()));
        }
    }
    segments.sort();
    Ok(segments)
}

async fn verify(data: &Path, out: &mut impl Write) -> Result<bool, LookError> {
    // To open a log is to check all of it.
    let mut log = open(data).await?;
    if log.damage().is_some() {
        // What a server was writing is whole soon.
        sleep(UNDER_WAY).await;
        log = open(data).await?;
    }
    let head = *log.head().borrow();
    match log.damage() {
        None => writeln!(out, "{head} posts: every checksum is right")?,
        Some(damage) => writeln!(out, "{damage}; {head} posts precede it")?,
    }
    Ok(log.damage().is_none())
}

impl Dump {
    async fn run(self, out: &mut impl Write) -> Result<bool, LookError> {
        let log = open(&self.directory.data).await?;
        let mut after = self.after;
        loop {
            let records = log.read(after, LIMIT).await?;
            if records.is_empty() {
                return Ok(log.damage().is_none());
            }
            for record in records.iter() {
                after = record.sequence;
                let post = PostMessage::decode(&record.post[..]);
                let post = post.map_err(|error| LookError::Post(after, error))?;
                if self.tag.as_ref().is_none_or(|tag| post.tags.contains(tag)) {
                    self.print(after, &post, out)?;
                }
            }
        }
    }

    fn print(&self, sequence: u64, post: &PostMessage, out: &mut impl Write) -> io::Result<()> {
        let PostMessage { post_id, user_id, title, body, tags, .. } = post;
        if self.json {
            let post = json!({
                "sequence": sequence, "post_id": post_id, "user_id": user_id, "title": title,
                "body": body, "tags": tags,
            });
            return writeln!(out, "{post}");
        }
        let tags: String = tags.iter().map(|tag| format!("  #{tag}")).collect();
        writeln!(out, "{sequence:>10}  {user_id:<12}  {title:?}{tags}")
    }
}
