//! A restore of a million keys: offline into a new directory, and onto a node that runs, with what writers feel of it.
//!
//! `cargo run --release -p concord-benches --example restore_cost`

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use concord_benches::million::{Failure, KEYS, Meanwhile, Writers, key, load, median, value};
use concord_core::Store;
use concord_raft::backup::BackupFile;
use concord_raft::offline;
use concord_raft::os::{OsClock, OsDisk, OsEntropy};
use concord_raft::ports::{Clock as _, Disk};
use concord_server::{Concord, Config, RestoreOptions};

const ROUNDS: usize = 5;
const CALLERS: usize = 64;
/// Writes a second beside a restore.
const PACE: f64 = 2_000.0;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::Builder::new().prefix("concord-bench-").tempdir()?;
    let db = Concord::open(Config::at(directory.path().join("data"))).await?;
    load(&db, KEYS).await?;
    let made = db.backups().create().await?;
    let file = directory.path().join("data/backups").join(&made.name);
    println!("backup of {KEYS} keys: {} MB", made.file_bytes / 1_000_000);
    let mut offline = Vec::new();
    for round in 0..ROUNDS {
        let root = directory.path().join(format!("restored-{round}"));
        offline.push(restore_to(&file, root).await?.as_secs_f64());
    }
    report("into a new directory", &offline);
    let mut alone = Vec::new();
    for _ in 0..ROUNDS {
        alone.push(restore_onto(&db, &file).await?.as_secs_f64());
    }
    report("onto a running node", &alone);
    beside(&db, &file).await?;
    db.shutdown().await?;
    Ok(())
}

/// As `concord backup restore --data-dir` does it, then starts the node to see that all is there.
async fn restore_to(file: &Path, root: std::path::PathBuf) -> Result<Duration, Failure> {
    let (file, made) = (file.to_path_buf(), root.clone());
    let took = tokio::task::spawn_blocking(move || {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let began = Instant::now();
        let file = BackupFile::open(Arc::clone(&disk), &file)?;
        offline::restore::<Store>(&file, &made, None, OsClock.now(), &disk, &OsEntropy, |_| {})?;
        Ok::<_, Failure>(began.elapsed())
    })
    .await??;
    let db = Concord::open(Config::at(&root)).await?;
    check(&db).await?;
    db.shutdown().await?;
    std::fs::remove_dir_all(root)?;
    Ok(took)
}

async fn restore_onto(db: &Concord, file: &Path) -> Result<Duration, Failure> {
    let began = Instant::now();
    db.backups().restore_file(file, RestoreOptions::default()).await?;
    let took = began.elapsed();
    check(db).await?;
    Ok(took)
}

/// That the node has what the backup has.
async fn check(db: &Concord) -> Result<(), Failure> {
    assert_eq!(db.statistics()?.usage.keys, u64::try_from(KEYS)?);
    for number in (0..KEYS).step_by(KEYS / 100) {
        let found = db.get(key(number)).await?;
        let bytes = found.as_ref().map(|entry| entry.bytes());
        assert_eq!(bytes, Some(value(number).as_slice()), "of key {number}");
    }
    Ok(())
}

/// With writers, which meet the moment of the exchange.
async fn beside(db: &Concord, file: &Path) -> Result<(), Failure> {
    let mut writers = Writers::start(db, KEYS, CALLERS, Some(PACE));
    writers.watch(Duration::from_secs(1)).await;
    let (mut took, mut with) = (Vec::new(), Vec::new());
    let without = writers.watch(Duration::from_secs(5)).await;
    for _ in 0..ROUNDS {
        writers.look();
        took.push(restore_onto(db, file).await?.as_secs_f64());
        with.push(writers.look());
    }
    writers.end().await?;
    report("onto a running node, beside writers", &took);
    let describe = |when, all: &[Meanwhile]| {
        let of = |percent: f64| median(all.iter().map(|one| one.millis_at(percent)).collect());
        println!(
            "  {when}: p50 {:.2} ms, p99 {:.2} ms, slowest {:.1} ms",
            of(50.0),
            of(99.0),
            of(100.0)
        );
    };
    describe("writes before it", &[without]);
    describe("writes during it", &with);
    Ok(())
}

fn report(what: &str, seconds: &[f64]) {
    println!(
        "{what}: {:.2} s, slowest {:.2}",
        median(seconds.to_vec()),
        seconds.iter().copied().fold(0.0, f64::max)
    );
}
