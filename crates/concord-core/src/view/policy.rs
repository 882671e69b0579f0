//! The policy as a view shows it: records that this crate does not read.

use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use super::ReadView;
use crate::namespace::{NamespaceCell, NamespaceQuota, NamespaceStatus};
use crate::tree::prefix_end;

impl ReadView {
    /// The revision of the policy: grows with every change that a judgement can depend on.
    #[must_use]
    pub fn policy_revision(&self) -> u64 {
        self.state.policy_revision
    }

    /// What there is to know of a namespace beside what it [holds](Self::usage).
    #[must_use]
    pub fn namespace(&self, namespace: &[u8]) -> NamespaceStatus {
        let cell = self.state.namespaces.get(namespace);
        let cell = cell.map_or(
            NamespaceCell::new(NamespaceQuota::UNLIMITED, false, self.state.now),
            |cell| NamespaceCell::stored(&cell),
        );
        cell.status(self.state.now)
    }

    /// The record of the policy under a key.
    #[must_use]
    pub fn policy_get(&self, key: &[u8]) -> Option<Bytes> {
        let record = self.state.policy.get(key)?;
        Some(Bytes::copy_from_slice(&record))
    }

    /// Keys and records of the policy in order: up to `limit` whose keys start with `prefix` and come after `after`.
    #[must_use]
    pub fn policy_list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let start = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let end = prefix_end(prefix);
        let is_before = |key: &[u8]| end.as_ref().is_none_or(|end| key < end.as_slice());
        self.state
            .policy
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| is_before(key))
            .take(limit)
            .map(|(key, record)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(&record)))
            .collect()
    }
}
