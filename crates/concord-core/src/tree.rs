//! A persistent ordered map from byte keys to byte cells; every container of replicated
//! state that readers see is one of these.
//!
//! A clone is a view: it costs one reference count and never changes afterwards (I15),
//! whatever happens to the original. What the cells mean is the business of the callers.

mod cell;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Bound, Deref};

use cell::Repr;
pub use cell::{Cell, INLINE_CELL_BYTES, OwnedCell};

/// A persistent ordered map from byte keys to byte cells. See the [module](self).
///
/// Keys may have any length, none included; neither keys nor cells are limited here.
#[derive(Clone, Default, Debug)]
pub struct Tree {
    map: Arc<BTreeMap<Vec<u8>, OwnedCell>>,
}

impl Tree {
    /// An empty tree. Allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it holds no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// The cell of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Cell<'_>> {
        self.map.get(key).map(borrow)
    }

    /// The cell of `key` in a handle that outlives the borrow: it pins the leaf that holds
    /// the cell, so it neither copies nor allocates. Meant to be short-lived, since a pinned
    /// leaf stays in memory and is copied when it is next written.
    #[must_use]
    pub fn get_pinned(&self, key: &[u8]) -> Option<PinnedCell> {
        self.map.get(key).map(|cell| PinnedCell { cell: cell.clone() })
    }

    /// Stores `cell` under `key` and drops what was there. Says whether there was something.
    /// Cheaper than [`insert`](Self::insert), which has to copy the old cell out.
    pub fn set(&mut self, key: &[u8], cell: &[u8]) -> bool {
        self.insert(key, cell).is_some()
    }

    /// Stores `cell` under `key`; returns the cell that it replaces.
    pub fn insert(&mut self, key: &[u8], cell: &[u8]) -> Option<OwnedCell> {
        self.insert_owned(key, cell.into())
    }

    /// As [`insert`](Self::insert); a large cell moves in without being copied.
    pub fn insert_owned(&mut self, key: &[u8], cell: OwnedCell) -> Option<OwnedCell> {
        Arc::make_mut(&mut self.map).insert(key.into(), cell)
    }

    /// As [`set`](Self::set), with a cell of another tree; a large one is shared between them.
    pub fn set_cell(&mut self, key: &[u8], cell: Cell<'_>) -> bool {
        self.insert_owned(key, cell.to_owned()).is_some()
    }

    /// Removes `key`; returns its cell. The tree is left untouched if the key is not there.
    pub fn remove(&mut self, key: &[u8]) -> Option<OwnedCell> {
        if !self.map.contains_key(key) {
            return None;
        }
        Arc::make_mut(&mut self.map).remove(key)
    }

    /// Removes the smallest key; returns it with its cell.
    pub fn pop_first(&mut self) -> Option<(Vec<u8>, OwnedCell)> {
        let key = self.first()?.0.to_vec();
        let cell = self.remove(&key)?;
        Some((key, cell))
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The smallest key and its cell.
    #[must_use]
    pub fn first(&self) -> Option<(&[u8], Cell<'_>)> {
        self.iter().next()
    }

    /// The greatest key and its cell.
    #[must_use]
    pub fn last(&self) -> Option<(&[u8], Cell<'_>)> {
        self.iter().next_back()
    }

    /// Every key and cell in key order.
    #[must_use]
    pub fn iter(&self) -> Range<'_> {
        self.range((Bound::Unbounded, Bound::Unbounded))
    }

    /// The keys within `range` and their cells in key order, from either end. A range whose
    /// start lies after its end is empty.
    #[must_use]
    pub fn range(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Range<'_> {
        let empty = match range {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Excluded(start), Bound::Excluded(end)) => start >= end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Included(end) | Bound::Excluded(end),
            ) => start > end,
        };
        Range {
            inner: (!empty).then(|| self.map.range::<[u8], _>(range)),
        }
    }

    /// The keys that start with `prefix` and their cells in key order, from either end.
    #[must_use]
    pub fn prefix(&self, prefix: &[u8]) -> Range<'_> {
        match prefix_end(prefix) {
            Some(end) => self.range((Bound::Included(prefix), Bound::Excluded(&end))),
            None => self.range((Bound::Included(prefix), Bound::Unbounded)),
        }
    }
}

/// The first key after all keys that start with `prefix`; none if there is no such key.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end: Vec<u8> = prefix.iter().take(kept.saturating_add(1)).copied().collect();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    Some(end)
}

fn borrow(cell: &OwnedCell) -> Cell<'_> {
    match &cell.0 {
        Repr::Own(bytes) => Cell::inline(bytes),
        Repr::Shared(bytes) => Cell::shared(bytes),
    }
}

/// Walks a range of a tree in either direction. See [`Tree::range`].
#[derive(Clone, Debug)]
pub struct Range<'a> {
    inner: Option<alloc::collections::btree_map::Range<'a, Vec<u8>, OwnedCell>>,
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], Cell<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.inner
            .as_mut()?
            .next()
            .map(|(key, cell)| (key.as_slice(), borrow(cell)))
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.inner
            .as_mut()?
            .next_back()
            .map(|(key, cell)| (key.as_slice(), borrow(cell)))
    }
}

/// A cell that outlives the borrow of its tree. See [`Tree::get_pinned`].
#[derive(Clone, Debug)]
pub struct PinnedCell {
    cell: OwnedCell,
}

impl Deref for PinnedCell {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.cell
    }
}

impl AsRef<[u8]> for PinnedCell {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
