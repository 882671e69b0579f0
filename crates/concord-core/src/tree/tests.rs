//! What only shows inside: where records lie and which nodes are copied.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Bound;

use super::Tree;
use super::cell::NewCell;
use super::digest::fingerprint;
use super::edit::adopt;
use super::inner::{FANOUT, Inner, Node, Sibling};
use super::leaf::{LEAF_BYTES, Leaf, SLOTS};

fn leaves(node: &Node, out: &mut Vec<*const Leaf>, records: &mut Vec<usize>) {
    match node {
        Node::Leaf(leaf) => {
            out.push(&raw const **leaf);
            records.push(leaf.count());
        }
        Node::Inner(inner) => (0..inner.len()).for_each(|at| leaves(inner.child(at).unwrap(), out, records)),
    }
}

fn leaves_of(tree: &Tree) -> (Vec<*const Leaf>, Vec<usize>) {
    let (mut out, mut records) = (Vec::new(), Vec::new());
    leaves(tree.root.as_ref().unwrap(), &mut out, &mut records);
    (out, records)
}

fn numbered(count: u32) -> Tree {
    let mut tree = Tree::new();
    for number in 0..count {
        tree.set(&number.to_be_bytes(), &[0; 4]);
    }
    tree
}

/// In every size, with cells of every size: the same tree as by setting one after the other.
#[test]
fn what_is_appended_in_order_is_found() {
    let (mut appended, mut set) = (Tree::new(), Tree::new());
    for number in 0..5_000_u32 {
        let key = format!("key:{number:06}");
        let bytes_max = if number % 100 == 0 { 9_000 } else { 300 };
        let cell = vec![7; number as usize * 37 % bytes_max];
        appended.append(key.as_bytes(), &cell);
        set.set(key.as_bytes(), &cell);
        if number % 500 == 0 {
            // Somebody holds what there is, so that it is copied.
            let held = appended.clone();
            appended.append(format!("{key}:x").as_bytes(), b"x");
            set.set(format!("{key}:x").as_bytes(), b"x");
            assert_eq!(held.len() + 1, appended.len());
            held.check().unwrap();
        }
    }
    appended.check().unwrap();
    assert!(appended.iter().eq(set.iter()));
    for (key, cell) in &set {
        assert_eq!(appended.get(key), Some(cell));
    }
    appended.set(b"key:002500:y", b"y");
    appended.remove(b"key:000000");
    appended.check().unwrap();
}

#[test]
fn keys_that_arrive_in_order_leave_full_leaves() {
    let (_, records) = leaves_of(&numbered(1000));
    const { assert!(9 * SLOTS <= LEAF_BYTES, "slots run out first") };
    assert!(
        records[..records.len() - 1].iter().all(|count| *count == SLOTS),
        "{records:?}"
    );
}

#[test]
fn removals_all_over_merge_leaves() {
    let mut tree = numbered(1000);
    let before = leaves_of(&tree).0.len();
    for number in (0..1000_u32).filter(|number| number % 10 != 0) {
        tree.remove(&number.to_be_bytes());
        assert_eq!(tree.check(), Ok(()));
    }
    assert!(
        leaves_of(&tree).0.len() * 3 < before,
        "{} leaves of {before}",
        leaves_of(&tree).0.len()
    );
}

#[test]
fn write_copies_one_leaf_of_a_viewed_tree_and_none_of_another() {
    let mut tree = numbered(1000);
    let (before, _) = leaves_of(&tree);
    tree.set(&500_u32.to_be_bytes(), &[1; 4]);
    assert_eq!(leaves_of(&tree).0, before, "nobody else looks: in place");

    let view = tree.clone();
    tree.set(&500_u32.to_be_bytes(), &[2; 4]);
    tree.set(&500_u32.to_be_bytes(), &[3; 4]);
    assert_eq!(leaves_of(&view).0, before);
    let copied = leaves_of(&tree)
        .0
        .iter()
        .zip(&before)
        .filter(|(new, old)| new != old)
        .count();
    assert_eq!(copied, 1);
}

#[test]
fn removing_an_absent_key_copies_nothing() {
    let mut tree = numbered(1000);
    let view = tree.clone();
    assert_eq!(tree.remove(b"absent"), None);
    assert_eq!(leaves_of(&tree).0, leaves_of(&view).0);
}

#[test]
fn walk_crosses_leaves_in_both_directions_from_any_key() {
    let tree = numbered(300);
    for start in 0..300_u32 {
        let key = start.to_be_bytes();
        let up = tree.range((Bound::Included(&key), Bound::Unbounded));
        assert_eq!(up.count(), usize::try_from(300 - start).unwrap());
        let down = tree.range((Bound::Unbounded, Bound::Excluded(&key)));
        assert_eq!(down.rev().count(), usize::try_from(start).unwrap());
    }
}

fn sibling(key: &[u8]) -> Sibling {
    let mut leaf = Leaf::new();
    leaf.insert(0, key, fingerprint(key), NewCell::Inline(&[]), false);
    Sibling {
        separator: key.to_vec(),
        node: Node::Leaf(Arc::new(leaf)),
    }
}

/// Claim: two new neighbours at once, as a record that fills a leaf makes them, end up in
/// order on whichever side of an overflowing node they belong. Method: every position.
#[test]
fn full_node_takes_two_neighbours_anywhere() {
    let key = |child: usize, offset: u8| [u8::try_from(child).unwrap(), offset];
    for at in 0..FANOUT {
        let mut inner = Inner::with_child(sibling(&key(0, 0)).node);
        for child in 1..FANOUT {
            adopt(&mut inner, child - 1, [sibling(&key(child, 0))].into(), false);
        }
        let overflow = adopt(
            &mut inner,
            at,
            [sibling(&key(at, 1)), sibling(&key(at, 2))].into(),
            true,
        )
        .unwrap();
        let Node::Inner(right) = &overflow.node else {
            panic!("a leaf beside an inner node")
        };
        assert_eq!((inner.check(), right.check()), (Ok(()), Ok(())));
        let keys: Vec<_> = [&inner, &**right]
            .iter()
            .flat_map(|node| (0..node.len()).map(|child| node.child(child).unwrap().clone()))
            .map(|node| match node {
                Node::Leaf(leaf) => leaf.key(0).to_vec(),
                Node::Inner(_) => panic!("an inner node among leaves"),
            })
            .collect();
        assert_eq!(keys.len(), FANOUT + 2);
        assert!(keys.is_sorted(), "{keys:?}");
        assert!(keys.contains(&overflow.separator));
    }
}
