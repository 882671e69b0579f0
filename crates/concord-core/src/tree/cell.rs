//! The values of a tree: borrowed, owned and pinned.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use super::leaf::Leaf;

/// Cells longer than this live outside the leaf, in an `Arc<[u8]>` of their own: a leaf stays
/// cheap to copy, and such a cell moves from one tree to another without being copied.
pub const INLINE_CELL_BYTES: usize = if cfg!(test) { 64 } else { 512 };

/// A cell as it lies in a tree. Dereferences to its bytes.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    bytes: &'a [u8],
    shared: Option<&'a Arc<[u8]>>,
}

impl<'a> Cell<'a> {
    pub(super) const fn inline(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: None }
    }

    pub(super) fn shared(bytes: &'a Arc<[u8]>) -> Self {
        Self {
            bytes,
            shared: Some(bytes),
        }
    }

    /// The bytes, for as long as the tree is borrowed (which `Deref` cannot promise).
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The cell on its own: a copy of a small one, a reference to a large one.
    #[must_use]
    pub fn to_owned(self) -> OwnedCell {
        match self.shared {
            Some(shared) => OwnedCell(Repr::Shared(Arc::clone(shared))),
            None => OwnedCell(Repr::Own(self.bytes.into())),
        }
    }
}

impl Deref for Cell<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl AsRef<[u8]> for Cell<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

impl PartialEq for Cell<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Cell<'_> {}

impl fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

/// A cell outside any tree. Dereferences to its bytes; a large one is shared, not copied.
#[derive(Clone)]
pub struct OwnedCell(pub(super) Repr);

#[derive(Clone)]
pub(super) enum Repr {
    Own(Box<[u8]>),
    Shared(Arc<[u8]>),
}

impl OwnedCell {
    /// The bytes behind a reference count; free for a large cell, a copy for a small one.
    #[must_use]
    pub fn into_shared(self) -> Arc<[u8]> {
        match self.0 {
            Repr::Own(bytes) => bytes.into(),
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl Deref for OwnedCell {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Own(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for OwnedCell {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for OwnedCell {
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE_CELL_BYTES {
            Self(Repr::Shared(bytes.into()))
        } else {
            Self(Repr::Own(bytes.into()))
        }
    }
}

impl From<Vec<u8>> for OwnedCell {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() > INLINE_CELL_BYTES {
            Self(Repr::Shared(bytes.into()))
        } else {
            Self(Repr::Own(bytes.into()))
        }
    }
}

impl From<Arc<[u8]>> for OwnedCell {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(Repr::Shared(bytes))
    }
}

impl From<Cell<'_>> for OwnedCell {
    fn from(cell: Cell<'_>) -> Self {
        cell.to_owned()
    }
}

impl PartialEq for OwnedCell {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for OwnedCell {}

impl fmt::Debug for OwnedCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A cell that outlives the borrow of its tree. See [`Tree::get_pinned`](super::Tree::get_pinned).
#[derive(Clone)]
pub struct PinnedCell(Pin);

#[derive(Clone)]
enum Pin {
    Leaf(Arc<Leaf>, Range<usize>),
    Shared(Arc<[u8]>),
}

impl PinnedCell {
    pub(super) fn new(leaf: &Arc<Leaf>, slot: usize) -> Self {
        match leaf.locate(slot) {
            Ok(range) => Self(Pin::Leaf(Arc::clone(leaf), range)),
            Err(shared) => Self(Pin::Shared(Arc::clone(shared))),
        }
    }

    /// The cell as one that holds on to nothing else: free for a large cell, a copy for a small one.
    #[must_use]
    pub fn to_owned(&self) -> OwnedCell {
        match &self.0 {
            Pin::Leaf(..) => (**self).into(),
            Pin::Shared(bytes) => OwnedCell(Repr::Shared(Arc::clone(bytes))),
        }
    }
}

impl Deref for PinnedCell {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Pin::Leaf(leaf, range) => leaf.bytes(range.clone()),
            Pin::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for PinnedCell {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PinnedCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A cell on its way into a leaf: already on its side of the threshold.
pub(super) enum NewCell<'a> {
    Inline(&'a [u8]),
    Shared(Arc<[u8]>),
}

impl NewCell<'_> {
    /// How many bytes of a page it takes.
    pub(super) const fn page_bytes(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Shared(_) => 0,
        }
    }
}

impl<'a> From<&'a [u8]> for NewCell<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        if bytes.len() > INLINE_CELL_BYTES {
            Self::Shared(bytes.into())
        } else {
            Self::Inline(bytes)
        }
    }
}

impl<'a> From<Cell<'a>> for NewCell<'a> {
    fn from(cell: Cell<'a>) -> Self {
        match cell.shared {
            Some(shared) => Self::from(shared),
            None => Self::from(cell.bytes),
        }
    }
}

impl<'a> From<&'a OwnedCell> for NewCell<'a> {
    fn from(cell: &'a OwnedCell) -> Self {
        match &cell.0 {
            Repr::Own(bytes) => Self::from(&**bytes),
            Repr::Shared(shared) => Self::from(shared),
        }
    }
}

impl<'a> From<&'a Arc<[u8]>> for NewCell<'a> {
    fn from(bytes: &'a Arc<[u8]>) -> Self {
        if bytes.len() > INLINE_CELL_BYTES {
            Self::Shared(Arc::clone(bytes))
        } else {
            Self::Inline(bytes)
        }
    }
}
