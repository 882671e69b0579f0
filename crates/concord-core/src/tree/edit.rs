//! Changes that involve more than one node: splits on the way up from an insert, merges on
//! the way up from a removal.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::cell::{Cell, NewCell};
use super::digest::{common_prefix, fingerprint};
use super::inner::{Inner, Node, Sibling};
use super::leaf::{Leaf, record_bytes};

/// A record on its way to its leaf.
pub(super) struct Record<'a> {
    pub(super) key: &'a [u8],
    pub(super) print: u8,
    pub(super) cell: NewCell<'a>,
}

/// New right neighbours of a node, in key order: none, one, or two when a record that fills
/// a leaf lands in the middle of another.
pub(super) type Siblings = Vec<Sibling>;

/// Stores `record`; hands the cell that it replaces, if any, to `take` and returns its result.
pub(super) fn insert<T>(
    root: &mut Option<Node>,
    record: Record<'_>,
    take: impl FnOnce(Cell<'_>) -> T,
) -> Option<T> {
    let node = root.get_or_insert_with(|| Node::Leaf(Arc::new(Leaf::new())));
    let (old, siblings) = insert_below(node, record, true, take);
    grow(root, siblings);
    old
}

/// Stores a record whose key is greater than all that are there.
pub(super) fn append(root: &mut Option<Node>, record: Record<'_>) {
    let node = root.get_or_insert_with(|| Node::Leaf(Arc::new(Leaf::new())));
    let siblings = append_below(node, record);
    grow(root, siblings);
}

/// A new root over the old one and its new neighbours.
fn grow(root: &mut Option<Node>, siblings: Siblings) {
    if !siblings.is_empty()
        && let Some(node) = root.take()
    {
        let mut inner = Inner::with_child(node);
        // A node with one child has room for two more.
        adopt(&mut inner, 0, siblings, true);
        *root = Some(Node::Inner(Arc::new(inner)));
    }
}

fn append_below(node: &mut Node, record: Record<'_>) -> Siblings {
    match node {
        Node::Leaf(leaf) => {
            let slot = leaf.count();
            insert_at(leaf, slot, record, true)
        }
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let at = inner.len().saturating_sub(1);
            let Some(child) = inner.child_mut(at) else {
                debug_assert!(false, "an inner node has children");
                return Siblings::new();
            };
            let siblings = append_below(child, record);
            if siblings.is_empty() {
                return siblings;
            }
            adopt(inner, at, siblings, true).into_iter().collect()
        }
    }
}

fn insert_below<T>(
    node: &mut Node,
    record: Record<'_>,
    at_edge: bool,
    take: impl FnOnce(Cell<'_>) -> T,
) -> (Option<T>, Siblings) {
    match node {
        Node::Leaf(leaf) => insert_in_leaf(leaf, record, at_edge, take),
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let at = inner.child_index(record.key);
            let at_edge = at_edge && at.saturating_add(1) == inner.len();
            let Some(child) = inner.child_mut(at) else {
                debug_assert!(false, "no child {at}");
                return (None, Siblings::new());
            };
            let (old, mut siblings) = insert_below(child, record, at_edge, take);
            if !siblings.is_empty() {
                siblings = adopt(inner, at, siblings, at_edge).into_iter().collect();
            }
            (old, siblings)
        }
    }
}

/// Adds the new neighbours of child `at`. Returns the part of `inner` that no longer fits.
pub(super) fn adopt(inner: &mut Inner, at: usize, siblings: Siblings, at_edge: bool) -> Option<Sibling> {
    let at_edge = at_edge && siblings.len() == 1;
    let mut overflow: Option<Sibling> = None;
    // Last first: each goes directly behind child `at`.
    for sibling in siblings.into_iter().rev() {
        match &mut overflow {
            Some(Sibling {
                node: Node::Inner(right),
                ..
            }) if at >= inner.len() => {
                // Two halves of a node: neither is full.
                let at = at.saturating_sub(inner.len());
                Arc::make_mut(right).insert_after(at, sibling, false);
            }
            _ => overflow = inner.insert_after(at, sibling, at_edge).or(overflow),
        }
    }
    overflow
}

fn insert_in_leaf<T>(
    leaf: &mut Arc<Leaf>,
    record: Record<'_>,
    at_edge: bool,
    take: impl FnOnce(Cell<'_>) -> T,
) -> (Option<T>, Siblings) {
    if let Some(slot) = leaf.find(record.key, record.print) {
        let old = take(leaf.key_and_cell(slot).1);
        if leaf.has_room_to_replace(slot, &record.cell) {
            match Arc::get_mut(leaf) {
                Some(leaf) => leaf.replace(slot, record.cell),
                None => *leaf = Arc::new(leaf.copy_replacing(slot, record.cell)),
            }
            return (Some(old), Siblings::new());
        }
        Arc::make_mut(leaf).remove(slot);
        return (Some(old), split(leaf, slot, record, false));
    }
    let (Ok(slot) | Err(slot)) = leaf.search(record.key);
    let at_edge = at_edge && slot == leaf.count();
    (None, insert_at(leaf, slot, record, at_edge))
}

/// Stores a record that is not there as slot `slot`.
fn insert_at(leaf: &mut Arc<Leaf>, slot: usize, record: Record<'_>, at_edge: bool) -> Siblings {
    let bytes = record_bytes(record.key, &record.cell);
    if !leaf.has_room(bytes) {
        return split(leaf, slot, record, at_edge);
    }
    if Arc::strong_count(leaf) > 1 {
        // `make_mut` would copy it without the room, and the insert once more with it.
        *leaf = Arc::new(leaf.copy_with_room(bytes));
    }
    Arc::make_mut(leaf).insert(slot, record.key, record.print, record.cell, at_edge);
    Siblings::new()
}

/// Adds a record for which there is no room as slot `slot`.
fn split(leaf: &mut Arc<Leaf>, slot: usize, record: Record<'_>, at_edge: bool) -> Siblings {
    if at_edge {
        // Keys that arrive in order leave full leaves behind.
        if let Some(leaf) = Arc::get_mut(leaf) {
            leaf.shrink();
        }
        return [sibling_of(leaf, single(record, true))].into_iter().collect();
    }
    let bytes = record_bytes(record.key, &record.cell);
    let cut = leaf.best_cut(slot, bytes);
    let leaf = Arc::make_mut(leaf);
    let Some(cut) = cut else {
        let right = leaf.split_off(slot, 0, 0);
        let middle = single(record, false);
        let right = sibling_of(&middle, right);
        return [sibling_of(leaf, middle), right].into_iter().collect();
    };
    let right = if slot < cut {
        let right = leaf.split_off(cut.saturating_sub(1), bytes, 0);
        leaf.insert(slot, record.key, record.print, record.cell, false);
        right
    } else {
        let mut right = leaf.split_off(cut, 0, bytes);
        right.insert(
            slot.saturating_sub(cut),
            record.key,
            record.print,
            record.cell,
            false,
        );
        right
    };
    [sibling_of(leaf, right)].into_iter().collect()
}

fn single(record: Record<'_>, at_edge: bool) -> Leaf {
    let mut leaf = Leaf::new();
    leaf.insert(0, record.key, record.print, record.cell, at_edge);
    leaf
}

/// `right` as the neighbour of `left`, with the shortest separator that tells them apart.
fn sibling_of(left: &Leaf, right: Leaf) -> Sibling {
    let (before, after) = (left.key(left.count().saturating_sub(1)), right.key(0));
    let kept = common_prefix(before, after).saturating_add(1);
    let separator = after.iter().take(kept).copied().collect();
    Sibling {
        separator,
        node: Node::Leaf(Arc::new(right)),
    }
}

/// Removes `key`, which is there.
pub(super) fn remove(root: &mut Option<Node>, key: &[u8]) {
    let Some(node) = root else { return };
    remove_below(node, key, fingerprint(key));
    while let Some(node) = root {
        let only_child = match node {
            Node::Inner(inner) if inner.len() == 1 => inner.child(0).cloned(),
            Node::Leaf(_) | Node::Inner(_) if is_empty(node) => None,
            Node::Leaf(_) | Node::Inner(_) => return,
        };
        *root = only_child;
    }
}

fn remove_below(node: &mut Node, key: &[u8], print: u8) {
    match node {
        Node::Leaf(leaf) => {
            if let Some(slot) = leaf.find(key, print) {
                Arc::make_mut(leaf).remove(slot);
            }
        }
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let at = inner.child_index(key);
            if let Some(child) = inner.child_mut(at) {
                remove_below(child, key, print);
                tidy(inner, at);
            }
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match node {
        Node::Leaf(leaf) => leaf.count() == 0,
        Node::Inner(inner) => inner.len() == 0,
    }
}

fn is_underfull(node: &Node) -> bool {
    match node {
        Node::Leaf(leaf) => leaf.is_underfull(),
        Node::Inner(inner) => inner.is_underfull(),
    }
}

/// After a removal below child `at`: drops it if it is empty, else merges it with a
/// neighbour if it is nearly so and there is room.
fn tidy(inner: &mut Inner, at: usize) {
    let Some(child) = inner.child(at) else { return };
    if is_empty(child) {
        inner.remove_child(at);
    } else if is_underfull(child) && !merge(inner, at) && at > 0 {
        merge(inner, at.saturating_sub(1));
    }
}

/// Merges child `at` and the one behind it, if there is one and both fit in one node.
fn merge(inner: &mut Inner, at: usize) -> bool {
    if at.saturating_add(1) >= inner.len() {
        return false;
    }
    let separator = inner.separator_after(at);
    let merged = match inner.pair_mut(at) {
        Some((Node::Leaf(left), Node::Leaf(right))) if left.can_merge(right) => {
            Arc::make_mut(left).append(right);
            true
        }
        Some((Node::Inner(left), Node::Inner(right))) if left.can_merge(right) => {
            Arc::make_mut(left).append(&separator, right);
            true
        }
        _ => false,
    };
    if merged {
        inner.remove_child(at.saturating_add(1));
    }
    merged
}

/// What is wrong with a tree that should hold `len` keys, if anything.
pub(super) fn check(root: Option<&Node>, len: usize) -> Result<(), &'static str> {
    let Some(root) = root else {
        return if len == 0 {
            Ok(())
        } else {
            Err("keys counted in an empty tree")
        };
    };
    if matches!(root, Node::Inner(inner) if inner.len() == 1) {
        return Err("root with one child");
    }
    let (count, _) = check_below(root, (None, None))?;
    if count == len {
        Ok(())
    } else {
        Err("keys miscounted")
    }
}

/// Returns the number of keys and the height.
fn check_below(node: &Node, fences: (Option<&[u8]>, Option<&[u8]>)) -> Result<(usize, usize), &'static str> {
    match node {
        Node::Leaf(leaf) => {
            leaf.check()?;
            let (first, last) = (leaf.key(0), leaf.key(leaf.count().saturating_sub(1)));
            if fences.0.is_some_and(|low| first < low) || fences.1.is_some_and(|high| last >= high) {
                return Err("key outside its fences");
            }
            Ok((leaf.count(), 0))
        }
        Node::Inner(inner) => {
            inner.check()?;
            let (mut count, mut height) = (0_usize, None);
            for at in 0..inner.len() {
                let Some(child) = inner.child(at) else {
                    return Err("child missing");
                };
                let (low, high) = inner.fences(at);
                let (keys, child_height) = check_below(child, (low.or(fences.0), high.or(fences.1)))?;
                if height.is_some_and(|height| height != child_height) {
                    return Err("leaves at different depths");
                }
                count = count.saturating_add(keys);
                height = Some(child_height);
            }
            Ok((count, height.unwrap_or(0).saturating_add(1)))
        }
    }
}
