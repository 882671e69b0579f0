//! The versions of one key.

use alloc::vec::Vec;
use core::ops::Bound;

use super::{ChangeKind, Direction, ReadView, ViewError};
use crate::ids::Revision;
use crate::key::Key;
use crate::limits::HISTORY_PAGE_MAX;
use crate::record::cell::{self, StoredCell};
use crate::record::{Record, RecordRef};
use crate::state::history_key;
use crate::tree::Cell;

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
        let mut versions = Vec::new();
        let mut next = None;
        let mut visit = |version: Version| {
            if versions.len() < limit {
                versions.push(version);
                true
            } else {
                next = versions.last().map(Version::revision);
                false
            }
        };
        match request.direction {
            Direction::Ascending => {
                let after = request.after.unwrap_or_default();
                if self
                    .superseded(request, after, Revision::new(u64::MAX))
                    .all(&mut visit)
                    && let Some(live) = self.current(request).filter(|live| live.revision() > after)
                {
                    visit(live);
                }
            }
            Direction::Descending => {
                let before = request.after.unwrap_or(Revision::new(u64::MAX));
                let live = self.current(request).filter(|live| live.revision() < before);
                if live.is_none_or(&mut visit) {
                    self.superseded(request, Revision::new(0), before)
                        .rev()
                        .all(&mut visit);
                }
            }
        }
        Ok(HistoryPage { versions, next })
    }

    fn current(&self, request: &HistoryRequest) -> Option<Version> {
        self.get(request.key.as_bytes())
            .map(|record| Version::Record(record.to_record()))
    }

    /// Replaced versions with revisions between both bounds, neither included.
    fn superseded(
        &self,
        request: &HistoryRequest,
        after: Revision,
        before: Revision,
    ) -> impl DoubleEndedIterator<Item = Version> {
        let key = request.key.as_bytes();
        let prefix = history_key::prefix_of(key);
        // Older versions may await their removal; they are gone already for readers.
        let in_force = self.state.superseded_at(&prefix, self.state.compact_revision);
        let oldest = in_force.map_or(Revision::new(0), |cell| match cell::stored(cell.as_bytes()) {
            StoredCell::Record { header, .. } => header.mod_revision,
            // A key that was absent at the compaction revision begins after it.
            StoredCell::Tombstone(_) => self.state.compact_revision.next(),
        });
        let start = history_key::join(&prefix, oldest.max(after.next()));
        let end = history_key::join(&prefix, before);
        let range = self
            .state
            .history
            .range((Bound::Included(&start), Bound::Excluded(&end)));
        range.map(move |(whole, cell)| version(key, whole, cell))
    }
}

fn version(key: &[u8], history_key: &[u8], cell: Cell<'_>) -> Version {
    match cell::stored(cell.as_bytes()) {
        StoredCell::Tombstone(kind) => {
            let (_, revision) = history_key::split(history_key)
                .expect("history keys are written by this crate and checked on restore");
            Version::Removed { revision, kind }
        }
        StoredCell::Record { .. } => {
            let record = RecordRef::new(key, cell).expect("the cell was just seen to hold a record");
            Version::Record(record.to_record())
        }
    }
}
