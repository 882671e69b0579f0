//! The packed persistent tree beside the standard maps: 32 byte keys, 140 byte cells,
//! uniform random access, one thread. Figures and the reasons for them are in
//! `docs/adr/0003-packed-persistent-tree.md`.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::ops::Bound;

use concord_benches::random::{Random, key_of};
use concord_core::tree::Tree;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const CELL: [u8; 140] = [7; 140];
const SIZES: [usize; 2] = [100_000, 1_000_000];
/// Writes between two views: what a busy leader puts in one batch.
const BATCH: usize = 256;

fn keys_of(count: usize) -> Vec<[u8; 32]> {
    (0..count).map(key_of).collect()
}

fn tree_of(keys: &[[u8; 32]]) -> Tree {
    let mut tree = Tree::new();
    for key in keys {
        tree.set(key, &CELL);
    }
    tree
}

fn pick<'a>(keys: &'a [[u8; 32]], random: &mut Random) -> &'a [u8] {
    keys.get(random.below(keys.len()))
        .map_or(&[], <[u8; 32]>::as_slice)
}

/// One point read of a key that is there.
fn get(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree/get");
    group.throughput(Throughput::Elements(1));
    for count in SIZES {
        let keys = keys_of(count);
        let mut random = Random::new(1);
        let tree = tree_of(&keys);
        group.bench_function(BenchmarkId::new("tree", count), |b| {
            b.iter(|| black_box(tree.get(pick(&keys, &mut random)).map(|cell| cell.len())));
        });
        group.bench_function(BenchmarkId::new("tree_pinned", count), |b| {
            b.iter(|| black_box(tree.get_pinned(pick(&keys, &mut random))));
        });
        drop(tree);
        let map: BTreeMap<Vec<u8>, Vec<u8>> = keys.iter().map(|key| (key.to_vec(), CELL.to_vec())).collect();
        group.bench_function(BenchmarkId::new("btree_map", count), |b| {
            b.iter(|| black_box(map.get(pick(&keys, &mut random)).map(Vec::len)));
        });
        drop(map);
        let map: HashMap<Vec<u8>, Vec<u8>> = keys.iter().map(|key| (key.to_vec(), CELL.to_vec())).collect();
        group.bench_function(BenchmarkId::new("hash_map", count), |b| {
            b.iter(|| black_box(map.get(pick(&keys, &mut random)).map(Vec::len)));
        });
    }
    group.finish();
}

/// One overwrite with a cell of the same size; `published`: with a view taken every
/// [`BATCH`] writes, and the one before dropped.
fn overwrite(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree/overwrite");
    group.throughput(Throughput::Elements(1));
    for count in SIZES {
        let keys = keys_of(count);
        let mut random = Random::new(2);
        let mut tree = tree_of(&keys);
        group.bench_function(BenchmarkId::new("in_place", count), |b| {
            b.iter(|| tree.set(pick(&keys, &mut random), black_box(&CELL)));
        });
        let (mut view, mut writes) = (tree.clone(), 0_usize);
        group.bench_function(BenchmarkId::new("published", count), |b| {
            b.iter(|| {
                writes += 1;
                if writes.is_multiple_of(BATCH) {
                    view = tree.clone();
                }
                tree.set(pick(&keys, &mut random), black_box(&CELL))
            });
        });
        drop((tree, view));
        let mut map: BTreeMap<Vec<u8>, Vec<u8>> =
            keys.iter().map(|key| (key.to_vec(), CELL.to_vec())).collect();
        group.bench_function(BenchmarkId::new("btree_map", count), |b| {
            b.iter(|| {
                if let Some(cell) = map.get_mut(pick(&keys, &mut random)) {
                    cell.copy_from_slice(black_box(&CELL));
                }
            });
        });
    }
    group.finish();
}

/// A walk over 10,000 keys from a random one, and a seek that takes one.
fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree/scan");
    let keys = keys_of(100_000);
    let mut random = Random::new(3);
    let tree = tree_of(&keys);
    for length in [1, 10_000] {
        group.throughput(Throughput::Elements(u64::try_from(length).unwrap_or(u64::MAX)));
        group.bench_function(BenchmarkId::new("tree", length), |b| {
            b.iter(|| {
                let range = tree.range((Bound::Included(pick(&keys, &mut random)), Bound::Unbounded));
                range
                    .take(length)
                    .map(|(key, cell)| key.len() + cell.len())
                    .sum::<usize>()
            });
        });
    }
    let map: BTreeMap<Vec<u8>, Vec<u8>> = keys.iter().map(|key| (key.to_vec(), CELL.to_vec())).collect();
    group.bench_function(BenchmarkId::new("btree_map", 10_000), |b| {
        b.iter(|| {
            let range = map.range::<[u8], _>((Bound::Included(pick(&keys, &mut random)), Bound::Unbounded));
            range
                .take(10_000)
                .map(|(key, cell)| key.len() + cell.len())
                .sum::<usize>()
        });
    });
    group.finish();
}

/// Filling a tree: in key order as a snapshot does, and in random order.
fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree/load");
    group.sample_size(10);
    let keys = keys_of(1_000_000);
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    group.throughput(Throughput::Elements(1_000_000));
    for (name, keys) in [("in_order", &sorted), ("random", &keys)] {
        group.bench_function(BenchmarkId::new(name, keys.len()), |b| {
            b.iter_batched(|| (), |()| tree_of(keys), BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// The change log: one record in at the end, one out at the front, a view every [`BATCH`].
fn queue(c: &mut Criterion) {
    let (mut tree, mut next) = (Tree::new(), 0_u64);
    while next < 100_000 {
        tree.set(&next.to_be_bytes(), &[1; 33]);
        next += 1;
    }
    let (mut view, mut writes) = (tree.clone(), 0_usize);
    c.bench_function("tree/queue", |b| {
        b.iter(|| {
            writes += 1;
            if writes.is_multiple_of(BATCH) {
                view = tree.clone();
            }
            next += 1;
            tree.set(&next.to_be_bytes(), &[1; 33]);
            tree.pop_first()
        });
    });
    drop(view);
}

criterion_group!(benches, get, overwrite, scan, load, queue);
criterion_main!(benches);
