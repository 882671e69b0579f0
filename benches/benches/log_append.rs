//! The write-ahead log on a real disk: one caller that waits for each append to be
//! durable, and reading a log back. Budgets are in docs/performance.md.
//!
//! The disk is that of `CONCORD_BENCH_DIR`, by default of the target directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use concord_raft::log::{self, LogOptions, LogStore};
use concord_raft::os::OsDisk;
use concord_raft::types::{EncodedBatch, Entry, Payload, log_id};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const SEGMENT_BYTES: u64 = 64 << 20;
const PAYLOAD_BYTES: usize = 256;

fn scratch(name: &str) -> PathBuf {
    let root = std::env::var_os("CONCORD_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = root.join(format!("log-append-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    directory
}

fn open(directory: &std::path::Path) -> (LogStore, log::LogHandle) {
    log::open(directory, LogOptions::new(1, SEGMENT_BYTES), Arc::new(OsDisk)).expect("the log opens")
}

fn entries(next: &mut u64, count: usize, payload: &Bytes) -> Vec<Entry> {
    (0..count)
        .map(|_| {
            *next += 1;
            Entry {
                log_id: log_id(1, *next - 1),
                payload: Payload::Normal(EncodedBatch::new(payload.clone())),
            }
        })
        .collect()
}

async fn append_durably(store: &mut LogStore, entries: Vec<Entry>) {
    let (done, durable) = oneshot::channel();
    let done = Box::new(move |outcome| {
        let _ = done.send(outcome);
    });
    store
        .append_entries(entries, done)
        .await
        .expect("the log takes entries");
    durable
        .await
        .expect("the writer lives")
        .expect("the entries are durable");
}

/// One append of 1, 16 or 128 entries at a time, each made durable before the next.
fn append(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let mut group = c.benchmark_group("log_append/durable");
    for count in [1, 16, 128] {
        let directory = scratch(&count.to_string());
        let (mut store, mut handle) = open(&directory);
        let mut next = 0;
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_custom(|rounds| {
                runtime.block_on(async {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        let entries = entries(&mut next, count, &payload);
                        append_durably(&mut store, entries).await;
                        // As a node does behind its snapshots: disks are finite.
                        if next.is_multiple_of(1 << 18) {
                            let upto = log_id(1, next - (1 << 16));
                            store.purge_upto(upto).await.expect("the log purges");
                        }
                    }
                    start.elapsed()
                })
            });
        });
        drop(store);
        runtime.block_on(handle.closed());
        let _ = std::fs::remove_dir_all(&directory);
    }
    group.finish();
}

/// Reading a log of a million entries back: what a restart waits for.
fn recover(c: &mut Criterion) {
    const ENTRIES: u64 = 1_000_000;
    let runtime = Runtime::new().expect("a runtime");
    let directory = scratch("recover");
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    runtime.block_on(async {
        let (mut store, mut handle) = open(&directory);
        let mut next = 0;
        while next < ENTRIES {
            append_durably(&mut store, entries(&mut next, 1_000, &payload)).await;
        }
        drop(store);
        handle.closed().await;
    });
    let mut group = c.benchmark_group("log_append/recover");
    group
        .throughput(Throughput::Elements(ENTRIES))
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    group.bench_function("1000000", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let start = Instant::now();
                let (store, mut handle) = open(&directory);
                spent += start.elapsed();
                drop(store);
                runtime.block_on(handle.closed());
            }
            spent
        });
    });
    group.finish();
    let _ = std::fs::remove_dir_all(&directory);
}

criterion_group!(benches, append, recover);
criterion_main!(benches);
