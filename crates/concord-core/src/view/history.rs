//! The versions of one key.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{ChangeKind, Direction, ReadView, ViewError};
use crate::ids::Revision;
use crate::key::Key;
use crate::limits::HISTORY_PAGE_MAX;
use crate::record::cell::{self, StoredCell};
use crate::record::{Record, RecordRef};
use crate::state::VersionCell;

/// Which versions of a key to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The key.
    pub key: Key,
    /// Oldest first (ascending) or newest first.
    pub direction: Direction,
    /// Versions on the page, 1 to [`HISTORY_PAGE_MAX`].
    pub limit: usize,
    /// Go on behind this revision, in the direction of the listing.
    pub after: Option<Revision>,
}

/// What a key was from a revision on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// This record, from its `mod_revision` on.
    Record(Record),
    /// Absent.
    Removed {
        /// From here on.
        revision: Revision,
        /// How it was removed.
        kind: ChangeKind,
    },
}

impl Version {
    /// The revision that made it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Record(record) => record.mod_revision,
            Self::Removed { revision, .. } => *revision,
        }
    }
}

/// Versions of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// In the order asked for: every one after the compaction revision, and the record that
    /// was in force at it.
    pub versions: Vec<Version>,
    /// [`HistoryRequest::after`] of the next page, if there is one.
    pub next: Option<Revision>,
}

impl HistoryRequest {
    /// All of a key's versions, newest first, on one full page.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            direction: Direction::Descending,
            limit: HISTORY_PAGE_MAX,
            after: None,
        }
    }
}

impl ReadView {
    /// The versions of a key that are still kept.
    ///
    /// # Errors
    ///
    /// If the limit is out of range.
    pub fn history(&self, request: &HistoryRequest) -> Result<HistoryPage, ViewError> {
        let limit = request.limit;
        if !(1..=HISTORY_PAGE_MAX).contains(&limit) {
            return Err(ViewError::PageLimit {
                limit,
                limit_max: HISTORY_PAGE_MAX,
            });
        }
        let mut versions: Vec<Version> = match request.direction {
            Direction::Descending => {
                let before = request.after.unwrap_or(Revision::new(u64::MAX));
                let newest = before.get().checked_sub(1).map(Revision::new);
                let newest = newest.and_then(|newest| self.versions_from(&request.key, newest));
                newest
                    .into_iter()
                    .flatten()
                    .take(limit.saturating_add(1))
                    .collect()
            }
            Direction::Ascending => {
                // The chain leads from new to old only: what is newer has to be passed.
                let after = request.after.unwrap_or_default();
                let all = self
                    .versions_from(&request.key, self.revision())
                    .into_iter()
                    .flatten();
                let newer = all.take_while(|version| version.revision() > after);
                let mut last: VecDeque<Version> = VecDeque::new();
                for version in newer {
                    last.push_back(version);
                    if last.len() > limit.saturating_add(1) {
                        last.pop_front();
                    }
                }
                last.into_iter().rev().collect()
            }
        };
        let has_more = versions.len() > limit;
        versions.truncate(limit);
        let next = versions.last().map(Version::revision).filter(|_| has_more);
        Ok(HistoryPage { versions, next })
    }

    /// The versions of a key from the one in force at `newest` back to the one in force at the
    /// compaction revision.
    fn versions_from<'a>(
        &'a self,
        key: &'a Key,
        newest: Revision,
    ) -> Option<impl Iterator<Item = Version> + 'a> {
        let state = self.state();
        let first = state.in_force(state.newest(key.as_bytes()), newest)?;
        let chain = core::iter::successors(Some(first), |version| {
            let place = cell::stored(version.bytes).link().place;
            // What was replaced at or before the compaction revision may be there still, for
            // compaction works in steps; for readers it is gone.
            if place.revision <= state.compact_revision {
                None
            } else {
                state.before(place)
            }
        });
        Some(chain.filter_map(|version| self.version(key, version)))
    }

    fn version(&self, key: &Key, version: VersionCell<'_>) -> Option<Version> {
        match cell::stored(version.bytes) {
            StoredCell::Tombstone { kind, link } => {
                let revision = link.place.revision;
                // A key that was absent at the compaction revision begins after it.
                let is_readable = revision > self.state().compact_revision;
                is_readable.then_some(Version::Removed { revision, kind })
            }
            StoredCell::Record { .. } => {
                RecordRef::new(key.as_bytes(), version).map(|record| Version::Record(record.to_record()))
            }
        }
    }
}
