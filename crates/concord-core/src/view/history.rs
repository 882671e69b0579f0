//! The versions of one key.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{ChangeKind, Direction, ReadView, ViewError};
use crate::ids::Revision;
use crate::key::Key;
use crate::limits::{HISTORY_PAGE_MAX, SCAN_PAGE_BYTES};
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
    /// If the limit is out of range, or a value damaged.
    pub fn history(&self, request: &HistoryRequest) -> Result<HistoryPage, ViewError> {
        let limit = request.limit;
        if !(1..=HISTORY_PAGE_MAX).contains(&limit) {
            return Err(ViewError::PageLimit {
                limit,
                limit_max: HISTORY_PAGE_MAX,
            });
        }
        let found: Vec<VersionCell<'_>> = match request.direction {
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
                let newer = all.take_while(|version| cell::stored(version.bytes).revision() > after);
                let mut last: VecDeque<VersionCell<'_>> = VecDeque::new();
                for version in newer {
                    last.push_back(version);
                    if last.len() > limit.saturating_add(1) {
                        last.pop_front();
                    }
                }
                last.into_iter().rev().collect()
            }
        };
        page(&request.key, &found, limit)
    }

    /// The versions of a key from the one in force at `newest` back to the one in force at the
    /// compaction revision.
    fn versions_from<'a>(
        &'a self,
        key: &'a Key,
        newest: Revision,
    ) -> Option<impl Iterator<Item = VersionCell<'a>>> {
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
        // A key that was absent at the compaction revision begins after it.
        Some(chain.filter(|version| match cell::stored(version.bytes) {
            StoredCell::Tombstone { link, .. } => link.place.revision > state.compact_revision,
            StoredCell::Record { .. } => true,
        }))
    }
}

/// A page of what was found, which goes one beyond the limit if there is more.
fn page(key: &Key, found: &[VersionCell<'_>], limit: usize) -> Result<HistoryPage, ViewError> {
    let mut versions = Vec::new();
    let mut bytes = 0_usize;
    for version in found {
        if versions.len() >= limit || bytes >= SCAN_PAGE_BYTES {
            let next = versions.last().map(Version::revision);
            return Ok(HistoryPage { versions, next });
        }
        versions.push(match cell::stored(version.bytes) {
            StoredCell::Tombstone { kind, link } => Version::Removed {
                revision: link.place.revision,
                kind,
            },
            StoredCell::Record { .. } => {
                let Some(record) = RecordRef::new(key.as_bytes(), *version) else {
                    continue;
                };
                bytes = bytes.saturating_add(record.value_len());
                Version::Record(record.to_record()?)
            }
        });
    }
    Ok(HistoryPage { versions, next: None })
}
