//! Reads of one view, uniformly random, on one thread.

use std::hint::black_box;

use concord_benches::fixture::loaded;
use concord_benches::random::{Random, key_of};
use concord_core::{Direction, KeyRange, Machine, ReadView, Revision, ScanRequest};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn view_of(count: usize) -> ReadView {
    loaded(count).0.view()
}

/// One point read; `pinned`: in a form that outlives the view.
fn get(c: &mut Criterion) {
    let mut group = c.benchmark_group("view/get");
    group.throughput(Throughput::Elements(1));
    for count in SIZES {
        let view = view_of(count);
        let mut random = Random::new(2);
        group.bench_function(BenchmarkId::new("borrowed", count), |b| {
            b.iter(|| {
                let key = key_of(random.below(count));
                black_box(view.get(&key).map(|record| record.stored().bytes().len()))
            });
        });
        group.bench_function(BenchmarkId::new("pinned", count), |b| {
            b.iter(|| {
                let key = key_of(random.below(count));
                black_box(view.get_pinned(&key).map(|record| record.stored().bytes().len()))
            });
        });
    }
    group.finish();
}

/// A page of ten thousand records: owned, borrowed, and as they were before every one of them
/// was written again.
fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("view/scan_10000");
    group.throughput(Throughput::Elements(10_000));
    group.sample_size(50);
    let count = 50_000;
    let (mut store, mut log) = loaded(count);
    let before = Revision::new(store.view().revision().get());
    for _ in 0..200 {
        let (meta, batch) = log.overwrites(count);
        store.apply(meta, &batch);
    }
    let view = store.view();
    let all = KeyRange::all();
    group.bench_function("records", |b| {
        b.iter(|| {
            view.scan(&ScanRequest::new(all.clone()))
                .expect("the request is valid")
        });
    });
    group.bench_function("borrowed", |b| {
        b.iter(|| {
            let records = view.records(&all, Direction::Ascending).take(10_000);
            records.map(|record| record.stored().bytes().len()).sum::<usize>()
        });
    });
    let request = ScanRequest {
        revision: Some(before),
        ..ScanRequest::new(all.clone())
    };
    group.bench_function("past", |b| {
        b.iter(|| view.scan(&request).expect("the revision is kept"))
    });
    group.finish();
}

/// Taking the change log up from ten thousand changes ago, with both records of each.
fn changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("view/changes_10000");
    group.throughput(Throughput::Elements(10_000));
    let (mut store, mut log) = loaded(10_000);
    for _ in 0..40 {
        let (meta, batch) = log.overwrites(10_000);
        store.apply(meta, &batch);
    }
    let view = store.view();
    let after = Revision::new(view.revision().get().saturating_sub(10_000));
    group.bench_function("both_records", |b| {
        b.iter(|| {
            let changes = view.changes(after).expect("the revision is kept");
            changes
                .filter(|change| change.record().is_some() && change.previous().is_some())
                .count()
        });
    });
    group.finish();
}

criterion_group!(benches, get, scan, changes);
criterion_main!(benches);
