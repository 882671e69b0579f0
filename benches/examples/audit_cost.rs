//! What the audit log costs writes, and how fast it is checked. Two nodes in this process, fsync on, the same callers
//! in turns, so that other work on the machine meets both: one without an audit log, one with. Once by the handle of
//! whoever embeds the node, and once over HTTP, where the callers share the machine, too. Linux only.
//!
//! `cargo run --release -p concord-benches --example audit_cost [async|batch|strict]`

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use concord_benches::load::Consistency;
use concord_benches::load::KeySpace;
use concord_benches::load::driver::{Driver as _, Session as _};
use concord_benches::load::http::{Http, HttpSession};
use concord_server::{AuditConfig, AuditDirectory, AuditSync, Concord, Config};

const ROUNDS: usize = 31;
const CALLERS: usize = 256;
/// How many writes a caller makes in a round, of both kinds for some tenths of a second.
const WRITES: [(Door, usize); 2] = [(Door::Handle, 100), (Door::Http, 40)];

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How callers reach a node.
#[derive(Clone, Copy, Debug)]
enum Door {
    Handle,
    Http,
}

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
    let config = |dir: &Path| Config::at(dir).http("127.0.0.1:0");
    let plain = Concord::open(config(dirs.0.path())).await?;
    let audited = Concord::open(config(dirs.1.path()).audit(audit)).await?;
    let keys = Arc::new(KeySpace::new(CALLERS * 100, 100, 1));
    for (door, writes) in WRITES {
        compare(door, writes, &keys, &plain, &audited).await?;
    }
    let status = audited.audit().status()?;
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

/// Pairs of rounds, of which the medians of the ratios count.
async fn compare(
    door: Door,
    writes: usize,
    keys: &Arc<KeySpace>,
    plain: &Concord,
    audited: &Concord,
) -> Result<(), Failure> {
    let each = (CALLERS * writes) as f64;
    let (mut plain, mut recorded) = (Node::new(plain).await?, Node::new(audited).await?);
    for node in [&mut plain, &mut recorded] {
        node.round(door, writes, keys).await?;
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        // Neither always has the other's writes behind it.
        for is_audited in [number % 2 == 0, number % 2 != 0] {
            let lines = audited.audit().status()?.lines;
            let before = Used::now()?;
            let node = if is_audited { &mut recorded } else { &mut plain };
            let took = node.round(door, writes, keys).await?;
            // What a round leaves to be written is its own.
            while is_audited && audited.audit().status()?.lines < lines + (CALLERS * writes) as u64 {
                // tidy-allow(sleep): looks at what a thread does, which announces nothing.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let used = Used::now()?.since(&before);
            let all = if is_audited { &mut with } else { &mut without };
            all.push((took.as_secs_f64(), used));
        }
    }
    let ratios = |of: fn(&(f64, Used)) -> f64| {
        let pairs = with.iter().zip(&without);
        let mut ratios: Vec<f64> = pairs.map(|(with, without)| of(with) / of(without)).collect();
        ratios.sort_by(f64::total_cmp);
        [1, 2, 3].map(|quarter| ratios.get(ROUNDS * quarter / 4).copied().unwrap_or_default())
    };
    let middle = |all: &[(f64, Used)], of: fn(&(f64, Used)) -> f64| median(all.iter().map(of).collect());
    let [low, half, high] = ratios(|(took, _)| *took);
    println!(
        "{door:?}, {CALLERS} callers: {:.0} writes/s without, {:.0} with an audit log; time of a round with, over without: \
         {half:.3} (median of {ROUNDS} pairs; half of them within {low:.3} and {high:.3})",
        each / middle(&without, |(took, _)| *took),
        each / middle(&with, |(took, _)| *took),
    );
    let [_, half, _] = ratios(|(_, used)| used.all);
    let nanos = |seconds: f64| seconds * 1e9 / each;
    let used = nanos(middle(&without, |(_, used)| used.all));
    println!(
        "  ns of processor a write: {used:.0} without, {:+.0} with an audit log, {:.0} of them by the thread that writes it; ratio {half:.3}",
        nanos(middle(&with, |(_, used)| used.all)) - used,
        nanos(middle(&with, |(_, used)| used.writer))
    );
    Ok(())
}

/// Every line is there, and how long it takes to see that.
fn verify(dir: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let report = AuditDirectory::new(dir, &[]).verify(Vec::new(), false)?;
    let took = began.elapsed();
    assert!(report.intact, "{report:?}");
    assert_eq!(
        report.events + report.lost,
        ((ROUNDS + 1) * CALLERS * WRITES.map(|(_, writes)| writes).iter().sum::<usize>()) as u64,
        "every write left a line"
    );
    println!(
        "verify: {:.0} lines/s, 10 million in {:.1} s",
        report.lines as f64 / took.as_secs_f64(),
        took.as_secs_f64() * 1e7 / report.lines as f64
    );
    Ok(())
}

/// A node, and connections to it that last.
struct Node {
    db: Concord,
    sessions: Vec<HttpSession>,
}

impl Node {
    async fn new(db: &Concord) -> Result<Self, Failure> {
        let address = db.http_address().ok_or("it serves HTTP")?.to_string();
        let http = Http::new(vec![address], Consistency::Eventual);
        let mut sessions = Vec::with_capacity(CALLERS);
        for caller in 0..CALLERS {
            sessions.push(http.session(caller).await?);
        }
        Ok(Self {
            db: db.clone(),
            sessions,
        })
    }

    /// The same writes, all at once from many callers. Each is answered with its revision.
    async fn round(&mut self, door: Door, writes: usize, keys: &Arc<KeySpace>) -> Result<Duration, Failure> {
        let began = Instant::now();
        let callers: Vec<_> = self
            .sessions
            .drain(..)
            .enumerate()
            .map(|(caller, mut session)| {
                let (db, keys) = (self.db.clone(), Arc::clone(keys));
                tokio::spawn(async move {
                    let value = [7_u8; 100];
                    for number in (caller * writes)..(caller + 1) * writes {
                        match door {
                            Door::Handle => {
                                db.put(keys.key(number), value.as_slice()).await?;
                            }
                            Door::Http => session.put(&keys, number, &value).await?,
                        }
                    }
                    Ok::<_, Failure>(session)
                })
            })
            .collect();
        for caller in callers {
            self.sessions.push(caller.await??);
        }
        Ok(began.elapsed())
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Seconds of processor that the threads of this process have used.
#[derive(Clone, Copy, Debug, Default)]
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
