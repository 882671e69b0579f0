//! Walks over a range of keys, from either end.

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;
use core::ops::Bound;
use core::ptr;

use super::cell::Cell;
use super::inner::{Inner, Node};
use super::leaf::Leaf;

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

/// Walks a range of a tree in either direction. See [`Tree::range`](super::Tree::range).
#[derive(Clone)]
pub struct Range<'a> {
    root: Option<&'a Node>,
    /// The records that come next from either end; none when all were given out.
    ends: Option<(Cursor<'a>, Cursor<'a>)>,
}

/// A record. Keeps no path to the root, only the last step of it: beyond that it searches
/// again from the root for the key it has, which is rare and needs no memory.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    leaf: &'a Leaf,
    slot: usize,
    /// The node above and which of its children `leaf` is.
    parent: Option<(&'a Inner, usize)>,
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

impl<'a> Range<'a> {
    pub(super) fn new(root: Option<&'a Node>, (start, end): (Bound<&[u8]>, Bound<&[u8]>)) -> Self {
        let ends = root.and_then(|root| {
            let first = Cursor::seek(root, start, Direction::Up)?;
            let last = Cursor::seek(root, end, Direction::Down)?;
            // They have crossed when nothing lies between the bounds.
            let crossed = if ptr::eq(first.leaf, last.leaf) {
                first.slot > last.slot
            } else {
                first.key() > last.key()
            };
            (!crossed).then_some((first, last))
        });
        Self { root, ends }
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = (&'a [u8], Cell<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (first, last) = self.ends?;
        self.ends = if first.is(last) {
            None
        } else {
            first.step(self.root, Direction::Up).map(|first| (first, last))
        };
        Some(first.leaf.key_and_cell(first.slot))
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (first, last) = self.ends?;
        self.ends = if first.is(last) {
            None
        } else {
            last.step(self.root, Direction::Down).map(|last| (first, last))
        };
        Some(last.leaf.key_and_cell(last.slot))
    }
}

impl FusedIterator for Range<'_> {}

impl fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}

impl<'a> Cursor<'a> {
    fn key(self) -> &'a [u8] {
        self.leaf.key(self.slot)
    }

    fn is(self, other: Self) -> bool {
        self.slot == other.slot && ptr::eq(self.leaf, other.leaf)
    }

    /// The first record within `bound` as a lower one, or the last within it as an upper one.
    fn seek(root: &'a Node, bound: Bound<&[u8]>, direction: Direction) -> Option<Self> {
        let key = match bound {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => return Self::end_of(root, None, direction),
        };
        let (mut node, mut parent, mut beside) = (root, None, None);
        let leaf = loop {
            match node {
                Node::Leaf(leaf) => break leaf,
                Node::Inner(inner) => {
                    let at = inner.child_index(key);
                    beside = neighbour(inner, at, direction).or(beside);
                    parent = Some((&**inner, at));
                    node = inner.child(at)?;
                }
            }
        };
        let found = leaf.search(key);
        let (Ok(slot) | Err(slot)) = found;
        let exclude = found.is_ok() && matches!(bound, Bound::Excluded(_));
        let slot = match direction {
            Direction::Up => Some(slot.saturating_add(usize::from(exclude))),
            Direction::Down if found.is_ok() && !exclude => Some(slot),
            Direction::Down => slot.checked_sub(1),
        };
        match slot.filter(|slot| *slot < leaf.count()) {
            Some(slot) => Some(Self { leaf, slot, parent }),
            None => beside.and_then(|(inner, at, node)| Self::end_of(node, Some((inner, at)), direction)),
        }
    }

    /// The first record below `node` going up, the last going down.
    fn end_of(
        mut node: &'a Node,
        mut parent: Option<(&'a Inner, usize)>,
        direction: Direction,
    ) -> Option<Self> {
        let last = |count: usize| match direction {
            Direction::Up => 0,
            Direction::Down => count.saturating_sub(1),
        };
        loop {
            match node {
                Node::Leaf(leaf) => {
                    return Some(Self {
                        leaf,
                        slot: last(leaf.count()),
                        parent,
                    });
                }
                Node::Inner(inner) => {
                    let at = last(inner.len());
                    parent = Some((&**inner, at));
                    node = inner.child(at)?;
                }
            }
        }
    }

    /// The next record in `direction`.
    fn step(self, root: Option<&'a Node>, direction: Direction) -> Option<Self> {
        let slot = match direction {
            Direction::Up => Some(self.slot.saturating_add(1)),
            Direction::Down => self.slot.checked_sub(1),
        };
        if let Some(slot) = slot
            && slot < self.leaf.count()
        {
            return Some(Self { slot, ..self });
        }
        let (inner, at) = self.parent?;
        match neighbour(inner, at, direction) {
            Some((inner, at, node)) => Self::end_of(node, Some((inner, at)), direction),
            None => Self::seek(root?, Bound::Excluded(self.key()), direction),
        }
    }
}

/// The child beside child `at`.
fn neighbour(inner: &Inner, at: usize, direction: Direction) -> Option<(&Inner, usize, &Node)> {
    let at = match direction {
        Direction::Up => at.saturating_add(1),
        Direction::Down => at.checked_sub(1)?,
    };
    inner.child(at).map(|node| (inner, at, node))
}
