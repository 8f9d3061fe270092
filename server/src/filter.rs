//! Which posts a reader wants: any of these tags, and any of these users.

use std::{collections::BTreeSet, sync::Arc};

use quartet::encoded::PostView;
use smol_str::SmolStr;

/// What a reader follows. The empty filter of a feed that joined nothing matches no post.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The tags.
    pub tags: Tags,
    /// The users; empty: all.
    pub user_ids: BTreeSet<String>,
}

/// The tags of a [`Filter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// Every post, tagged or not.
    All,
    /// Posts with at least one of these, which are in order: most readers have few, and many readers have some.
    AnyOf(Arc<[SmolStr]>),
}

impl From<BTreeSet<String>> for Tags {
    fn from(tags: BTreeSet<String>) -> Self {
        Tags::AnyOf(tags.into_iter().map(SmolStr::from).collect())
    }
}

impl Default for Tags {
    fn default() -> Self {
        Tags::AnyOf([].into())
    }
}

impl Filter {
    /// Every post.
    pub fn all() -> Self {
        Self { tags: Tags::All, user_ids: BTreeSet::new() }
    }

    /// Whether every post matches.
    pub fn is_all(&self) -> bool {
        self.tags == Tags::All && self.user_ids.is_empty()
    }

    /// Whether a post matches.
    pub fn matches(&self, post: PostView<'_>) -> bool {
        let tags = match &self.tags {
            Tags::All => true,
            Tags::AnyOf(tags) => {
                post.tags().any(|tag| tags.binary_search_by(|one| one.as_str().cmp(tag)).is_ok())
            }
        };
        tags && (self.user_ids.is_empty() || self.user_ids.contains(post.user_id()))
    }
}
