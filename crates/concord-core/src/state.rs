//! The replicated state: what a view shows and a snapshot holds, and the byte forms of its keys.
//!
//! | tree | key | cell |
//! | --- | --- | --- |
//! | `live` | user key | its record |
//! | `graves` | user key | its tombstone, if its removal is still in the change log |
//! | `changes`, a [`ChangeLog`] | place: revision, order within it | kind, user key, the version before |
//! | `replaced` | place of a change | the version before, where that is large |
//! | `sessions` | session; session, first sequence | header; remembered replies |
//! | `leases` | lease | ttl, deadline |
//! | `idempotency` | scope, idempotency key | when, fingerprint, reply |
//! | `subscriptions` | name | revision acknowledged, when, filter |
//! | `lease_keys` | lease; lease, user key | how many keys; nothing |
//! | `policy` | key of a record | the record |
//! | `namespaces` | namespace | quota, whether it is being emptied, bucket of operations |
//! | `usage` | namespace | keys, bytes |
//! | `indexes`, of each its entries | value, user key | nothing |
//!
//! Beside them lies what a restore has brought so far: a state of its own (`staged`).
//!
//! History lies in the change log, each version in the change that replaced it: a write costs
//! one update of `live` and one append, and compaction takes from the other end. The versions
//! of a key are a chain from its live record or tombstone through the changes that made them;
//! [`record::cell::Link`](crate::record::cell::Link) says how a reader follows it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::changelog::ChangeLog;
use crate::codec::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::ids::{LeaseId, LogIndex, Revision, Timestamp};
use crate::index::Index;
use crate::record::cell::{Place, stored};
use crate::restore::Staged;
use crate::settings::Settings;
use crate::tree::{Cell, INLINE_CELL_BYTES, Tree};
use crate::version::ClusterVersion;
use crate::view::{ChangeKind, PackedUsage, SessionUsage, Usage};

/// All replicated state. A clone is O(1) and never changes (I15).
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) live: Tree,
    pub(crate) graves: Tree,
    pub(crate) changes: ChangeLog,
    pub(crate) replaced: Tree,
    pub(crate) sessions: Tree,
    /// Derived from `sessions`, as of the last batch.
    pub(crate) session_usage: SessionUsage,
    pub(crate) leases: Tree,
    pub(crate) idempotency: Tree,
    pub(crate) subscriptions: Tree,
    /// What `concord-auth` keeps here.
    pub(crate) policy: Tree,
    /// Grows with every change of the policy that a judgement can depend on.
    pub(crate) policy_revision: u64,
    /// Derived: bytes of keys and records in `policy`.
    pub(crate) policy_bytes: u64,
    /// Only those that something is to be known of: see [`crate::namespace`].
    pub(crate) namespaces: Tree,
    /// Derived from `namespaces`: those that are being emptied.
    pub(crate) emptying: Tree,
    /// Derived from `live`, kept by `store::mutate`: see [`crate::lease::attached`].
    pub(crate) lease_keys: Tree,
    /// The last id that was chosen for a lease. None is chosen twice.
    pub(crate) last_lease: LeaseId,
    /// Derived from `live`, kept by `store::usage`.
    pub(crate) usage: Tree,
    /// In the order of their names. Their entries are derived from `live`.
    pub(crate) indexes: Arc<Vec<Index>>,
    /// Derived from `usage`: all namespaces together.
    pub(crate) total: Usage,
    /// Derived from `live`: its packed values.
    pub(crate) packed: PackedUsage,
    /// Derived: bytes of keys and cells in `graves`, `changes` and `replaced`.
    pub(crate) history_bytes: u64,
    /// The last applied entry (I1).
    pub(crate) applied: LogIndex,
    pub(crate) revision: Revision,
    /// The oldest readable revision. What it makes unreachable is removed a bit per batch.
    pub(crate) compact_revision: Revision,
    /// The replicated clock (I2).
    pub(crate) now: Timestamp,
    pub(crate) settings: Settings,
    /// As what machine the replicas apply (I24).
    pub(crate) version: ClusterVersion,
    /// When which revision was current, oldest first; for compaction by age.
    pub(crate) marks: Arc<Vec<Mark>>,
    /// What is to take the place of all this.
    pub(crate) staged: Option<Arc<Staged>>,
}

/// A point of replicated time with the revision that was current then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) at: Timestamp,
    pub(crate) revision: Revision,
}

/// A version of a key where it lies: on its own in a tree, or within a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VersionCell<'a> {
    pub(crate) bytes: &'a [u8],
    /// The cell, if the version is alone in it.
    pub(crate) alone: Option<Cell<'a>>,
}

impl<'a> VersionCell<'a> {
    pub(crate) const fn alone(cell: Cell<'a>) -> Self {
        Self {
            bytes: cell.as_bytes(),
            alone: Some(cell),
        }
    }
}

impl State {
    pub(crate) fn empty() -> Self {
        Self {
            live: Tree::new(),
            graves: Tree::new(),
            changes: ChangeLog::default(),
            replaced: Tree::new(),
            sessions: Tree::new(),
            session_usage: SessionUsage::default(),
            leases: Tree::new(),
            idempotency: Tree::new(),
            subscriptions: Tree::new(),
            policy: Tree::new(),
            policy_revision: 0,
            policy_bytes: 0,
            namespaces: Tree::new(),
            emptying: Tree::new(),
            lease_keys: Tree::new(),
            last_lease: LeaseId::new(0),
            usage: Tree::new(),
            indexes: Arc::default(),
            total: Usage::default(),
            packed: PackedUsage::default(),
            history_bytes: 0,
            applied: LogIndex::new(0),
            revision: Revision::EMPTY,
            compact_revision: Revision::new(0),
            now: Timestamp::new(0),
            settings: Settings::INITIAL,
            version: ClusterVersion::BASE,
            marks: Arc::new(Vec::new()),
            staged: None,
        }
    }

    /// The newest version of a key.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<VersionCell<'_>> {
        self.live
            .get(key)
            .or_else(|| self.graves.get(key))
            .map(VersionCell::alone)
    }

    /// The version in force at `revision`, from a newer one or the same on (I11).
    pub(crate) fn in_force<'a>(
        &'a self,
        newest: Option<VersionCell<'a>>,
        revision: Revision,
    ) -> Option<VersionCell<'a>> {
        let mut version = newest?;
        loop {
            let read = stored(version.bytes);
            if read.revision() <= revision {
                return Some(version);
            }
            // Every change after a readable revision is there, so the chain holds that far.
            version = self.before(read.link().towards(revision))?;
        }
    }

    /// The version that the change at `place` replaced.
    pub(crate) fn before(&self, place: Place) -> Option<VersionCell<'_>> {
        let cell = self.changes.get(place)?;
        self.version_before(place, change::stored(cell))
    }

    /// The version that a change replaced.
    pub(crate) fn version_before<'a>(
        &'a self,
        place: Place,
        entry: change::Entry<'a>,
    ) -> Option<VersionCell<'a>> {
        match entry.before {
            change::Before::Nothing => None,
            change::Before::Here(bytes) => Some(VersionCell { bytes, alone: None }),
            change::Before::Apart => self.replaced.get(&change::key(place)).map(VersionCell::alone),
        }
    }

    /// Whether a version that is replaced goes into `replaced`: it would be copied otherwise,
    /// and make its neighbours in the change log slow to read.
    pub(crate) const fn is_kept_apart(version: &[u8]) -> bool {
        version.len() > INLINE_CELL_BYTES
    }
}

/// Keys and cells of the change log.
pub(crate) mod change {
    use super::{ChangeKind, DecodeError, Place, Reader, Revision, Vec, writer};

    const KIND_MASK: u8 = 0b11;
    const HERE: u8 = 0x04;
    const APART: u8 = 0x08;

    /// The key of a change: its revision, then its order within it.
    pub(crate) fn key(place: Place) -> [u8; 12] {
        let mut key = [0; 12];
        let (high, low) = key.split_at_mut(8);
        high.copy_from_slice(&place.revision.get().to_be_bytes());
        low.copy_from_slice(&place.order.to_be_bytes());
        key
    }

    pub(crate) fn decode_key(bytes: &[u8]) -> Result<Place, DecodeError> {
        let mut reader = Reader::new(bytes);
        let revision = Revision::new(u64::from_be_bytes(reader.array()?));
        let order = u32::from_be_bytes(reader.array()?);
        reader.end()?;
        Ok(Place { revision, order })
    }

    /// What a change did.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Entry<'a> {
        pub(crate) kind: ChangeKind,
        pub(crate) key: &'a [u8],
        pub(crate) before: Before<'a>,
    }

    /// The version that a change replaced: a record, or the tombstone of an earlier removal.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Before<'a> {
        /// There was none, or none that is still known of.
        Nothing,
        /// This one.
        Here(&'a [u8]),
        /// It lies in `replaced`, under the same place.
        Apart,
    }

    pub(crate) fn encode(entry: Entry<'_>, out: &mut Vec<u8>) {
        let (flag, here): (u8, &[u8]) = match entry.before {
            Before::Nothing => (0, &[]),
            Before::Here(version) => (HERE, version),
            Before::Apart => (APART, &[]),
        };
        out.push(entry.kind.code() | flag);
        writer::bytes(entry.key, out);
        out.extend_from_slice(here);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Entry<'_>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        let kind =
            ChangeKind::from_code(flags & KIND_MASK).ok_or_else(|| reader.error("unknown kind of change"))?;
        let key = reader.bytes()?;
        let before = match flags & !KIND_MASK {
            0 => Before::Nothing,
            HERE => Before::Here(reader.rest()),
            APART => Before::Apart,
            _ => return Err(reader.error("unknown flags of a change")),
        };
        reader.end()?;
        Ok(Entry { kind, key, before })
    }

    /// Reads an entry of the store.
    ///
    /// # Panics
    ///
    /// If it is damaged: see [`crate::record::cell::stored`].
    pub(crate) fn stored(bytes: &[u8]) -> Entry<'_> {
        decode(bytes).expect("changes in the store are written by this module and checked on restore")
    }

    /// Reads a key of the change log.
    ///
    /// # Panics
    ///
    /// As [`stored`].
    pub(crate) fn stored_key(bytes: &[u8]) -> Place {
        decode_key(bytes).expect("changes in the store are written by this module and checked on restore")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_back() {
        for before in [
            change::Before::Nothing,
            change::Before::Here(b"cell"),
            change::Before::Apart,
        ] {
            let entry = change::Entry {
                kind: ChangeKind::Expire,
                key: b"k",
                before,
            };
            let mut out = Vec::new();
            change::encode(entry, &mut out);
            assert_eq!(change::decode(&out), Ok(entry));
        }
        let place = Place {
            revision: Revision::new(7),
            order: 9,
        };
        assert_eq!(change::decode_key(&change::key(place)), Ok(place));
    }
}
