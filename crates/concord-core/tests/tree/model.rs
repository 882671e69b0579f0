//! The tree against the standard map. Runs twice: with the sizes of production, and as a unit
//! test of the crate with tiny nodes, where a handful of keys makes a tall tree.

extern crate alloc;
extern crate std;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;
use std::{format, vec};

use concord_core::tree::{INLINE_CELL_BYTES, OwnedCell, Tree, prefix_end};
use proptest::prelude::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const KEYS: usize = 96;

/// Few keys of every awkward shape: empty, ending in zeros (equal digests), alike for
/// hundreds of bytes, prefixes of each other, longer than a leaf or than sixteen bits tell.
fn key_of(number: usize) -> Vec<u8> {
    let low = u8::try_from(number % 256).unwrap();
    match number % 8 {
        0 => vec![b'a'; number / 8],
        1 => [b"a".as_slice(), &vec![0; number / 8]].concat(),
        2 => [vec![b'p'; 300].as_slice(), &[low]].concat(),
        3 => [vec![b'p'; 300].as_slice(), &[low; 40]].concat(),
        4 => [
            b"user:".as_slice(),
            format!("{:032}", number * 7919 % 1000).as_bytes(),
        ]
        .concat(),
        5 => vec![0xFF; number / 8],
        6 if number % 32 == 6 => vec![low; 5000],
        7 if number % 64 == 7 => vec![b'q'; 70_000 + number],
        _ => [low.reverse_bits(), low].to_vec(),
    }
}

fn cell_of(size: usize, fill: u8) -> Vec<u8> {
    const SIZES: [usize; 10] = [
        0,
        1,
        17,
        40,
        140,
        INLINE_CELL_BYTES - 1,
        INLINE_CELL_BYTES,
        INLINE_CELL_BYTES + 1,
        2000,
        9000,
    ];
    vec![fill; SIZES[size % SIZES.len()]]
}

#[derive(Clone, Debug)]
enum Op {
    Insert(usize, usize, u8),
    InsertOwned(usize, usize, u8),
    Set(usize, usize, u8),
    SetCell(usize, usize),
    Remove(usize),
    RemoveRun(usize, usize),
    PopFirst,
    Clear,
    Keep,
    Forget(usize),
    Revert(usize),
    Scan(Bound<usize>, Bound<usize>, u64),
    Prefix(usize, usize),
}

fn arb_bound() -> impl Strategy<Value = Bound<usize>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0..KEYS).prop_map(Bound::Included),
        (0..KEYS).prop_map(Bound::Excluded)
    ]
}

fn arb_op() -> impl Strategy<Value = Op> {
    let (key, size, fill) = (0..KEYS, 0..10_usize, any::<u8>());
    prop_oneof![
        8 => (key.clone(), size.clone(), fill).prop_map(|(k, s, f)| Op::Insert(k, s, f)),
        3 => (key.clone(), size.clone(), fill).prop_map(|(k, s, f)| Op::InsertOwned(k, s, f)),
        8 => (key.clone(), size, fill).prop_map(|(k, s, f)| Op::Set(k, s, f)),
        3 => (key.clone(), key.clone()).prop_map(|(k, from)| Op::SetCell(k, from)),
        6 => key.clone().prop_map(Op::Remove),
        1 => (key.clone(), 0..KEYS).prop_map(|(k, n)| Op::RemoveRun(k, n)),
        2 => Just(Op::PopFirst),
        1 => Just(Op::Clear),
        3 => Just(Op::Keep),
        2 => any::<usize>().prop_map(Op::Forget),
        1 => any::<usize>().prop_map(Op::Revert),
        4 => (arb_bound(), arb_bound(), any::<u64>()).prop_map(|(a, b, turns)| Op::Scan(a, b, turns)),
        1 => (key, 0..6_usize).prop_map(|(k, n)| Op::Prefix(k, n)),
    ]
}

/// A tree, what it should hold, and older views with what they should still hold.
#[derive(Default)]
struct Pair {
    tree: Tree,
    model: Model,
    kept: Vec<(Tree, Model)>,
}

impl Pair {
    fn apply(&mut self, op: &Op) {
        let (tree, model) = (&mut self.tree, &mut self.model);
        match *op {
            Op::Insert(key, size, fill) => {
                let (key, cell) = (key_of(key), cell_of(size, fill));
                assert_eq!(
                    tree.insert(&key, &cell).as_deref(),
                    model.insert(key, cell).as_deref()
                );
            }
            Op::InsertOwned(key, size, fill) => {
                let (key, cell) = (key_of(key), cell_of(size, fill));
                let old = tree.insert_owned(&key, OwnedCell::from(cell.clone()));
                assert_eq!(old.as_deref(), model.insert(key, cell).as_deref());
            }
            Op::Set(key, size, fill) => {
                let (key, cell) = (key_of(key), cell_of(size, fill));
                assert_eq!(tree.set(&key, &cell), model.insert(key, cell).is_some());
            }
            Op::SetCell(key, from) => {
                let view = tree.clone();
                if let Some(cell) = view.get(&key_of(from)) {
                    let expected = model.insert(key_of(key), cell.to_vec()).is_some();
                    assert_eq!(tree.set_cell(&key_of(key), cell), expected);
                }
            }
            Op::Remove(key) => {
                let key = key_of(key);
                assert_eq!(tree.remove(&key).as_deref(), model.remove(&key).as_deref());
            }
            Op::RemoveRun(from, count) => {
                let start = key_of(from);
                let run: Vec<_> = model
                    .range(start..)
                    .take(count)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in run {
                    assert_eq!(tree.remove(&key).as_deref(), model.remove(&key).as_deref());
                    assert_eq!(tree.check(), Ok(()));
                }
            }
            Op::PopFirst => {
                let popped = tree.pop_first().map(|(key, cell)| (key, cell.to_vec()));
                assert_eq!(popped, model.pop_first());
            }
            Op::Clear => {
                tree.clear();
                model.clear();
            }
            Op::Keep => self.kept.push((tree.clone(), model.clone())),
            Op::Forget(at) if !self.kept.is_empty() => drop(self.kept.swap_remove(at % self.kept.len())),
            Op::Revert(at) if !self.kept.is_empty() => {
                (self.tree, self.model) = self.kept[at % self.kept.len()].clone();
            }
            Op::Forget(_) | Op::Revert(_) => {}
            Op::Scan(start, end, turns) => scan(tree, model, (start.map(key_of), end.map(key_of)), turns),
            Op::Prefix(key, length) => {
                let mut prefix = key_of(key);
                prefix.truncate(length);
                let expected = model.iter().filter(|(key, _)| key.starts_with(&prefix));
                assert!(
                    tree.prefix(&prefix)
                        .map(|(key, cell)| (key, cell.as_bytes()))
                        .eq(expected.map(slices))
                );
            }
        }
    }

    /// Looks up every key there is, in every way.
    fn assert_equal(&self) {
        assert_same(&self.tree, &self.model);
        // I15: a view never changes.
        for (tree, model) in &self.kept {
            assert_same(tree, model);
        }
    }
}

fn slices<'a>((key, cell): (&'a Vec<u8>, &'a Vec<u8>)) -> (&'a [u8], &'a [u8]) {
    (key, cell)
}

fn assert_same(tree: &Tree, model: &Model) {
    assert_eq!(tree.check(), Ok(()));
    assert_eq!(tree.len(), model.len());
    assert_eq!(tree.is_empty(), model.is_empty());
    assert!(
        tree.iter()
            .map(|(key, cell)| (key, cell.as_bytes()))
            .eq(model.iter().map(slices))
    );
    assert_eq!(
        tree.first().map(|(key, _)| key),
        model.keys().next().map(Vec::as_slice)
    );
    assert_eq!(
        tree.last().map(|(key, _)| key),
        model.keys().next_back().map(Vec::as_slice)
    );
    for number in 0..KEYS {
        let key = key_of(number);
        let expected = model.get(&key).map(Vec::as_slice);
        assert_eq!(tree.get(&key).map(|cell| cell.as_bytes()), expected);
        assert_eq!(tree.get_pinned(&key).as_deref(), expected);
        assert_eq!(tree.contains_key(&key), expected.is_some());
    }
}

/// Walks from both ends in the order that the bits of `turns` say.
fn scan(tree: &Tree, model: &Model, (start, end): (Bound<Vec<u8>>, Bound<Vec<u8>>), mut turns: u64) {
    let bounds = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
    let within = |key: &[u8]| {
        (match bounds.0 {
            Bound::Included(start) => key >= start,
            Bound::Excluded(start) => key > start,
            Bound::Unbounded => true,
        }) && (match bounds.1 {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        })
    };
    let mut expected = model.iter().filter(|(key, _)| within(key)).map(slices);
    let mut range = tree.range(bounds);
    loop {
        let (item, wanted) = match turns & 1 {
            0 => (range.next(), expected.next()),
            _ => (range.next_back(), expected.next_back()),
        };
        turns = turns.rotate_right(1);
        assert_eq!(item.map(|(key, cell)| (key, cell.as_bytes())), wanted);
        if wanted.is_none() {
            break;
        }
    }
    assert!(
        range.next().is_none() && range.next_back().is_none(),
        "a finished walk stays finished"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every history: the tree and the standard map agree after each step, the structure is
    /// sound, and views taken on the way still show what they showed.
    #[test]
    fn tree_and_its_views_match_the_model(ops in prop::collection::vec(arb_op(), 1..250)) {
        let mut pair = Pair::default();
        for (step, op) in ops.iter().enumerate() {
            pair.apply(op);
            assert_eq!(pair.tree.check(), Ok(()), "after step {}, {:?}", step, op);
            assert_eq!(pair.tree.len(), pair.model.len());
        }
        pair.assert_equal();
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// Grows to thousands of keys, then shrinks to none, with views held all along.
#[test]
fn thousands_of_keys_come_and_go() {
    let mut random = Random(7);
    let (mut tree, mut model) = (Tree::new(), Model::new());
    let mut views: Vec<(Tree, Model)> = Vec::new();
    for step in 0..40_000_usize {
        let key = format!("key:{:05}", random.below(9000)).into_bytes();
        // First mostly inserts, then as many removals, at last only removals.
        if random.below(40_000) > step {
            let cell = vec![key[7]; random.below(260)];
            assert_eq!(
                tree.insert(&key, &cell).as_deref(),
                model.insert(key, cell).as_deref()
            );
        } else {
            assert_eq!(tree.remove(&key).as_deref(), model.remove(&key).as_deref());
        }
        if step % 4000 == 3999 {
            assert_same(&tree, &model);
            views.push((tree.clone(), model.clone()));
        }
    }
    for (view, model) in &views {
        assert_same(view, model);
    }
    while let Some((key, cell)) = tree.pop_first() {
        assert_eq!(model.pop_first(), Some((key, cell.to_vec())));
    }
    assert!(model.is_empty());
    assert_eq!(tree.check(), Ok(()));
}

/// The pattern of a change log: append at the end, remove from the front, views in between.
#[test]
fn queue_of_records_stays_sound() {
    let mut tree = Tree::new();
    for number in 0..6000_u64 {
        assert!(!tree.set(&number.to_be_bytes(), &[1; 40]));
        let view = tree.clone();
        if number >= 1000 {
            let (key, _) = tree.pop_first().unwrap();
            assert_eq!(key, (number - 1000).to_be_bytes());
            assert!(view.contains_key(&key));
        }
        if number % 100 == 0 {
            assert_eq!(tree.check(), Ok(()));
            assert_eq!(view.check(), Ok(()));
        }
    }
    assert_eq!(tree.len(), 1000);
}

#[test]
fn large_cells_are_shared_between_trees() {
    let (mut left, mut right) = (Tree::new(), Tree::new());
    left.set(b"k", &[7; 100_000]);
    right.set_cell(b"k", left.get(b"k").unwrap());
    let owned = left.remove(b"k").unwrap();
    assert_eq!(owned.as_ptr(), right.get(b"k").unwrap().as_ptr());
    left.insert_owned(b"again", owned);
    assert_eq!(
        left.get(b"again").unwrap().as_ptr(),
        right.get(b"k").unwrap().as_ptr()
    );
}

#[test]
fn pinned_cell_outlives_its_tree_and_never_changes() {
    let mut tree = Tree::new();
    tree.set(b"k", b"before");
    let pinned = tree.get_pinned(b"k").unwrap();
    tree.set(b"k", b"behind");
    drop(tree);
    assert_eq!(&*pinned, b"before");
}

#[test]
fn prefix_end_is_the_next_key_that_does_not_start_with_the_prefix() {
    assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(prefix_end(b"a\xFF\xFF"), Some(b"b".to_vec()));
    assert_eq!(prefix_end(b"\xFF"), None);
    assert_eq!(prefix_end(b""), None);
}
