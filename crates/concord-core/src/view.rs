//! Reading: immutable pictures of the state, the only door out.
//!
//! A view is taken once a batch and shared by every reader: points, scans, histories, watches
//! and snapshots all read the same one, and none of them makes apply wait. It never changes
//! (I15); reads of an older revision are answered from the history that it holds (I11).

mod changes;
mod filter;
mod history;
mod index;
mod leases;
pub(crate) mod past;
mod policy;
mod restore;
mod scan;
mod subscriptions;

use alloc::sync::Arc;
use core::fmt;

use crate::codec::reader::Reader;
use crate::ids::{LogIndex, Revision, Timestamp};
use crate::key::KeyRange;
use crate::record::{PinnedRecord, RecordRef};
use crate::settings::Settings;
use crate::state::{State, VersionCell};
use crate::value::CorruptValue;
use crate::version::ClusterVersion;

pub use changes::{Change, ChangeKind, Changes};
pub use filter::{KeyFilter, pieces};
pub use history::{HistoryPage, HistoryRequest, Version};
pub(crate) use index::walk as walk_entries;
pub use index::{IndexPage, IndexPosition, IndexRequest};
pub(crate) use past::Step;
pub use scan::{Direction, Records, ScanOutput, ScanPage, ScanPosition, ScanRequest};

/// The state as one batch left it. A clone costs one reference count.
///
/// Holding a view keeps the parts of the state in memory that have changed since: long work
/// should take a new one now and then.
#[derive(Clone)]
pub struct ReadView {
    state: Arc<State>,
}

/// Why a read has no answer. Reads write nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The revision asked for is no longer kept.
    #[error("history before revision {compact_revision} is compacted")]
    Compacted {
        /// The oldest revision that is still readable.
        compact_revision: Revision,
    },
    /// The revision asked for is after the one this view shows.
    #[error("revision {revision} is the latest here")]
    FutureRevision {
        /// The latest revision here.
        revision: Revision,
    },
    /// A page size of zero or over the limit.
    #[error("page limit is {limit}, must be 1 to {limit_max}")]
    PageLimit {
        /// The one asked for.
        limit: usize,
        /// The largest.
        limit_max: usize,
    },
    /// The bytes of a position were not made by [`ScanPosition::encode`].
    #[error("position to go on from is invalid")]
    InvalidPosition,
    /// A value is packed and damaged.
    #[error(transparent)]
    Corrupt(#[from] CorruptValue),
    /// There is no index of this name.
    #[error("index not found")]
    IndexNotFound,
    /// The index is being filled: its status says how far it is.
    #[error("index is being filled and cannot be asked yet")]
    IndexNotReady,
    /// Two records have a value that was to be unique: the index's status names one of them.
    #[error("index has failed: two records have a value that was to be unique")]
    IndexFailed,
    /// The revision lies more than [`crate::limits::INDEX_PAST_CHANGES_MAX`] changes back.
    #[error(
        "revision {revision} is more than {} changes back, too far for an index",
        crate::limits::INDEX_PAST_CHANGES_MAX
    )]
    TooManyChanges {
        /// The one asked for.
        revision: Revision,
    },
}

impl ViewError {
    /// The error's name in every interface. Stable, unlike the message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Compacted { .. } => "compacted",
            Self::FutureRevision { .. } => "future_revision",
            Self::PageLimit { .. } | Self::InvalidPosition => "invalid_request",
            Self::Corrupt(_) => "corrupt",
            Self::IndexNotFound => "not_found",
            Self::IndexNotReady => "not_ready",
            Self::IndexFailed => "unique_violation",
            Self::TooManyChanges { .. } => "batch_too_large",
        }
    }
}

/// What a namespace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and stored values.
    pub bytes: u64,
}

/// What the packed values among the live ones take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackedUsage {
    /// How many there are.
    pub values: u64,
    /// Their bytes as they are kept.
    pub stored_bytes: u64,
    /// Their bytes when they are unpacked.
    pub raw_bytes: u64,
}

/// What is remembered of requests, so that each applies once (I7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionUsage {
    /// Sessions that are known.
    pub count: usize,
    /// Bytes of the replies that they remember.
    pub reply_bytes: u64,
}

impl PackedUsage {
    pub(crate) fn add(&mut self, stored: usize, raw: usize) {
        self.values = self.values.saturating_add(1);
        self.stored_bytes = self.stored_bytes.saturating_add(count(stored));
        self.raw_bytes = self.raw_bytes.saturating_add(count(raw));
    }

    pub(crate) fn remove(&mut self, stored: usize, raw: usize) {
        self.values = self.values.saturating_sub(1);
        self.stored_bytes = self.stored_bytes.saturating_sub(count(stored));
        self.raw_bytes = self.raw_bytes.saturating_sub(count(raw));
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Usage {
    /// Reads a cell of the usage tree, which only `store::usage` writes.
    pub(crate) fn stored(cell: &[u8]) -> Self {
        let mut reader = Reader::new(cell);
        let keys = reader.number().unwrap_or_default();
        let bytes = reader.number().unwrap_or_default();
        Self { keys, bytes }
    }
}

/// Sizes of the parts of the state, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Keys and their bytes, all namespaces together.
    pub usage: Usage,
    /// The packed values among them.
    pub packed: PackedUsage,
    /// Changes that are kept, each with the version that it replaced.
    pub history_entries: usize,
    /// Bytes of the history: changes, replaced versions, tombstones.
    pub history_bytes: u64,
}

impl Statistics {
    /// Bytes of keys and values as they were put: with what is packed unpacked.
    #[must_use]
    pub const fn raw_bytes(&self) -> u64 {
        self.usage
            .bytes
            .saturating_sub(self.packed.stored_bytes)
            .saturating_add(self.packed.raw_bytes)
    }
}

impl ReadView {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The revision that the view shows.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.revision
    }

    /// As what machine the cluster's replicas apply.
    #[must_use]
    pub fn version(&self) -> ClusterVersion {
        self.state.version
    }

    /// The replicated clock, by which expiry is judged.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.now
    }

    /// The last log entry that the view contains.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.state.applied
    }

    /// The oldest readable revision; 0 if nothing was ever compacted.
    #[must_use]
    pub fn compact_revision(&self) -> Revision {
        self.state.compact_revision
    }

    /// The settings that decide in apply.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.state.settings
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.live.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.live.is_empty()
    }

    /// What a namespace holds: see [`crate::key::namespace_of`]. Exact (I10).
    #[must_use]
    pub fn usage(&self, namespace: &[u8]) -> Usage {
        self.state
            .usage
            .get(namespace)
            .map_or(Usage::default(), |cell| Usage::stored(&cell))
    }

    /// Every namespace that holds keys, in order, with what it holds.
    pub fn namespaces(&self) -> impl Iterator<Item = (&[u8], Usage)> {
        self.state
            .usage
            .iter()
            .map(|(namespace, cell)| (namespace, Usage::stored(&cell)))
    }

    /// The sessions, as of the last batch.
    #[must_use]
    pub fn sessions(&self) -> SessionUsage {
        self.state.session_usage
    }

    /// Sizes of the parts of the state.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            usage: self.state.total,
            packed: self.state.packed,
            history_entries: self.state.changes.len(),
            history_bytes: self.state.history_bytes,
        }
    }

    /// The record of `key`, if it exists. Allocates nothing.
    #[must_use]
    pub fn get<'a>(&'a self, key: &'a [u8]) -> Option<RecordRef<'a>> {
        // I17: what is due is removed before a view is taken, so that presence is enough.
        self.state
            .live
            .get(key)
            .and_then(|cell| RecordRef::new(key, VersionCell::alone(cell)))
    }

    /// The record of `key` in a form that outlives this view.
    #[must_use]
    pub fn get_pinned(&self, key: &[u8]) -> Option<PinnedRecord> {
        self.state.live.get_pinned(key).and_then(PinnedRecord::new)
    }

    /// Whether `key` exists.
    #[must_use]
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.state.live.contains_key(key)
    }

    /// The record of `key` as it was at `revision` (I11).
    ///
    /// # Errors
    ///
    /// If the revision is compacted or still to come.
    pub fn get_at<'a>(
        &'a self,
        key: &'a [u8],
        revision: Revision,
    ) -> Result<Option<RecordRef<'a>>, ViewError> {
        self.check_revision(revision)?;
        let version = self.state.in_force(self.state.newest(key), revision);
        Ok(version.and_then(|version| RecordRef::new(key, version)))
    }

    /// How many keys of `range` there are, now or at a revision. Looks at each of them.
    ///
    /// # Errors
    ///
    /// If the revision is compacted or still to come.
    pub fn count(&self, range: &KeyRange, revision: Option<Revision>) -> Result<u64, ViewError> {
        let request = ScanRequest {
            revision,
            output: ScanOutput::Count,
            ..ScanRequest::new(range.clone())
        };
        self.scan(&request).map(|page| page.count)
    }

    /// That `revision` can be read here.
    pub(crate) fn check_revision(&self, revision: Revision) -> Result<(), ViewError> {
        if revision > self.state.revision {
            return Err(ViewError::FutureRevision {
                revision: self.state.revision,
            });
        }
        if revision < self.state.compact_revision {
            return Err(ViewError::Compacted {
                compact_revision: self.state.compact_revision,
            });
        }
        Ok(())
    }
}

impl fmt::Debug for ReadView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadView")
            .field("applied", &self.applied())
            .field("revision", &self.revision())
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}
