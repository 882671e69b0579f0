//! The values of a tree: borrowed, owned and pinned.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

/// Cells longer than this live outside the leaf, in an `Arc<[u8]>` of their own: a leaf stays
/// cheap to copy, and such a cell moves from one tree to another without being copied.
pub const INLINE_CELL_BYTES: usize = 512;

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
