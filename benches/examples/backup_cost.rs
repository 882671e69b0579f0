//! A backup of a million keys: how long it takes, and what writes feel of it. One node in this process, fsync on; what
//! is written during a backup beside what is written in as long a time before and after it, in one run, so that
//! other work on the machine meets both.
//!
//! `cargo run --release -p concord-benches --example backup_cost`

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::time::{Duration, Instant};

use concord_benches::million::{Failure, KEYS, Meanwhile, Writers, load, median};
use concord_server::{Concord, Config, KeepBackups};

const ROUNDS: usize = 7;
const CALLERS: usize = 64;
/// A second: a busy node that is not at its end.
const PACE: f64 = 20_000.0;
/// Until the writers are at their pace, and the node has taken what snapshots it wanted.
const WARM_UP: Duration = Duration::from_secs(2);

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::Builder::new().prefix("concord-bench-").tempdir()?;
    // The node's own snapshots take as long as a backup, as often as callers write as fast as they can: whether one falls
    // into a backup, or beside it, would be most of the difference.
    let mut config = Config::at(directory.path());
    (config.snapshot.after_bytes, config.snapshot.after_entries) = (u64::MAX, u64::MAX);
    let db = Concord::open(config).await?;
    load(&db, KEYS).await?;
    let mut alone = Vec::new();
    for _ in 0..3 {
        alone.push(backup(&db).await?.as_secs_f64());
    }
    println!("alone: {:.2} s", median(alone));
    beside(&db, "at their pace", Some(PACE)).await?;
    beside(&db, "as fast as they can", None).await?;
    db.shutdown().await?;
    Ok(())
}

/// A backup whose every byte is checked behind it.
async fn backup(db: &Concord) -> Result<Duration, Failure> {
    let began = Instant::now();
    let made = db.backups().create().await?;
    let took = began.elapsed();
    assert_eq!(
        made.counts.get("keys"),
        Some(&u64::try_from(KEYS)?),
        "all keys are in it"
    );
    Ok(took)
}

async fn beside(db: &Concord, how: &str, pace: Option<f64>) -> Result<(), Failure> {
    let mut writers = Writers::start(db, KEYS, CALLERS, pace);
    let mut length = writers.watch(WARM_UP).await.took;
    let (mut took, mut ratios, mut without, mut with) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = writers.watch(length).await;
        length = backup(db).await?;
        let during = writers.look();
        let after = writers.watch(length).await;
        ratios.push(during.rate() / f64::midpoint(before.rate(), after.rate()));
        took.push(length.as_secs_f64());
        with.push(during);
        without.extend([before, after]);
    }
    writers.end().await?;
    let newest = db.backups().list().await?.pop().ok_or("there is a backup")?;
    db.backups().verify(&newest.name).await?;
    let keep = KeepBackups {
        count: Some(1),
        days: None,
    };
    db.backups().clean_up(keep, false).await?;
    println!(
        "beside {CALLERS} writers {how}: {:.2} s, slowest {:.2}; writes/s during it {:.3} of those around it",
        median(took.clone()),
        took.iter().copied().fold(0.0, f64::max),
        median(ratios),
    );
    describe("  around it", &without);
    describe("  during it", &with);
    Ok(())
}

/// Medians over the rounds.
fn describe(when: &str, all: &[Meanwhile]) {
    let of = |figure: fn(&Meanwhile) -> f64| median(all.iter().map(figure).collect());
    println!(
        "{when}: {:.0} writes/s, p50 {:.2} ms, p99 {:.2} ms, slowest {:.1} ms",
        of(Meanwhile::rate),
        of(|one| one.millis_at(50.0)),
        of(|one| one.millis_at(99.0)),
        of(|one| one.millis_at(100.0)),
    );
}
