//! The same batches to embedded stores: posts by sequence, ids that are taken once, and an index by
//! user.

use std::{path::Path, time::Instant};

use fjall::{Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use hdrhistogram::Histogram;
use prost::Message as _;
use redb::{ReadableDatabase as _, TableDefinition, WriteTransaction};

use super::super::list::expect;
use crate::{error::Result, posts, proto::PostMessage};

const POSTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("posts");
const IDS: TableDefinition<'_, &str, u64> = TableDefinition::new("ids");
const BY_USER: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("by-user");

pub(super) fn redb(dir: &Path, batches: u64, latencies: &mut Histogram<u64>) -> Result<u64> {
    let database = redb::Database::create(dir.join("redb"))?;
    let mut bytes = 0;
    for batch in 0..batches {
        let begun = Instant::now();
        let transaction = database.begin_write()?;
        bytes += redb_batch(&transaction, batch)?;
        transaction.commit()?;
        latencies.saturating_record(begun.elapsed().as_micros() as u64);
    }
    let last = database.begin_read()?.open_table(POSTS)?.get(batches * posts::BATCH - 1)?.is_some();
    expect("the last post", last.into(), 1)?;
    Ok(bytes)
}

fn redb_batch(transaction: &WriteTransaction, batch: u64) -> Result<u64> {
    let mut posts = transaction.open_table(POSTS)?;
    let mut ids = transaction.open_table(IDS)?;
    let mut by_user = transaction.open_table(BY_USER)?;
    each(batch, |index, post, encoded| {
        if ids.insert(post.post_id.as_str(), index)?.is_some() {
            return Err("an id is taken".into());
        }
        by_user.insert((post.user_id.as_str(), index), ())?;
        posts.insert(index, encoded)?;
        Ok(())
    })
}

struct Fjall {
    posts: Keyspace,
    ids: Keyspace,
    by_user: Keyspace,
}

pub(super) fn fjall(dir: &Path, batches: u64, latencies: &mut Histogram<u64>) -> Result<u64> {
    let database = fjall::Database::builder(dir.join("fjall")).open()?;
    let open = |name| database.keyspace(name, KeyspaceCreateOptions::default);
    let spaces = Fjall { posts: open("posts")?, ids: open("ids")?, by_user: open("by-user")? };
    let mut bytes = 0;
    for batch in 0..batches {
        let begun = Instant::now();
        let mut writes = database.batch().durability(Some(PersistMode::SyncData));
        bytes += fjall_batch(&spaces, &mut writes, batch)?;
        writes.commit()?;
        latencies.saturating_record(begun.elapsed().as_micros() as u64);
    }
    let last = spaces.posts.contains_key((batches * posts::BATCH - 1).to_be_bytes())?;
    expect("the last post", last.into(), 1)?;
    Ok(bytes)
}

fn fjall_batch(spaces: &Fjall, writes: &mut OwnedWriteBatch, batch: u64) -> Result<u64> {
    each(batch, |index, post, encoded| {
        let sequence = index.to_be_bytes();
        if spaces.ids.contains_key(&post.post_id)? {
            return Err("an id is taken".into());
        }
        writes.insert(&spaces.ids, post.post_id.as_str(), sequence);
        writes.insert(&spaces.by_user, [post.user_id.as_bytes(), &sequence].concat(), []);
        writes.insert(&spaces.posts, sequence, encoded);
        Ok(())
    })
}

/// Makes the posts of a batch and says how many bytes they are.
fn each(batch: u64, mut store: impl FnMut(u64, &PostMessage, &[u8]) -> Result<()>) -> Result<u64> {
    let mut post = PostMessage::default();
    let mut bytes = 0;
    for index in batch * posts::BATCH..(batch + 1) * posts::BATCH {
        posts::fill(index, &mut post);
        post.create_time = Some(posts::create_time());
        let encoded = post.encode_to_vec();
        bytes += encoded.len() as u64;
        store(index, &post, &encoded)?;
    }
    Ok(bytes)
}
