//! What the audit log costs writes, and how fast it is checked. Three nodes in this process, fsync on, the same callers
//! in turns, so that other work on the machine meets all: two without an audit log, whose difference is what the machine
//! makes by itself, and one with. By the handle of whoever embeds the node, and over HTTP, where the callers share the
//! machine, too; with callers that leave something of it, and with four times as many. Linux only.
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

const ROUNDS: usize = 30;
/// How many callers there are at a time, and writes of each in a round: some tenths of a second.
const LOADS: [Load; 4] = [
    Load::new(Door::Handle, 64, 1_000),
    Load::new(Door::Handle, 256, 400),
    Load::new(Door::Http, 64, 300),
    Load::new(Door::Http, 256, 100),
];
const KEYS: usize = 100_000;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each node comes as often behind each other one.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How callers reach a node.
#[derive(Clone, Copy, Debug)]
enum Door {
    Handle,
    Http,
}

/// Writes, all at once from many callers.
#[derive(Clone, Copy, Debug)]
struct Load {
    door: Door,
    callers: usize,
    writes_each: usize,
}

impl Load {
    const fn new(door: Door, callers: usize, writes_each: usize) -> Self {
        Self {
            door,
            callers,
            writes_each,
        }
    }

    const fn writes(self) -> usize {
        self.callers * self.writes_each
    }
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
    let dirs = [tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?];
    let [plain, other, audited] = dirs
        .each_ref()
        .map(|dir| Config::at(dir.path()).http("127.0.0.1:0"));
    let plain = Concord::open(plain).await?;
    let other = Concord::open(other).await?;
    let audited = Concord::open(audited.audit(audit)).await?;
    let keys = Arc::new(KeySpace::new(KEYS, 100, 1));
    for load in LOADS {
        compare(load, &keys, [&plain, &other, &audited]).await?;
    }
    let status = audited.audit().status()?;
    println!(
        "lines: {}, bytes a line: {}, lost: {}",
        status.lines,
        status.bytes / status.lines.max(1),
        status.lost
    );
    for node in [plain, other, audited] {
        node.shutdown().await?;
    }
    let [_, _, dir] = dirs;
    verify(&dir.path().join("audit"))
}

/// Rounds in turns, of which the medians of the ratios count. The last node has an audit log.
async fn compare(load: Load, keys: &Arc<KeySpace>, nodes: [&Concord; 3]) -> Result<(), Failure> {
    let each = load.writes() as f64;
    let [plain, other, audited] = nodes;
    let mut nodes = [
        Node::new(plain, load).await?,
        Node::new(other, load).await?,
        Node::new(audited, load).await?,
    ];
    for node in &mut nodes {
        node.round(load, keys).await?;
    }
    let mut rounds = [Vec::new(), Vec::new(), Vec::new()];
    for order in ORDERS.iter().cycle().take(ROUNDS) {
        for &place in order {
            let lines = audited.audit().status()?.lines;
            let before = Used::now()?;
            let (Some(node), Some(rounds)) = (nodes.get_mut(place), rounds.get_mut(place)) else {
                return Err("three nodes".into());
            };
            let took = node.round(load, keys).await?;
            // What a round leaves to be written is its own.
            while place == 2 && audited.audit().status()?.lines < lines + load.writes() as u64 {
                // tidy-allow(sleep): looks at what a thread does, which announces nothing.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            rounds.push((took.as_secs_f64(), Used::now()?.since(&before)));
        }
    }
    let [plain, other, audited] = rounds;
    let middle = |all: &[(f64, Used)], of: fn(&(f64, Used)) -> f64| median(all.iter().map(of).collect());
    println!(
        "{:?}, {} callers: {:.0} and {:.0} writes/s without, {:.0} with an audit log",
        load.door,
        load.callers,
        each / middle(&plain, |(took, _)| *took),
        each / middle(&other, |(took, _)| *took),
        each / middle(&audited, |(took, _)| *took),
    );
    for (what, rounds) in [
        ("with, over without", &audited),
        ("without, over without", &other),
    ] {
        let [low, half, high] = ratios(rounds, &plain, |(took, _)| *took);
        let [_, used, _] = ratios(rounds, &plain, |(_, used)| used.all);
        println!(
            "  {what}: time of a round {half:.3} (median of {ROUNDS} pairs; half of them within {low:.3} and {high:.3}), processor {used:.3}"
        );
    }
    let nanos = |seconds: f64| seconds * 1e9 / each;
    println!(
        "  ns of processor a write: {:.0} and {:.0} without, {:.0} with an audit log, {:.0} of them by the thread that writes it",
        nanos(middle(&plain, |(_, used)| used.all)),
        nanos(middle(&other, |(_, used)| used.all)),
        nanos(middle(&audited, |(_, used)| used.all)),
        nanos(middle(&audited, |(_, used)| used.writer))
    );
    Ok(())
}

/// The quartiles of one over the other, round by round.
fn ratios(of: &[(f64, Used)], over: &[(f64, Used)], figure: fn(&(f64, Used)) -> f64) -> [f64; 3] {
    let pairs = of.iter().zip(over);
    let mut ratios: Vec<f64> = pairs.map(|(one, other)| figure(one) / figure(other)).collect();
    ratios.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| {
        ratios
            .get(ratios.len() * quarter / 4)
            .copied()
            .unwrap_or_default()
    })
}

/// Every line is there, and how long it takes to see that.
fn verify(dir: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let report = AuditDirectory::new(dir, &[]).verify(Vec::new(), false)?;
    let took = began.elapsed();
    assert!(report.intact, "{report:?}");
    assert_eq!(
        report.events + report.lost,
        ((ROUNDS + 1) * LOADS.map(Load::writes).iter().sum::<usize>()) as u64,
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
    async fn new(db: &Concord, load: Load) -> Result<Self, Failure> {
        let address = db.http_address().ok_or("it serves HTTP")?.to_string();
        let http = Http::new(vec![address], Consistency::Eventual);
        let mut sessions = Vec::with_capacity(load.callers);
        for caller in 0..load.callers {
            sessions.push(http.session(caller).await?);
        }
        Ok(Self {
            db: db.clone(),
            sessions,
        })
    }

    /// The same writes, all at once from many callers. Each is answered with its revision.
    async fn round(&mut self, load: Load, keys: &Arc<KeySpace>) -> Result<Duration, Failure> {
        let began = Instant::now();
        let callers: Vec<_> = self
            .sessions
            .drain(..)
            .enumerate()
            .map(|(caller, mut session)| {
                let (db, keys) = (self.db.clone(), Arc::clone(keys));
                tokio::spawn(async move {
                    let value = [7_u8; 100];
                    let first = caller * load.writes_each;
                    for number in (first..first + load.writes_each).map(|number| number % KEYS) {
                        match load.door {
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
