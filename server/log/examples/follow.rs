//! A writer and a slow reader on one log.
//!
//! `cargo run -p quartet-log --example follow` opens a log in a temporary folder. The writer
//! appends posts about tea and coffee; the reader wants coffee, starts while half of them are
//! stored, and pauses after each batch. It must get every post about coffee once and in order,
//! first replayed, then followed. Exits with an error if it does not.

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use std::{
    collections::BTreeSet,
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use quartet::post::v1::PostMessage;
use quartet_log::{
    Batch, Cursor, Dispatcher, EmbeddedLog, Filter, LogOptions, NewPost, Outcome, PostLog,
};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

const POSTS: u64 = 40;
/// The reader's pause after each batch. New posts wait in the log meanwhile, not in a queue.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let log = EmbeddedLog::open_directory(folder.path(), LogOptions::default()).await?;
    let log: Arc<dyn PostLog> = Arc::new(log);
    let dispatcher = Dispatcher::new(log.clone());
    let cursor = Cursor::new(log.clone(), dispatcher.clone(), coffee(), 0);

    let (stop, (half, half_written)) = (CancellationToken::new(), oneshot::channel());
    let write = write(&*log, half);
    let read = async {
        let read = read(cursor, half_written).await;
        stop.cancel();
        read
    };
    let dispatch = async {
        dispatcher.run(stop.clone()).await;
        Ok(())
    };
    let (written, read, ()) = tokio::try_join!(write, read, dispatch)?;
    log.close().await?;

    if written != read {
        return Err(format!("the reader got {read:?}, the log holds {written:?}").into());
    }
    println!("in order, none missing, none twice: {} posts about coffee", read.len());
    Ok(())
}

fn coffee() -> Filter {
    Filter { tags: BTreeSet::from(["coffee".to_owned()]).into(), ..Filter::default() }
}

/// Appends posts one by one and returns the sequences of those about coffee.
async fn write(log: &dyn PostLog, half: oneshot::Sender<()>) -> Result<Vec<u64>, Box<dyn Error>> {
    let (mut about_coffee, mut half) = (Vec::new(), Some(half));
    for n in 1..=POSTS {
        // The last one is about coffee, so that the reader knows when it is done.
        let tag = if n % 4 == 0 { "coffee" } else { "tea" };
        let outcomes = log.append(vec![post(n, tag)].into()).await?.await?;
        if let [Outcome::Created(sequence)] = outcomes[..]
            && tag == "coffee"
        {
            about_coffee.push(sequence);
        }
        if n == POSTS / 2 {
            println!("written: {n} posts; the reader starts");
            half.take().map(|half| half.send(()));
        }
    }
    println!("written: all {POSTS} posts");
    Ok(about_coffee)
}

fn post(n: u64, tag: &str) -> NewPost {
    let post = PostMessage {
        post_id: format!("post-{n}"),
        user_id: "ann".to_owned(),
        body: format!("A cup of {tag}"),
        tags: vec![tag.to_owned()],
        ..PostMessage::default()
    };
    NewPost::of(&post, SystemTime::now().into())
}

/// Reads posts about coffee up to the last one and returns their sequences.
async fn read(
    mut cursor: Cursor,
    half_written: oneshot::Receiver<()>,
) -> Result<Vec<u64>, Box<dyn Error>> {
    half_written.await?;
    let mut sequences = Vec::new();
    while cursor.position() < POSTS {
        let batch: Batch = cursor.follow().await?;
        let found: Vec<u64> = batch.records.iter().map(|record| record.sequence).collect();
        println!("read: {found:?}, everything up to {} examined", batch.position);
        sequences.extend(found);
        // A slow client. Were it cancelled here, the batch would be read again.
        sleep(PAUSE).await;
        cursor.advance(&batch);
    }
    Ok(sequences)
}
