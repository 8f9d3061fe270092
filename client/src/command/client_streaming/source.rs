//! The file of an upload, read on a thread as the connection takes its posts.

use std::{
    collections::HashMap,
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_stream::try_stream;
use quartet::post::v1::PostMessage;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{post_file::PostFile, upload::PostSource};

/// Posts that are shown one by one; the others are counted.
pub(super) const SHOWN_POSTS: usize = 10;
/// Bad lines that are shown; the others are counted.
const SHOWN_LINES: usize = 100;
/// Posts that the thread may be ahead of the connection.
const POSTS_AHEAD: usize = 256;

/// A file of posts that every attempt reads again.
pub(super) struct Source {
    file: Arc<PostFile>,
    bad_lines: Arc<Mutex<BadLines>>,
}

/// What is shown of a file while it is sent.
pub(super) struct Preview {
    /// The first posts.
    pub(super) posts: Vec<PostMessage>,
    /// About how many posts there are, if a progress bar needs it.
    pub(super) estimate: Option<u64>,
}

/// Lines that are not posts.
#[derive(Debug, Default)]
pub(super) struct BadLines {
    pub(super) count: u64,
    /// The first ones: number and problem.
    pub(super) first: Vec<(u64, String)>,
}

impl Source {
    /// The file at `path`, or a copy of `stdin` if the path is `-`.
    pub(super) async fn open(
        path: PathBuf,
        stdin: impl Read + Send + 'static,
        with_estimate: bool,
    ) -> io::Result<(Self, Preview)> {
        let (file, preview) = blocking(move || {
            let file = match path.as_os_str() == "-" {
                true => PostFile::spool(stdin)?,
                false => PostFile::open(&path)?,
            };
            let preview = Preview::of(&file, with_estimate)?;
            Ok((file, preview))
        })
        .await?;
        Ok((Self { file: Arc::new(file), bad_lines: Arc::default() }, preview))
    }

    /// The posts of the file, for one attempt. Once all were read, the bad lines are known.
    pub(super) fn posts(&self) -> PostSource {
        let (file, bad_lines) = (self.file.clone(), self.bad_lines.clone());
        Box::pin(try_stream! {
            let (sender, mut posts) = mpsc::channel(POSTS_AHEAD);
            let thread = spawn_blocking(move || read(&file, &sender));
            while let Some(post) = posts.recv().await {
                yield post;
            }
            // The file has ended, or it could not be read: only the thread's result tells.
            let found = thread.await.map_err(io::Error::other)??;
            *lock(&bad_lines) = found;
        })
    }

    /// The bad lines that the last attempt found.
    pub(super) fn bad_lines(&self) -> BadLines {
        std::mem::take(&mut *lock(&self.bad_lines))
    }

    /// The line numbers of these posts, by their index among the posts.
    pub(super) async fn line_numbers(&self, indices: Vec<i64>) -> io::Result<HashMap<i64, u64>> {
        let file = self.file.clone();
        blocking(move || file.line_numbers(&indices)).await
    }
}

impl Preview {
    fn of(file: &PostFile, with_estimate: bool) -> io::Result<Self> {
        let posts = file.entries().filter_map(|entry| entry.ok()?.post.ok());
        let posts = posts.take(SHOWN_POSTS).collect();
        let estimate = if with_estimate { Some(file.estimate()?) } else { None };
        Ok(Self { posts, estimate })
    }
}

fn read(file: &PostFile, posts: &mpsc::Sender<PostMessage>) -> io::Result<BadLines> {
    let mut bad_lines = BadLines::default();
    for entry in file.entries() {
        let entry = entry?;
        match entry.post {
            Ok(post) => {
                if posts.blocking_send(post).is_err() {
                    break; // the call has ended
                }
            }
            Err(problem) => bad_lines.push(entry.line, problem),
        }
    }
    Ok(bad_lines)
}

impl BadLines {
    fn push(&mut self, line: u64, problem: String) {
        self.count += 1;
        if self.first.len() < SHOWN_LINES {
            self.first.push((line, problem));
        }
    }
}

fn lock(bad_lines: &Mutex<BadLines>) -> MutexGuard<'_, BadLines> {
    bad_lines.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
