//! A persistent ordered map from byte keys to byte cells; every container of replicated
//! state that readers see is one of these.
//!
//! A clone is a view: it costs one reference count and never changes afterwards (I15),
//! whatever happens to the original. What the cells mean is the business of the callers.
//!
//! ```text
//!   Tree ──> Inner ─┬─> Inner ─┬─> Leaf   keys and cells packed in one buffer
//!                   │          └─> Leaf ──> Arc<[u8]>   cells over 512 bytes
//!                   └─> Inner ──> Leaf                           ^
//!                         ^                                      │
//!   a clone ──> Inner ────┘  (what did not change is shared)     └── also in other trees
//! ```
//!
//! A B+tree whose nodes are reference counted. The writer changes a node in place when it
//! alone holds it, and copies it when a view does too, so a batch of writes between two views
//! copies each leaf at most once. Records lie packed in their leaf: to copy one is a single
//! block copy without reference counts, and a read touches few cache lines. See
//! `docs/adr/0003-packed-persistent-tree.md` for what this was measured against.

mod cell;
mod digest;
mod edit;
mod inner;
mod leaf;
#[cfg(test)]
#[path = "../tests/tree/model.rs"]
mod model_tests;
mod range;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

use cell::NewCell;
pub use cell::{Cell, INLINE_CELL_BYTES, OwnedCell, PinnedCell};
use digest::fingerprint;
use inner::Node;
use leaf::Leaf;
pub use range::{Range, prefix_end};

/// A persistent ordered map from byte keys to byte cells. See the [module](self).
///
/// Keys may have any length, none included; neither keys nor cells are limited here.
#[derive(Clone, Default)]
pub struct Tree {
    root: Option<Node>,
    len: usize,
}

impl Tree {
    /// An empty tree. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { root: None, len: 0 }
    }

    /// How many keys it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn contains_key(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// The cell of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Cell<'_>> {
        self.find(key).map(|(leaf, slot)| leaf.key_and_cell(slot).1)
    }

    /// The cell of `key` in a handle that outlives the borrow: it pins the leaf that holds
    /// the cell, so it neither copies nor allocates. Meant to be short-lived, since a pinned
    /// leaf stays in memory and is copied when it is next written.
    #[must_use]
    pub fn get_pinned(&self, key: &[u8]) -> Option<PinnedCell> {
        self.find(key).map(|(leaf, slot)| PinnedCell::new(leaf, slot))
    }

    fn find(&self, key: &[u8]) -> Option<(&Arc<Leaf>, usize)> {
        let print = fingerprint(key);
        let mut node = self.root.as_ref()?;
        loop {
            match node {
                Node::Inner(inner) => node = inner.child(inner.child_index(key))?,
                Node::Leaf(leaf) => return leaf.find(key, print).map(|slot| (leaf, slot)),
            }
        }
    }

    /// Stores `cell` under `key` and drops what was there. Says whether there was something.
    /// Cheaper than [`insert`](Self::insert), which has to copy the old cell out.
    pub fn set(&mut self, key: &[u8], cell: &[u8]) -> bool {
        self.put(key, cell.into(), |_| ()).is_some()
    }

    /// As [`set`](Self::set), with a cell of another tree; a large one is shared between them.
    pub fn set_cell(&mut self, key: &[u8], cell: Cell<'_>) -> bool {
        self.put(key, cell.into(), |_| ()).is_some()
    }

    /// Stores `cell` under `key`; returns the cell that it replaces.
    pub fn insert(&mut self, key: &[u8], cell: &[u8]) -> Option<OwnedCell> {
        self.put(key, cell.into(), |old| old.to_owned())
    }

    /// As [`insert`](Self::insert); a large cell moves in without being copied.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller gives the cell away: it must not keep a large one alive"
    )]
    pub fn insert_owned(&mut self, key: &[u8], cell: OwnedCell) -> Option<OwnedCell> {
        self.put(key, (&cell).into(), |old| old.to_owned())
    }

    /// Stores `cell` under `key`; hands the cell that it replaces to `take` where it lies, so
    /// that it need not be copied out, and returns the result.
    pub fn replace<T>(&mut self, key: &[u8], cell: &[u8], take: impl FnOnce(Cell<'_>) -> T) -> Option<T> {
        self.put(key, cell.into(), take)
    }

    /// Stores a cell; what was there goes to `take` before it is gone.
    fn put<T>(&mut self, key: &[u8], cell: NewCell<'_>, take: impl FnOnce(Cell<'_>) -> T) -> Option<T> {
        let record = edit::Record {
            key,
            print: fingerprint(key),
            cell,
        };
        let old = edit::insert(&mut self.root, record, take);
        if old.is_none() {
            self.len = self.len.saturating_add(1);
        }
        old
    }

    /// Stores `cell` under a key that is greater than every key that is there, which the caller knows: nothing is looked
    /// for on the way.
    pub(crate) fn append(&mut self, key: &[u8], cell: &[u8]) {
        debug_assert!(
            self.last().is_none_or(|(last, _)| last < key),
            "keys are appended in order"
        );
        let record = edit::Record {
            key,
            print: fingerprint(key),
            cell: cell.into(),
        };
        edit::append(&mut self.root, record);
        self.len = self.len.saturating_add(1);
    }

    /// Removes `key`; returns its cell. The tree is left untouched if the key is not there.
    pub fn remove(&mut self, key: &[u8]) -> Option<OwnedCell> {
        // A removal copies the nodes that it passes, so look first.
        let old = self.get(key)?.to_owned();
        edit::remove(&mut self.root, key);
        self.len = self.len.saturating_sub(1);
        Some(old)
    }

    /// Removes the smallest key; returns it with its cell.
    pub fn pop_first(&mut self) -> Option<(Vec<u8>, OwnedCell)> {
        let (key, cell) = self.first()?;
        let (key, cell) = (key.to_vec(), cell.to_owned());
        edit::remove(&mut self.root, &key);
        self.len = self.len.saturating_sub(1);
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
        Range::new(self.root.as_ref(), range)
    }

    /// The keys that start with `prefix` and their cells in key order, from either end.
    #[must_use]
    pub fn prefix(&self, prefix: &[u8]) -> Range<'_> {
        match prefix_end(prefix) {
            Some(end) => self.range((Bound::Included(prefix), Bound::Excluded(&end))),
            None => self.range((Bound::Included(prefix), Bound::Unbounded)),
        }
    }

    /// Looks at every node and says what is wrong with the tree, if anything. O(n).
    ///
    /// # Errors
    ///
    /// The first broken invariant, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        edit::check(self.root.as_ref(), self.len)
    }
}

impl<'a> IntoIterator for &'a Tree {
    type Item = (&'a [u8], Cell<'a>);
    type IntoIter = Range<'a>;

    fn into_iter(self) -> Range<'a> {
        self.iter()
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
