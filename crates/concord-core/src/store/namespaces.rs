//! Quotas of namespaces, judged against what a request really changes, and namespaces that are emptied.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Store;
use super::draft::Draft;
use super::mutate::{bytes, signed};
use crate::key::Key;
use crate::limits::{NAMESPACE_KEYS_EMPTIED_PER_BATCH, NAMESPACES_MAX};
use crate::namespace::{NamespaceCell, NamespaceEdit, is_namespace};
use crate::record::RecordRef;
use crate::reply::{InvalidRequestReason, Quota, Rejection};
use crate::view::ChangeKind;

/// What a request does to one namespace.
#[derive(Clone, Copy, Debug, Default)]
struct Delta {
    keys: i64,
    bytes: i64,
    writes: bool,
}

impl Delta {
    fn add(&mut self, key: &[u8], before: Option<usize>, after: Option<usize>) {
        let size = |value: Option<usize>| value.map_or(0, |value| signed(key.len().saturating_add(value)));
        self.keys = self
            .keys
            .saturating_add(i64::from(after.is_some()) - i64::from(before.is_some()));
        let grown = size(after).saturating_sub(size(before));
        self.bytes = self.bytes.saturating_add(grown);
        self.writes |= after.is_some();
    }
}

impl Store {
    /// That a namespace has room for one key to hold a value of this size, where there is one of the other size or
    /// none.
    pub(super) fn check_quota(
        &mut self,
        key: &Key,
        before: Option<usize>,
        value_bytes: usize,
    ) -> Result<(), Rejection> {
        if self.state.namespaces.is_empty() {
            return Ok(());
        }
        let mut delta = Delta::default();
        delta.add(key.as_bytes(), before, Some(value_bytes));
        self.check_delta(key.namespace(), delta)
    }

    /// That every namespace has room for what a draft leaves in it.
    pub(super) fn check_quota_draft(&mut self, draft: &Draft) -> Result<(), Rejection> {
        if self.state.namespaces.is_empty() {
            return Ok(());
        }
        let mut deltas: BTreeMap<&[u8], Delta> = BTreeMap::new();
        for (key, after) in draft.outcome() {
            let before = self.live(key).map(|(record, _)| stored_bytes(&record));
            let delta = deltas.entry(key.namespace()).or_default();
            delta.add(key.as_bytes(), before, after);
        }
        deltas
            .into_iter()
            .try_for_each(|(namespace, delta)| self.check_delta(namespace, delta))
    }

    /// D-SEC-8: judged and counted at once, so no race exceeds it. What does not grow is always taken.
    fn check_delta(&mut self, namespace: &[u8], delta: Delta) -> Result<(), Rejection> {
        self.see_namespace(namespace);
        let (seen, usage) = self.usage_delta.seen();
        let Some(NamespaceCell {
            quota, is_emptying, ..
        }) = seen
        else {
            return Ok(());
        };
        if is_emptying && delta.writes {
            return Err(Rejection::NamespaceEmptying);
        }
        let is_over = |limit: Option<u64>, held: u64, grown: i64| {
            limit.filter(|limit| grown > 0 && held.saturating_add_signed(grown) > *limit)
        };
        if let Some(limit) = is_over(quota.max_keys, usage.keys, delta.keys) {
            let quota = Quota::NamespaceKeys;
            return Err(Rejection::QuotaExceeded { quota, limit });
        }
        if let Some(limit) = is_over(quota.max_storage_bytes, usage.bytes, delta.bytes) {
            let quota = Quota::NamespaceBytes;
            return Err(Rejection::QuotaExceeded { quota, limit });
        }
        Ok(())
    }

    /// Counts a request of a tenant, or refuses it for now.
    pub(super) fn spend_operation(&mut self, tenant: &[u8]) -> Result<(), Rejection> {
        let Some(cell) = self.state.namespaces.get(tenant) else {
            return Ok(());
        };
        let mut namespace = NamespaceCell::stored(&cell);
        if namespace.quota.max_ops_per_sec.is_none() {
            return Ok(());
        }
        namespace
            .spend(self.state.now)
            .map_err(|wait| Rejection::RateLimited {
                retry_after_ms: wait.get(),
            })?;
        self.state.namespaces.set(tenant, &namespace.encode());
        // What is seen of a namespace is its quota, which stays.
        Ok(())
    }

    /// That these changes of namespaces can be made.
    pub(super) fn check_namespaces(&self, edits: &[NamespaceEdit]) -> Result<(), Rejection> {
        let is_sound = |edit: &NamespaceEdit| is_namespace(&edit.namespace);
        if !edits.iter().all(is_sound) {
            let reason = InvalidRequestReason::Namespace;
            return Err(Rejection::InvalidRequest { reason });
        }
        let is_new = |edit: &&NamespaceEdit| !self.state.namespaces.contains_key(&edit.namespace);
        let fresh = edits.iter().filter(is_new).count();
        if fresh > 0 && self.state.namespaces.len().saturating_add(fresh) > NAMESPACES_MAX {
            let (quota, limit) = (Quota::Namespaces, bytes(NAMESPACES_MAX));
            return Err(Rejection::QuotaExceeded { quota, limit });
        }
        Ok(())
    }

    /// Gives a namespace another quota or none, and begins to empty it if that is asked for.
    pub(super) fn edit_namespace(&mut self, edit: &NamespaceEdit) {
        let (namespace, now) = (&edit.namespace, self.state.now);
        let before = self.state.namespaces.get(namespace);
        let before = before.map(|cell| NamespaceCell::stored(&cell));
        let mut cell = match before {
            Some(before) => before.under(edit.quota, now),
            None => NamespaceCell::new(edit.quota, false, now),
        };
        cell.is_emptying |= edit.delete_keys;
        if cell.is_emptying {
            self.state.emptying.set(namespace, &[]);
        }
        self.keep_namespace(namespace, &cell);
    }

    /// Keeps what is to be known of a namespace; nothing, if that is nothing.
    fn keep_namespace(&mut self, namespace: &[u8], cell: &NamespaceCell) {
        self.usage_delta.forget_seen();
        if cell.is_plain() {
            self.state.namespaces.remove(namespace);
        } else {
            self.state.namespaces.set(namespace, &cell.encode());
        }
    }

    /// Whether keys of a namespace are still to be deleted.
    pub(super) fn is_emptying_namespaces(&self) -> bool {
        !self.state.emptying.is_empty()
    }

    /// Deletes some keys of a namespace that is being emptied.
    pub(super) fn empty_some_namespaces(&mut self) {
        let Some((namespace, _)) = self.state.emptying.first() else {
            return;
        };
        let namespace = namespace.to_vec();
        let prefix = [namespace.as_slice(), b":"].concat();
        let live = self.state.live.prefix(&prefix);
        let keys: Vec<Vec<u8>> = live
            .take(NAMESPACE_KEYS_EMPTIED_PER_BATCH)
            .map(|(key, _)| key.to_vec())
            .collect();
        if !keys.is_empty() {
            self.open_revision();
        }
        for key in &keys {
            self.remove_key(key, ChangeKind::Delete);
        }
        if keys.len() < NAMESPACE_KEYS_EMPTIED_PER_BATCH {
            self.end_emptying(&namespace);
        }
    }

    fn end_emptying(&mut self, namespace: &[u8]) {
        self.state.emptying.remove(namespace);
        let Some(cell) = self.state.namespaces.get(namespace) else {
            return;
        };
        let mut cell = NamespaceCell::stored(&cell);
        cell.is_emptying = false;
        self.keep_namespace(namespace, &cell);
    }
}

fn stored_bytes(record: &RecordRef<'_>) -> usize {
    record.stored().bytes().len()
}
