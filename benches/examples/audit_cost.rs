//! What the audit log costs writes, and how fast it is checked. Two nodes in this process, fsync on, the same callers
//! in turns, so that other work on the machine meets both: one without an audit log, one with.
//!
//! `cargo run --release -p concord-benches --example audit_cost [async|batch|strict]`

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::time::{Duration, Instant};

use concord_server::{AuditConfig, AuditDirectory, AuditSync, Concord, Config};

const ROUNDS: usize = 15;
const CALLERS: usize = 256;
const WRITES_A_CALLER: usize = 100;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut audit = AuditConfig::new();
    audit.sync = match std::env::args().nth(1).as_deref() {
        None | Some("async") => AuditSync::Async,
        Some("batch") => AuditSync::Batch,
        Some("strict") => AuditSync::Strict,
        Some(other) => return Err(format!("no such mode: {other}").into()),
    };
    let dirs = (tempfile::tempdir()?, tempfile::tempdir()?);
    let plain = Concord::open(Config::at(dirs.0.path())).await?;
    let audited = Concord::open(Config::at(dirs.1.path()).audit(audit)).await?;
    round(&plain).await?;
    round(&audited).await?;
    let mut ratios = Vec::new();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        // Neither always has the other's writes behind it.
        let (one, other) = if number % 2 == 0 {
            let one = round(&plain).await?;
            (one, round(&audited).await?)
        } else {
            let other = round(&audited).await?;
            (round(&plain).await?, other)
        };
        ratios.push(other.as_secs_f64() / one.as_secs_f64());
        without.push(one);
        with.push(other);
    }
    ratios.sort_by(f64::total_cmp);
    let middle = ratios.get(ROUNDS / 2).copied().unwrap_or_default();
    let rate = |mut times: Vec<Duration>| {
        times.sort();
        let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
        (CALLERS * WRITES_A_CALLER) as f64 / median.as_secs_f64()
    };
    println!(
        "writes/s of {CALLERS} callers: {:.0} without, {:.0} with an audit log",
        rate(without),
        rate(with)
    );
    println!("time of a round with, over without: {middle:.3} (median of {ROUNDS} pairs)");
    let status = audited.audit().status()?;
    println!(
        "lines: {}, bytes a line: {}, lost: {}",
        status.lines,
        status.bytes / status.lines.max(1),
        status.lost
    );
    plain.shutdown().await?;
    audited.shutdown().await?;
    let began = Instant::now();
    let report = AuditDirectory::new(dirs.1.path().join("audit"), &[]).verify(Vec::new(), false)?;
    let took = began.elapsed();
    assert!(report.intact, "{report:?}");
    assert_eq!(
        report.events + report.lost,
        ((ROUNDS + 1) * CALLERS * WRITES_A_CALLER) as u64,
        "every write left a line"
    );
    println!(
        "verify: {:.0} lines/s, 10 million in {:.1} s",
        report.lines as f64 / took.as_secs_f64(),
        took.as_secs_f64() * 1e7 / report.lines as f64
    );
    Ok(())
}

/// The same writes, all at once from many callers.
async fn round(db: &Concord) -> Result<Duration, Failure> {
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let db = db.clone();
            tokio::spawn(async move {
                let value = [7_u8; 100];
                for write in 0..WRITES_A_CALLER {
                    db.put(format!("caller:{caller:04}:{write:04}"), value.as_slice())
                        .await?;
                }
                Ok::<_, concord_server::Error>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(began.elapsed())
}
