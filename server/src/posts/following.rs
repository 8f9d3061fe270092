//! The tags that a feed follows: joined and not left.

use std::{collections::BTreeSet, sync::Arc};

use quartet::{
    limits::FEED_TAGS,
    post::v1::{JoinTags, Joined, LeaveTags, Left, LogPosition},
    reason,
};
use quartet_log::{Filter, Tags};
use smol_str::SmolStr;
use tonic::{Code, Status};

use super::feed_reader::FeedReader;
use crate::{error, validate};

/// The tags of a feed. The default follows nothing.
#[derive(Debug, Default)]
pub(crate) struct Following {
    /// Sorted, and shared with the reader's filter.
    tags: Arc<[SmolStr]>,
    all_tags: bool,
}

impl Following {
    /// Adds tags. The first join sets where to start.
    ///
    /// # Errors
    /// The caller's mistake. Nothing has changed then.
    pub(crate) async fn join(
        &mut self,
        join: JoinTags,
        reader: &mut FeedReader,
    ) -> Result<Joined, Status> {
        let more = named_tags("join.tags", &join.tags, join.all_tags)?;
        let tags: BTreeSet<SmolStr> = self.tags.iter().cloned().chain(more).collect();
        if tags.len() > FEED_TAGS {
            let message = format!("follows {} tags with these; at most {FEED_TAGS}", tags.len());
            return Err(error::invalid_field("join.tags", message));
        }
        let all_tags = self.all_tags || join.all_tags;
        let start = start(join, reader).await?;

        self.set(tags.into_iter().collect(), all_tags, reader);
        if let Some(start) = start {
            reader.start(start);
        }
        let (tags, all_tags, position) = self.state(reader).await?;
        Ok(Joined { tags, all_tags, position })
    }

    /// Removes tags.
    ///
    /// # Errors
    /// The caller's mistake. Nothing has changed then.
    pub(crate) async fn leave(
        &mut self,
        leave: LeaveTags,
        reader: &mut FeedReader,
    ) -> Result<Left, Status> {
        let gone = named_tags("leave.tags", &leave.tags, leave.all_tags)?;
        if self.all_tags && !leave.all_tags {
            return Err(error::status(
                Code::FailedPrecondition,
                reason::ALL_TAGS_FOLLOWED,
                "all tags are followed; leave them with all_tags",
            ));
        }
        let rest = self.tags.iter().filter(|tag| !leave.all_tags && !gone.contains(*tag));
        self.set(rest.cloned().collect(), false, reader);
        let (tags, all_tags, position) = self.state(reader).await?;
        Ok(Left { tags, all_tags, position })
    }

    fn set(&mut self, tags: Arc<[SmolStr]>, all_tags: bool, reader: &mut FeedReader) {
        let filter = if all_tags { Tags::All } else { Tags::AnyOf(tags.clone()) };
        (self.tags, self.all_tags) = (tags, all_tags);
        reader.set_filter(Filter { tags: filter, user_ids: BTreeSet::new() });
    }

    /// All followed tags, and the position after which they take effect.
    async fn state(
        &self,
        reader: &mut FeedReader,
    ) -> Result<(Vec<String>, bool, Option<LogPosition>), Status> {
        let tags = self.tags.iter().map(ToString::to_string).collect();
        Ok((tags, self.all_tags, Some(reader.position().await?)))
    }
}

/// The tags of a request. It must name at least one, or all.
fn named_tags(field: &str, tags: &[String], all: bool) -> Result<BTreeSet<SmolStr>, Status> {
    if tags.is_empty() && !all {
        return Err(error::invalid_field(field, "names no tag, and all_tags is not set"));
    }
    let tags = validate::tags(field, tags.to_vec(), FEED_TAGS)?;
    Ok(tags.into_iter().map(SmolStr::from).collect())
}

/// Where the first join starts; `None` for a later one.
async fn start(join: JoinTags, reader: &mut FeedReader) -> Result<Option<u64>, Status> {
    match (reader.is_started(), join.resume_after, join.from_oldest) {
        (true, None, false) => Ok(None),
        (true, ..) => Err(error::status(
            Code::FailedPrecondition,
            reason::START_AFTER_FIRST_JOIN,
            "only the first join of a feed may say where to start",
        )),
        (false, Some(_), true) => {
            Err(error::invalid_field("join.from_oldest", "resume_after is set too"))
        }
        (false, Some(position), false) => {
            validate::position(Some(position), reader.log()).await.map(Some)
        }
        (false, None, true) => Ok(Some(0)),
        (false, None, false) => Ok(Some(reader.head())),
    }
}
