//! The cost of a post in the log: time to append, time to open, memory and disk.
//!
//! `cargo run --release --example log_cost [POSTS]` (Linux; one million posts by default). The log
//! is made in the system's temporary directory and removed. Each part runs in its own process, so
//! that memory is counted separately; the writing part ends without closing the log.

#![expect(clippy::print_stdout, reason = "figures are what this program is for")]

use std::{
    collections::VecDeque, env, error::Error, fs, io, path::Path, process::Command, time::Instant,
};

use quartet::post::v1::PostMessage;
use quartet_log::{EmbeddedLog, Limit, LogOptions, NewPost, Outcome, PostLog};

/// Writers of the posts, in turn.
const USERS: u64 = 1000;
/// Parallel appends.
const IN_FLIGHT: usize = 8;

type Outcomes = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcomes {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["write", path, posts] => write(Path::new(path), posts.parse()?).await,
        ["read", path, posts] => read(Path::new(path), posts.parse()?).await,
        [posts] => run(posts),
        _ => run("1000000"),
    }
}

/// Runs the parts, one process each.
fn run(posts: &str) -> Outcomes {
    let directory = tempfile::tempdir()?;
    for part in ["write", "read"] {
        let status = Command::new(env::current_exe()?)
            .arg(part)
            .arg(directory.path())
            .arg(posts)
            .status()?;
        if !status.success() {
            return Err(format!("the part `{part}` failed").into());
        }
    }
    Ok(())
}

async fn write(path: &Path, posts: u64) -> Outcomes {
    let log = EmbeddedLog::open_directory(path, LogOptions::default()).await?;
    let mut next = 0;
    for (size, share) in [(1, 200), (64, 10), (512, 1)] {
        let end = (next + (posts / share).max(size)).min(posts);
        let started = Instant::now();
        let latencies = append(&log, next..end, size).await?;
        let rate = (end - next) as f64 / started.elapsed().as_secs_f64();
        println!(
            "append, {size:>3} posts each, {IN_FLIGHT} at once: {rate:>9.0} posts/s, \
             answered in {:.2} ms (median)",
            latencies[latencies.len() / 2] * 1e3,
        );
        next = end;
    }
    let peak = status("VmHWM:")?;
    let bytes =
        fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len())).sum::<io::Result<u64>>()?;
    let stored = post(0).stored().len();
    println!("disk: {:.1} B per post of {stored} B", bytes as f64 / posts as f64);
    println!("memory of the writing process at most: {:.0} MiB", peak as f64 / MIB);
    // As after a kill: the log is not closed.
    Ok(())
}

/// Appends posts and returns the duration of each append in seconds, sorted.
async fn append(
    log: &EmbeddedLog,
    numbers: std::ops::Range<u64>,
    size: u64,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let (mut pending, mut latencies) = (VecDeque::new(), Vec::new());
    let mut next = numbers.start;
    while next < numbers.end || !pending.is_empty() {
        if next < numbers.end && pending.len() < IN_FLIGHT {
            let end = (next + size).min(numbers.end);
            let posts = (next..end).map(post).collect();
            pending.push_back((Instant::now(), log.append(posts).await?));
            next = end;
        } else if let Some((started, appending)) = pending.pop_front() {
            let outcomes = appending.await?;
            assert!(outcomes.iter().all(|outcome| *outcome != Outcome::IdTaken));
            latencies.push(started.elapsed().as_secs_f64());
        }
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

async fn read(path: &Path, posts: u64) -> Outcomes {
    let before = status("VmRSS:")?;
    let started = Instant::now();
    let log = EmbeddedLog::open_directory(path, LogOptions::default()).await?;
    println!("open: {:.2} s for {posts} posts", started.elapsed().as_secs_f64());
    let memory = status("VmRSS:")? - before;
    println!("memory of the index: {:.1} B per post, {USERS} users", memory as f64 / posts as f64);

    let started = Instant::now();
    let (mut after, limit) = (0, Limit { posts: 256, bytes: 64 * 1024 });
    while after < posts {
        after += log.read(after, limit).await?.len() as u64;
    }
    println!("read all from disk, 64 KiB each: {:.0} posts/s", rate(posts, started));

    let started = Instant::now();
    let again = posts.min(200_000);
    append(&log, 0..again, 512).await?;
    println!("append again, all duplicates: {:.0} posts/s", rate(again, started));
    Ok(log.close().await?)
}

fn rate(posts: u64, started: Instant) -> f64 {
    posts as f64 / started.elapsed().as_secs_f64()
}

/// The n-th post, of about 330 B. Ids and users are in no order.
fn post(n: u64) -> NewPost {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let post = PostMessage {
        post_id: format!("{scattered:016x}"),
        user_id: format!("user-{:03}", (scattered >> 32) % USERS),
        title: format!("Post number {n} of a measurement"),
        body: "0123456789 ".repeat(20),
        tags: vec!["grpc".to_owned(), "streaming".to_owned()],
        ..PostMessage::default()
    };
    NewPost::of(&post, prost_types::Timestamp { seconds: 1_700_000_000, nanos: n as i32 })
}

const MIB: f64 = 1024.0 * 1024.0;

/// A figure of this process, in bytes.
fn status(field: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map(|n| n * 1024).ok_or_else(|| io::Error::other(format!("no {field}")))
}
