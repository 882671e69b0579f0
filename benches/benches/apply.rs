//! The state machine alone: no log, no disk, no network. A view is published after each entry
//! of 256 requests and the one before dropped, as in production, so that the copying which
//! publishing causes is part of the figure.

use std::hint::black_box;

use concord_benches::fixture::{BATCH, loaded};
use concord_core::{Machine, Store};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 2] = [1_000, 100_000];

fn requests() -> Throughput {
    Throughput::Elements(u64::try_from(BATCH).unwrap_or_default())
}

/// Puts of keys that are there. History fills up first, so that compaction keeps step.
fn put_overwrite(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply/put_overwrite");
    group.throughput(requests());
    for count in SIZES {
        let (mut store, mut log) = loaded(count);
        for _ in 0..500 {
            let (meta, batch) = log.overwrites(count);
            store.apply(meta, &batch);
        }
        let mut view = store.view();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_batched(
                || log.overwrites(count),
                |(meta, batch)| {
                    let replies = store.apply(meta, &batch);
                    view = store.view();
                    replies
                },
                BatchSize::SmallInput,
            );
        });
        black_box(&view);
    }
    group.finish();
}

/// Puts of keys that are not there, into a store that grows.
fn put_insert(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply/put_insert");
    group.throughput(requests());
    for count in SIZES {
        let (mut store, mut log) = loaded(count);
        let mut next = count;
        let mut view = store.view();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_batched(
                || {
                    next += BATCH;
                    log.inserts(next)
                },
                |(meta, batch)| {
                    let replies = store.apply(meta, &batch);
                    view = store.view();
                    replies
                },
                BatchSize::SmallInput,
            );
        });
        black_box(&view);
    }
    group.finish();
}

/// A snapshot of a hundred thousand keys, and the store rebuilt from it.
fn snapshot(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot");
    let count = 100_000;
    group.throughput(Throughput::Elements(100_000));
    group.sample_size(20);
    let (store, _) = loaded(count);
    let view = store.view();
    group.bench_function("write", |b| {
        b.iter(|| Store::snapshot(&view).map(|chunk| chunk.len()).sum::<usize>())
    });
    let chunks: Vec<_> = Store::snapshot(&view).collect();
    group.bench_function("restore", |b| {
        b.iter(|| {
            let mut restorer = Store::restorer();
            for chunk in &chunks {
                concord_core::Restorer::feed(&mut restorer, chunk).expect("the chunks were just made");
            }
            concord_core::Restorer::finish(restorer).expect("all chunks were fed")
        });
    });
    group.finish();
}

criterion_group!(benches, put_overwrite, put_insert, snapshot);
criterion_main!(benches);
