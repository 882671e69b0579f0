//! What the audit log costs writes, and how fast it is checked. Two nodes in this process, fsync on, the same callers
//! in turns, so that other work on the machine meets both: one without an audit log, one with. Linux only.
//!
//! `cargo run --release -p concord-benches --example audit_cost [async|batch|strict]`

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::path::Path;
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
    let (mut used_without, mut used_with, mut used_by_writer) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        // Neither always has the other's writes behind it.
        for is_audited in [number % 2 == 0, number % 2 != 0] {
            let (before, lines) = (Used::now()?, audited.audit().status()?.lines);
            let took = round(if is_audited { &audited } else { &plain }).await?;
            // What a round leaves to be written is its own.
            while is_audited && audited.audit().status()?.lines < lines + (CALLERS * WRITES_A_CALLER) as u64 {
                // tidy-allow(sleep): looks at what a thread does, which announces nothing.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let used = Used::now()?.since(&before);
            if is_audited {
                with.push(took);
                used_with.push(used.all);
                used_by_writer.push(used.writer);
            } else {
                without.push(took);
                used_without.push(used.all);
            }
        }
        if let (Some(one), Some(other)) = (without.last(), with.last()) {
            ratios.push(other.as_secs_f64() / one.as_secs_f64());
        }
    }
    let middle = median(ratios);
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
    let nanos = |seconds: Vec<f64>| median(seconds) * 1e9 / (CALLERS * WRITES_A_CALLER) as f64;
    let (used_without, used_with) = (nanos(used_without), nanos(used_with));
    println!(
        "ns of processor a write: {used_without:.0} without, {:+.0} with an audit log, {:.0} of them by the thread that writes it",
        used_with - used_without,
        nanos(used_by_writer)
    );
    println!(
        "lines: {}, bytes a line: {}, lost: {}",
        status.lines,
        status.bytes / status.lines.max(1),
        status.lost
    );
    plain.shutdown().await?;
    audited.shutdown().await?;
    verify(&dirs.1.path().join("audit"))
}

/// Every line is there, and how long it takes to see that.
fn verify(dir: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let report = AuditDirectory::new(dir, &[]).verify(Vec::new(), false)?;
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

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Seconds of processor that the threads of this process have used.
#[derive(Clone, Copy, Default)]
struct Used {
    all: f64,
    /// The one that writes the audit log.
    writer: f64,
}

impl Used {
    /// From `/proc/self/task/*/schedstat`, to the nanosecond. Linux only.
    fn now() -> Result<Self, Failure> {
        let mut used = Self::default();
        for task in std::fs::read_dir("/proc/self/task")? {
            let path = task?.path();
            // Threads for what blocks come and go.
            let Ok(stat) = std::fs::read_to_string(path.join("schedstat")) else {
                continue;
            };
            let nanos = stat.split(' ').next().unwrap_or_default().parse::<f64>()?;
            used.all += nanos / 1e9;
            if std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == "concord-audit")
            {
                used.writer += nanos / 1e9;
            }
        }
        Ok(used)
    }

    fn since(self, before: &Self) -> Self {
        Self {
            all: self.all - before.all,
            writer: self.writer - before.writer,
        }
    }
}
