//! Power cuts and kills at every change, and again while the log recovers from them.

use std::sync::{Arc, Mutex};

use concord_raft::sim_disk::SimDisk;

use crate::harness::{Work, recover};
use crate::model::Promise;

/// A copy of the disk, and what the log on it must hold.
type Image = (SimDisk, Promise);

fn work_with_images(seed: u64) -> (Work, Arc<Mutex<Vec<Image>>>) {
    let work = Work::new(seed);
    let images: Arc<Mutex<Vec<Image>>> = Arc::default();
    let (to, history) = (Arc::clone(&images), Arc::clone(&work.history));
    work.disk.observe(move |copy| {
        let promise = history.lock().unwrap().promise();
        to.lock().unwrap().push((copy, promise));
    });
    (work, images)
}

fn check(disk: &SimDisk, promise: &Promise, what: &str) {
    match recover(disk, true) {
        Ok(found) => assert!(promise.allows(&found), "{what}: {}", promise.explain(&found)),
        Err(error) => panic!("{what}: a crash was taken for damage: {error}"),
    }
}

/// Every change of a long run, each with two power cuts that keep different parts of what
/// was unsynced; every third also killed; every tenth cut again while it recovers.
#[test]
fn acknowledged_writes_survive_a_power_cut_at_every_change() {
    let (mut cuts, mut kills, mut recoveries, mut steps) = (0, 0, 0, 0);
    for seed in 1..=10 {
        let (mut work, images) = work_with_images(seed);
        for step in 0..260 {
            steps += 1;
            assert!(work.step(), "seed {seed} step {step}: the log failed");
            let taken = std::mem::take(&mut *images.lock().unwrap());
            for (n, (disk, promise)) in taken.into_iter().enumerate() {
                let what = format!("seed {seed} step {step} change {n}");
                for cut in 0..2 {
                    let image = disk.fork(seed * 1_000 + cut);
                    image.power_cut();
                    if (n + step) % 24 == 0 && cut == 0 {
                        recoveries += cut_while_recovering(&image, &promise, &what);
                    }
                    check(&image, &promise, &what);
                    if n % 4 == 0 {
                        // What recovery left is a log like any other.
                        check(&image, &promise, &format!("{what}, opened again"));
                    }
                    cuts += 1;
                }
                if n % 3 == 0 {
                    disk.kill();
                    check(&disk, &promise, &format!("{what}, killed"));
                    kills += 1;
                }
            }
            if step % 40 == 39 {
                work.die();
                work.open(true).unwrap();
            }
        }
    }
    println!("{steps} steps: {cuts} power cuts, {kills} kills, {recoveries} power cuts while recovering");
    assert!(cuts >= 20_000 && kills >= 3_000 && recoveries >= 2_000);
}

/// Cuts the power at every change that a recovery makes.
fn cut_while_recovering(image: &SimDisk, promise: &Promise, what: &str) -> u64 {
    let mut images = 0;
    for changes in 0.. {
        let again = image.fork(changes);
        again.stop_after(changes);
        let finished = recover(&again, true).is_ok();
        again.power_cut();
        check(
            &again,
            promise,
            &format!("{what}, then after {changes} changes of the recovery"),
        );
        images += 1;
        if finished {
            break;
        }
    }
    images
}

/// The log goes on after each crash, and the next crash finds all of it.
#[test]
fn a_log_that_crashes_again_and_again_loses_nothing() {
    let mut crashes = 0;
    for seed in 100..160 {
        let mut work = Work::new(seed);
        for _ in 0..12 {
            for _ in 0..work.rng.below(12) {
                assert!(work.step(), "seed {seed}");
            }
            if work.rng.below(6) == 0 {
                work.close();
            } else {
                let changes = work.rng.below(12);
                work.disk.stop_after(changes);
                while work.step() {}
            }
            let promise = work.promise();
            work.die();
            work.disk.power_cut();
            work.open(true)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = work.history.lock().unwrap().model.clone();
            assert!(promise.allows(&found), "seed {seed}: {}", promise.explain(&found));
            crashes += 1;
        }
    }
    println!("{crashes} crashes in a row");
    assert!(crashes >= 700);
}
