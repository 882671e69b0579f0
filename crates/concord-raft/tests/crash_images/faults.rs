//! Calls that fail: the log stops at once, acknowledges nothing more, and what it did
//! acknowledge is there when it is opened again.

use std::io::ErrorKind;
use std::sync::Arc;

use concord_raft::StorageError;
use concord_raft::log::{self, LogHealth};
use concord_raft::sim_disk::{Operation, SimDisk};
use concord_raft::types::{Entry, log_id};
use openraft::EntryPayload;

use crate::harness::{Work, directory, options, recover, runtime};
use crate::model::Promise;

/// The nth write, sync or creation fails, for every n of a run, each for good or once.
#[test]
fn a_failed_call_poisons_the_log_and_loses_nothing_acknowledged() {
    let mut runs = 0;
    for (operation, count) in [
        (Operation::Sync, 200),
        (Operation::Write, 300),
        (Operation::Create, 8),
    ] {
        for error in [ErrorKind::Other, ErrorKind::StorageFull] {
            for after in (0..count).step_by(if error == ErrorKind::Other { 1 } else { 5 }) {
                for times in [1, u64::MAX] {
                    let what = format!("{operation:?} {after} fails with {error:?}, {times} times");
                    let mut work = Work::new(after);
                    work.disk.fail(operation, after, times, error);
                    let mut steps = 0;
                    while steps < 100 && work.step() {
                        steps += 1;
                    }
                    let acked = work.history.lock().unwrap().acked;
                    // Refused for good, also when the disk would work again.
                    work.disk.heal();
                    if steps < 100 {
                        for _ in 0..5 {
                            work.step();
                        }
                        assert_eq!(
                            work.history.lock().unwrap().acked,
                            acked,
                            "{what}: acknowledged after a failure"
                        );
                    }
                    let promise = work.promise();
                    work.die();
                    for seed in 0..1 + after % 2 {
                        let image = work.disk.fork(seed);
                        image.power_cut();
                        let found = recover(&image, true).unwrap_or_else(|error| panic!("{what}: {error}"));
                        assert!(promise.allows(&found), "{what}: {}", promise.explain(&found));
                    }
                    runs += 1;
                }
            }
        }
    }
    println!("{runs} runs with a failing call");
    assert!(runs >= 1_200);
}

/// A failed sync leaves bytes that read as written and will never be written back. A log
/// that is opened from them must not take them for durable (what it finds is what others
/// are told it has), also when the power fails right after.
#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_made_durable_or_dropped() {
    let mut runs = 0;
    for after in 0..60 {
        let mut work = Work::new(after);
        work.disk.fail(Operation::Sync, after, 1, ErrorKind::Other);
        for _ in 0..120 {
            work.step();
        }
        work.die();
        let found = recover(&work.disk, true).unwrap();
        for seed in 0..3 {
            let image = work.disk.fork(seed);
            image.power_cut();
            let promise = Promise::exactly(found.clone());
            let left = recover(&image, true).unwrap();
            assert!(
                promise.allows(&left),
                "sync {after} failed: {}",
                promise.explain(&left)
            );
            runs += 1;
        }
    }
    println!("{runs} power cuts after a failed sync and a restart");
}

fn blank(index: u64) -> Entry {
    Entry {
        log_id: log_id(1, index),
        payload: EntryPayload::Blank,
    }
}

/// The error names the file and the place, and a full disk is told from a broken one.
#[test]
fn the_failure_names_the_file_and_the_place() {
    for (kind, full) in [(ErrorKind::Other, false), (ErrorKind::StorageFull, true)] {
        let disk = SimDisk::new(1);
        runtime().block_on(async {
            let (mut store, handle) =
                log::open(&directory(), options(false), Arc::new(disk.clone())).unwrap();
            disk.fail(Operation::Sync, 0, 1, kind);
            let (done, outcome) = tokio::sync::oneshot::channel();
            let done = Box::new(move |result| done.send(result).unwrap());
            store.append_entries(vec![blank(0)], done).await.unwrap();
            let error = outcome.await.unwrap().unwrap_err();
            assert_eq!(error.kind() == ErrorKind::StorageFull, full);
            assert!(
                error.to_string().contains("/data/log/0000000000000001.wal"),
                "{error}"
            );
            let Err(error) = store
                .append_entries(vec![blank(1)], Box::new(|_| panic!("refused at once")))
                .await
            else {
                panic!("a failed log took an entry");
            };
            assert_eq!(error.is_full(), full);
            assert!(matches!(&*handle.health().borrow(), LogHealth::Failed(_)));
        });
    }
}

/// No room for the next segment: told early, while there is room in the current one, and
/// over by itself once there is space.
#[test]
fn a_full_disk_is_told_early_and_passes() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(9_000));
    runtime().block_on(async {
        let (mut store, handle) = log::open(&directory(), options(false), Arc::new(disk.clone())).unwrap();
        let health = handle.health();
        assert!(matches!(
            &*health.borrow(),
            LogHealth::DiskFull(StorageError::Full { .. })
        ));
        store.set_vote(openraft::Vote::new(1, 1)).await.unwrap();
        assert!(matches!(&*health.borrow(), LogHealth::DiskFull(_)));
        disk.set_capacity(None);
        store.set_vote(openraft::Vote::new(2, 1)).await.unwrap();
        assert!(matches!(&*health.borrow(), LogHealth::Healthy));
    });
}
