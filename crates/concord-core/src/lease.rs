//! Leases: what a client keeps alive, with keys that go when it ends.
//!
//! The record of a lease is replicated state; which keys hang on it is derived from theirs.

use alloc::vec::Vec;

use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::ids::{LeaseId, Millis, Timestamp};
use crate::policy::PrincipalId;

/// A lease as a view shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives from each time that it is kept alive.
    pub ttl: Millis,
    /// When it ends, by the replicated clock, unless it is kept alive.
    pub expires_at: Timestamp,
    /// How many keys hang on it.
    pub keys: u64,
    /// Who made it.
    pub owner: PrincipalId,
}

impl Lease {
    /// How long it has left at `now`.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Millis {
        self.expires_at.since(now)
    }
}

/// What is kept of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseCell {
    pub(crate) ttl: Millis,
    pub(crate) expires_at: Timestamp,
    pub(crate) owner: PrincipalId,
}

impl LeaseCell {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        writer::number(self.ttl.get(), &mut out);
        writer::number(self.expires_at.get(), &mut out);
        // Nothing of nobody, as it was before leases had owners.
        out.extend_from_slice(self.owner.as_bytes());
        out
    }

    pub(crate) fn decode(cell: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(cell);
        Ok(Self {
            ttl: Millis::new(reader.number()?),
            expires_at: Timestamp::new(reader.number()?),
            owner: PrincipalId::decode(reader.rest(), &reader)?,
        })
    }

    /// Reads a cell of the store.
    ///
    /// # Panics
    ///
    /// If it is damaged: only this module writes it, and a restore checks it.
    pub(crate) fn stored(cell: &[u8]) -> Self {
        Self::decode(cell).expect("leases in the store are written by this module and checked on restore")
    }
}

/// The key of a lease in the trees.
pub(crate) fn lease_key(lease: LeaseId) -> [u8; 8] {
    lease.get().to_be_bytes()
}

/// Reads the key of a lease back.
pub(crate) fn decode_lease_key(key: &[u8]) -> Result<LeaseId, DecodeError> {
    let mut reader = Reader::new(key);
    let lease = LeaseId::new(u64::from_be_bytes(reader.array()?));
    reader.end()?;
    Ok(lease)
}

/// The keys that hang on leases: for each lease their number, and for each key an entry.
/// Derived from the live records.
pub(crate) mod attached {
    use alloc::vec::Vec;
    use core::ops::Bound;

    use super::{Reader, lease_key, writer};
    use crate::ids::LeaseId;
    use crate::tree::Tree;

    /// How many keys hang on a lease.
    pub(crate) fn count(tree: &Tree, lease: LeaseId) -> u64 {
        if tree.is_empty() {
            return 0;
        }
        let cell = tree.get(&lease_key(lease));
        // Only this module writes the number.
        cell.map_or(0, |cell| Reader::new(&cell).number().unwrap_or_default())
    }

    /// Hangs a key on a lease that it does not hang on.
    pub(crate) fn add(tree: &mut Tree, lease: LeaseId, key: &[u8]) {
        let after = count(tree, lease).saturating_add(1);
        set_count(tree, lease, after);
        tree.set(&entry(lease, key), &[]);
    }

    /// Takes a key off a lease that it hangs on.
    pub(crate) fn remove(tree: &mut Tree, lease: LeaseId, key: &[u8]) {
        let after = count(tree, lease).saturating_sub(1);
        set_count(tree, lease, after);
        tree.remove(&entry(lease, key));
    }

    /// The keys that hang on a lease, in order: those behind `after`, or all.
    pub(crate) fn keys<'a>(
        tree: &'a Tree,
        lease: LeaseId,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // The number of them lies at the prefix itself.
        let start = entry(lease, after.unwrap_or_default());
        let entries = tree.range((Bound::Excluded(start.as_slice()), Bound::Unbounded));
        entries.map_while(move |(entry, _)| entry.strip_prefix(lease_key(lease).as_slice()))
    }

    fn set_count(tree: &mut Tree, lease: LeaseId, count: u64) {
        if count == 0 {
            tree.remove(&lease_key(lease));
            return;
        }
        let mut cell = Vec::with_capacity(2);
        writer::number(count, &mut cell);
        tree.set(&lease_key(lease), &cell);
    }

    fn entry(lease: LeaseId, key: &[u8]) -> Vec<u8> {
        let mut entry = Vec::with_capacity(key.len().saturating_add(8));
        entry.extend_from_slice(&lease_key(lease));
        entry.extend_from_slice(key);
        entry
    }
}
