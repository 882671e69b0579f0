//! An inner node: children, and between each two of them a separator.
//!
//! A separator is the shortest byte string that is greater than every key to its left and
//! not greater than any to its right. The search compares numbers: eight bytes of each
//! separator, taken after the bytes that all separators of the node share, so long common
//! prefixes do not blunt them. Whole separators are compared only where these are equal.
#![expect(
    clippy::indexing_slicing,
    reason = "separators below `len - 1` and their ends lie in the arrays"
)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::digest::{common_prefix, digest};
use super::leaf::Leaf;

/// How many children a node has at most. A copied node touches the reference count of
/// each, which is what publishing a view costs; a smaller node makes the tree higher.
pub(super) const FANOUT: usize = if cfg!(test) { 8 } else { 32 };

/// Either kind of node. All leaves are at the same depth.
#[derive(Clone)]
pub(super) enum Node {
    Leaf(Arc<Leaf>),
    Inner(Arc<Inner>),
}

/// A node that came to be to the right of another, whose keys are all below `separator`.
pub(super) struct Sibling {
    pub(super) separator: Vec<u8>,
    pub(super) node: Node,
}

/// Children and separators. Only a node outside a tree is ever without children.
#[derive(Clone)]
pub(super) struct Inner {
    len: usize,
    /// How many bytes all separators share.
    prefix: usize,
    digests: [u64; FANOUT - 1],
    children: [Option<Node>; FANOUT],
    /// Where each separator ends in `separators`.
    ends: [usize; FANOUT - 1],
    separators: Vec<u8>,
}

impl Inner {
    pub(super) fn with_child(node: Node) -> Self {
        let mut children = [const { None }; FANOUT];
        children[0] = Some(node);
        Self {
            len: 1,
            children,
            ..Self::new()
        }
    }

    const fn new() -> Self {
        Self {
            len: 0,
            prefix: 0,
            digests: [0; FANOUT - 1],
            children: [const { None }; FANOUT],
            ends: [0; FANOUT - 1],
            separators: Vec::new(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn child(&self, at: usize) -> Option<&Node> {
        self.children.get(at)?.as_ref()
    }

    pub(super) fn child_mut(&mut self, at: usize) -> Option<&mut Node> {
        self.children.get_mut(at)?.as_mut()
    }

    /// Two neighbours, `at` and the one after it.
    pub(super) fn pair_mut(&mut self, at: usize) -> Option<(&mut Node, &mut Node)> {
        match self.children.get_mut(at..)? {
            [Some(left), Some(right), ..] => Some((left, right)),
            _ => None,
        }
    }

    const fn separator_count(&self) -> usize {
        self.len.saturating_sub(1)
    }

    const fn separator_start(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] }
    }

    fn separator(&self, at: usize) -> &[u8] {
        &self.separators[self.separator_start(at)..self.ends[at]]
    }

    /// The child that holds `key`, if any does.
    pub(super) fn child_index(&self, key: &[u8]) -> usize {
        let count = self.separator_count();
        let mut rest = key;
        if self.prefix > 0 {
            let prefix = &self.separators[..self.prefix];
            let head = &key[..key.len().min(self.prefix)];
            match head.cmp(prefix) {
                Ordering::Less => return 0,
                Ordering::Greater => return count,
                Ordering::Equal => rest = &key[self.prefix..],
            }
        }
        let wanted = digest(rest);
        let digests = &self.digests[..count];
        let first = digests.partition_point(|digest| *digest < wanted);
        if digests.get(first) != Some(&wanted) {
            return first;
        }
        // Equal digests: count the separators among them that are not above the key.
        let (mut low, mut high) = (
            first,
            first + digests[first..].partition_point(|digest| *digest == wanted),
        );
        while low < high {
            let middle = low.midpoint(high);
            if &self.separator(middle)[self.prefix..] <= rest {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Adds `sibling` behind child `at`. Returns what no longer fits, as a right neighbour
    /// of this node. At the right edge of the tree that is the new child alone: keys that
    /// arrive in order leave full nodes behind.
    pub(super) fn insert_after(&mut self, at: usize, sibling: Sibling, at_edge: bool) -> Option<Sibling> {
        if self.len < FANOUT {
            self.insert_child(at, sibling);
            return None;
        }
        if at_edge && at + 1 == self.len {
            let node = Node::Inner(Arc::new(Self::with_child(sibling.node)));
            return Some(Sibling {
                separator: sibling.separator,
                node,
            });
        }
        let keep = FANOUT / 2;
        let (separator, mut right) = self.split_off(keep);
        if at < keep {
            self.insert_child(at, sibling);
        } else {
            right.insert_child(at - keep, sibling);
        }
        Some(Sibling {
            separator,
            node: Node::Inner(Arc::new(right)),
        })
    }

    fn insert_child(&mut self, at: usize, sibling: Sibling) {
        debug_assert!(at < self.len && self.len < FANOUT, "child {at} of {}", self.len);
        let count = self.separator_count();
        let start = self.separator_start(at);
        let bytes = sibling.separator.len();
        let old_len = self.separators.len();
        self.separators.reserve_exact(bytes);
        self.separators.resize(old_len + bytes, 0);
        self.separators.copy_within(start..old_len, start + bytes);
        self.separators[start..start + bytes].copy_from_slice(&sibling.separator);
        self.ends[at..=count].rotate_right(1);
        self.ends[at] = start;
        for end in &mut self.ends[at..=count] {
            *end += bytes;
        }
        self.digests[at..=count].rotate_right(1);
        self.children[at + 1..=self.len].rotate_right(1);
        self.children[at + 1] = Some(sibling.node);
        self.len += 1;
        self.digest_again(Some(at));
    }

    /// Removes child `at` with the separator before it, or after it if it is the first.
    pub(super) fn remove_child(&mut self, at: usize) {
        let count = self.separator_count();
        self.children[at] = None;
        self.children[at..self.len].rotate_left(1);
        self.len -= 1;
        if count == 0 {
            return;
        }
        let at = at.saturating_sub(1);
        let (start, end) = (self.separator_start(at), self.ends[at]);
        self.separators.copy_within(end.., start);
        self.separators.truncate(self.separators.len() - (end - start));
        for later in &mut self.ends[at + 1..count] {
            *later -= end - start;
        }
        self.ends[at..count].rotate_left(1);
        self.digests[at..count].rotate_left(1);
        self.digest_again(None);
    }

    /// Moves the children from `at` on, of which there are some on either side, into a node
    /// of their own. Also returns the separator between the two.
    fn split_off(&mut self, at: usize) -> (Vec<u8>, Self) {
        let count = self.separator_count();
        let mut right = Self::new();
        right.len = self.len - at;
        right.children[..right.len].swap_with_slice(&mut self.children[at..self.len]);
        let base = self.ends[at - 1];
        right.separators = self.separators[base..].to_vec();
        for (to, from) in (at..count).enumerate() {
            right.ends[to] = self.ends[from] - base;
        }
        let separator = self.separator(at - 1).to_vec();
        self.separators.truncate(self.separator_start(at - 1));
        self.separators.shrink_to_fit();
        self.len = at;
        self.prefix = 0;
        self.digest_all();
        right.digest_all();
        (separator, right)
    }

    /// Takes over the children of `right`; `separator` is the one between this and `right`.
    pub(super) fn append(&mut self, separator: &[u8], right: &Self) {
        let count = self.separator_count();
        self.separators
            .reserve_exact(separator.len() + right.separators.len());
        self.separators.extend_from_slice(separator);
        let base = self.separators.len();
        self.ends[count] = base;
        self.separators.extend_from_slice(&right.separators);
        for at in 0..right.separator_count() {
            self.ends[count + 1 + at] = base + right.ends[at];
        }
        for at in 0..right.len {
            self.children[self.len + at].clone_from(&right.children[at]);
        }
        self.len += right.len;
        self.digest_all();
    }

    /// The separator between child `at` and the next.
    pub(super) fn separator_after(&self, at: usize) -> Vec<u8> {
        self.separator(at).to_vec()
    }

    pub(super) const fn is_underfull(&self) -> bool {
        self.len < FANOUT / 4
    }

    pub(super) const fn can_merge(&self, other: &Self) -> bool {
        self.len + other.len <= FANOUT * 3 / 4
    }

    /// Restores `prefix` and the digests after a change of the separators; `new` is the only
    /// one whose digest is missing.
    fn digest_again(&mut self, new: Option<usize>) {
        if self.common_prefix() != self.prefix {
            self.digest_all();
        } else if let Some(at) = new {
            self.digests[at] = digest(&self.separator(at)[self.prefix..]);
        }
    }

    fn digest_all(&mut self) {
        self.prefix = self.common_prefix();
        for at in 0..self.separator_count() {
            self.digests[at] = digest(&self.separator(at)[self.prefix..]);
        }
    }

    /// Sorted strings share what the first and the last share.
    fn common_prefix(&self) -> usize {
        match self.separator_count() {
            0 => 0,
            count => common_prefix(self.separator(0), self.separator(count - 1)),
        }
    }

    /// What is wrong with it, if anything. Its children are not looked at.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let ensure = |ok: bool, what: &'static str| if ok { Ok(()) } else { Err(what) };
        ensure(self.len > 0, "inner node without children")?;
        ensure(
            self.children.iter().take_while(|child| child.is_some()).count() == self.len,
            "children miscounted",
        )?;
        ensure(
            self.children.iter().flatten().count() == self.len,
            "child past the last",
        )?;
        ensure(self.prefix == self.common_prefix(), "wrong common prefix")?;
        let count = self.separator_count();
        ensure(
            self.separators.len() == self.separator_start(count),
            "separators miscounted",
        )?;
        for at in 0..count {
            ensure(
                at == 0 || self.separator(at - 1) < self.separator(at),
                "separators out of order",
            )?;
            ensure(
                self.digests[at] == digest(&self.separator(at)[self.prefix..]),
                "wrong digest",
            )?;
        }
        Ok(())
    }

    /// The separators around child `at`: not above any of its keys, and above all of them.
    pub(super) fn fences(&self, at: usize) -> (Option<&[u8]>, Option<&[u8]>) {
        let before = at.checked_sub(1).map(|before| self.separator(before));
        (before, (at < self.separator_count()).then(|| self.separator(at)))
    }
}
