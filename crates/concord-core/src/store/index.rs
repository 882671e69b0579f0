//! Indexes of the store: made, dropped, filled, and kept as records change.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use super::Store;
use crate::expr::Scope;
use crate::ids::Revision;
use crate::index::{Fill, Index, IndexDefinition, IndexName, is_value, scope};
use crate::key::Key;
use crate::limits::{
    INDEX_FILL_BYTES_PER_BATCH, INDEX_FILL_KEYS_PER_BATCH, INDEXES_MAX, RESTORE_INDEX_BYTES_PER_STEP,
    RESTORE_INDEX_KEYS_PER_STEP,
};
use crate::record::RecordRef;
use crate::record::cell::Header;
use crate::reply::{InvalidRequestReason, Rejection, Reply};
use crate::restore::Indexed;
use crate::state::{State, VersionCell};
use crate::tree::Tree;

/// What a change of a record does to an index.
struct Edit {
    place: usize,
    removed: Vec<Vec<u8>>,
    added: Vec<Vec<u8>>,
}

impl Store {
    pub(super) fn create_index(
        &mut self,
        definition: Arc<IndexDefinition>,
        fills: bool,
    ) -> Result<Reply, Rejection> {
        let place = match self.index_place(definition.name()) {
            Ok(_) => return Err(Rejection::IndexExists),
            Err(place) => place,
        };
        if self.state.indexes.len() >= INDEXES_MAX {
            return Err(Rejection::InvalidRequest {
                reason: InvalidRequestReason::TooManyIndexes,
            });
        }
        let index = Index::new(definition, self.state.revision, fills);
        Arc::make_mut(&mut self.state.indexes).insert(place, index);
        Ok(self.index_changed())
    }

    pub(super) fn drop_index(&mut self, name: &IndexName) -> Result<Reply, Rejection> {
        let place = self.index_place(name).map_err(|_| Rejection::IndexNotFound)?;
        Arc::make_mut(&mut self.state.indexes).remove(place);
        Ok(self.index_changed())
    }

    /// Makes an index anew, of all records.
    pub(super) fn reindex(&mut self, name: &IndexName) -> Result<Reply, Rejection> {
        let place = self.index_place(name).map_err(|_| Rejection::IndexNotFound)?;
        let since = self.state.revision;
        if let Some(index) = Arc::make_mut(&mut self.state.indexes).get_mut(place) {
            *index = Index::new(Arc::clone(&index.definition), since, true);
        }
        Ok(self.index_changed())
    }

    fn index_changed(&self) -> Reply {
        Reply::IndexChanged {
            revision: self.state.revision,
        }
    }

    fn index_place(&self, name: &IndexName) -> Result<usize, usize> {
        let indexes = &self.state.indexes;
        indexes.binary_search_by(|index| index.definition.name().cmp(name))
    }

    /// That no write takes a value of a unique index that another record keeps. Keys that
    /// `is_rewritten` says are among the writes, or go.
    pub(super) fn check_unique<'a>(
        &self,
        writes: impl Iterator<Item = (&'a [u8], Header, &'a [u8])>,
        is_rewritten: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Rejection> {
        let indexes = &self.state.indexes;
        if !indexes.iter().any(|index| index.definition.is_unique()) {
            return Ok(());
        }
        let mut taken = BTreeSet::new();
        for (key, header, value) in writes {
            let scope = scope(&RecordRef::staged(key, header, value));
            for (place, index) in indexes.iter().enumerate() {
                if !index.definition.is_unique() || !index.covers(key, header.mod_revision) {
                    continue;
                }
                for value in index.values(&scope).into_iter().filter(|value| is_value(value)) {
                    if index.is_taken(&value, key, &is_rewritten) || !taken.insert((place, value)) {
                        return Err(Rejection::UniqueViolation {
                            index: index.definition.name().clone(),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// That one write has room in its namespace, and takes no value that another record has.
    pub(super) fn check_write(
        &mut self,
        key: &Key,
        header: Header,
        value: &[u8],
        before: Option<usize>,
    ) -> Result<(), Rejection> {
        self.check_quota(key, before, value.len())?;
        self.check_unique([(key.as_bytes(), header, value)].into_iter(), |_| false)
    }

    /// I20: keeps the entries of a key that is about to hold `after`, or nothing.
    pub(super) fn update_indexes(&mut self, key: &[u8], after: Option<(Header, &[u8])>) {
        let State { live, indexes, .. } = &mut self.state;
        let before = live
            .get(key)
            .and_then(|cell| RecordRef::new(key, VersionCell::alone(cell)));
        let after = after.map(|(header, value)| RecordRef::staged(key, header, value));
        let before = before.map(|record| (record.mod_revision(), scope(&record)));
        let after = after.map(|record| (record.mod_revision(), scope(&record)));
        let mut edits = Vec::new();
        for (place, index) in indexes.iter().enumerate() {
            let values = |record: &Option<(Revision, Scope<'_>)>| match record {
                Some((revision, scope)) if index.covers(key, *revision) => index.values(scope),
                Some(_) | None => BTreeSet::new(),
            };
            let (before, after) = (values(&before), values(&after));
            if before != after {
                edits.push(Edit {
                    place,
                    removed: before.difference(&after).cloned().collect(),
                    added: after.difference(&before).cloned().collect(),
                });
            }
        }
        if edits.is_empty() {
            return;
        }
        let indexes = Arc::make_mut(indexes);
        for edit in edits {
            let Some(index) = indexes.get_mut(edit.place) else {
                continue;
            };
            for mut entry in edit.removed {
                entry.extend_from_slice(key);
                index.entries.remove(&entry);
            }
            for mut entry in edit.added {
                entry.extend_from_slice(key);
                index.entries.set(&entry, &[]);
            }
        }
    }

    /// Fills indexes a bit further: the same bit on every replica.
    pub(super) fn fill_some_indexes(&mut self) {
        let (mut keys, mut bytes) = (INDEX_FILL_KEYS_PER_BATCH, INDEX_FILL_BYTES_PER_BATCH);
        if !self.is_filling_indexes() {
            return;
        }
        let State { live, indexes, .. } = &mut self.state;
        for index in Arc::make_mut(indexes) {
            if index.is_filling() {
                fill(index, live, &mut keys, &mut bytes);
            }
        }
    }

    pub(super) fn is_filling_indexes(&self) -> bool {
        self.state.indexes.iter().any(Index::is_filling)
    }
}

/// Goes on as far as `keys` and `bytes` last.
fn fill(index: &mut Index, live: &Tree, keys: &mut usize, bytes: &mut usize) {
    let Fill::Upto { key: upto, visited } = &index.fill else {
        return;
    };
    let (mut upto, mut visited) = (upto.clone(), *visited);
    let range = index.range();
    let (start, end) = range.bounds();
    let start = match &upto {
        Some(upto) => Bound::Excluded(upto.as_bytes()),
        None => start,
    };
    let mut last: Option<&[u8]> = None;
    for (key, cell) in live.range((start, end)) {
        if *keys == 0 || *bytes == 0 {
            if let Some(last) = last {
                upto = Key::copy_of(last).ok();
            }
            index.fill = Fill::Upto { key: upto, visited };
            return;
        }
        *keys -= 1;
        *bytes = bytes.saturating_sub(cell.len());
        visited += 1;
        last = Some(key);
        // What was written since has its entries.
        let record = RecordRef::new(key, VersionCell::alone(cell));
        let Some(record) = record.filter(|record| record.mod_revision() <= index.since) else {
            continue;
        };
        for mut value in index.values(&scope(&record)) {
            let is_to_be_unique = index.definition.is_unique() && is_value(&value);
            if is_to_be_unique && index.is_taken(&value, key, |_| false) {
                index.entries = Tree::new();
                index.fill = Fill::Failed {
                    duplicate: Key::trusted(Bytes::copy_from_slice(key)),
                };
                return;
            }
            value.extend_from_slice(key);
            index.entries.set(&value, &[]);
        }
    }
    index.fill = Fill::Complete;
}

/// The indexes of a snapshot with the entries that follow from its records.
pub(crate) fn derive_entries(state: &mut State) {
    let State { live, indexes, .. } = state;
    if indexes.is_empty() {
        return;
    }
    for index in Arc::make_mut(indexes) {
        let (mut keys, mut bytes) = (usize::MAX, usize::MAX);
        derive(index, live, &mut None, &mut keys, &mut bytes);
    }
}

/// Makes some more of these entries; says whether that is all of them.
pub(super) fn index_entries(state: &mut State, indexed: &mut Indexed) -> bool {
    let (mut keys, mut bytes) = (RESTORE_INDEX_KEYS_PER_STEP, RESTORE_INDEX_BYTES_PER_STEP);
    let State { live, indexes, .. } = state;
    if indexed.indexes >= indexes.len() {
        return true;
    }
    for index in Arc::make_mut(indexes).iter_mut().skip(indexed.indexes) {
        if !derive(index, live, &mut indexed.upto, &mut keys, &mut bytes) {
            return false;
        }
        *indexed = Indexed {
            indexes: indexed.indexes.saturating_add(1),
            upto: None,
        };
    }
    true
}

/// Makes the entries of the keys behind `upto`, as far as `keys` and `bytes` last; says whether that is all of them.
fn derive(
    index: &mut Index,
    live: &Tree,
    upto: &mut Option<Bytes>,
    keys: &mut usize,
    bytes: &mut usize,
) -> bool {
    let range = index.range();
    let (start, end) = range.bounds();
    let before = upto.clone();
    let start = match &before {
        Some(before) => Bound::Excluded(before.as_ref()),
        None => start,
    };
    let mut last: Option<&[u8]> = None;
    for (key, cell) in live.range((start, end)) {
        if *keys == 0 || *bytes == 0 {
            *upto = last.map(Bytes::copy_from_slice).or(before);
            return false;
        }
        *keys -= 1;
        *bytes = bytes.saturating_sub(cell.len());
        last = Some(key);
        let record = RecordRef::new(key, VersionCell::alone(cell));
        let Some(record) = record.filter(|record| index.covers(key, record.mod_revision())) else {
            continue;
        };
        for mut value in index.values(&scope(&record)) {
            value.extend_from_slice(key);
            index.entries.set(&value, &[]);
        }
    }
    true
}
