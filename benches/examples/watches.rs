//! What watches cost and how fast they are, on one node in this process:
//!
//! - deliveries: 1,000 watchers of one key, which is written at a fixed pace. A delivery counts from when the write was
//!   called, from its first delivery, and from when it was acknowledged, both of which are after apply;
//! - idleness: writes to other keys, without watches and beside 10,000 of them; then nothing at all.
//!
//! `cargo run --release -p concord-benches --example watches`. Linux only.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use concord_server::{Concord, Config, Watcher};
use hdrhistogram::Histogram;
use tokio::sync::watch;

const WATCHERS: usize = 1_000;
const EVENTS: usize = 1_000;
const PACE: Duration = Duration::from_millis(10);
const IDLE: usize = 10_000;
const CALLERS: usize = 64;
const WRITES_EACH: usize = 1_500;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::Builder::new().prefix("concord-bench-").tempdir()?;
    let db = Concord::open(Config::at(directory.path())).await?;
    deliveries(&db).await?;
    idleness(&db).await?;
    db.shutdown().await?;
    Ok(())
}

async fn deliveries(db: &Concord) -> Result<(), Failure> {
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..WATCHERS {
        let watcher = db.watch().key("hot").await?;
        tasks.push(tokio::spawn(arrivals(watcher, began)));
    }
    let (mut called, mut acknowledged) = (Vec::new(), Vec::new());
    let mut pace = tokio::time::interval(PACE);
    for number in 0..EVENTS {
        pace.tick().await;
        called.push(began.elapsed());
        db.put("hot", number.to_string()).await?;
        acknowledged.push(began.elapsed());
    }
    let mut from_call = Histogram::<u64>::new(3)?;
    let mut from_first = Histogram::<u64>::new(3)?;
    let mut from_ack = Histogram::<u64>::new(3)?;
    let mut all = Vec::with_capacity(WATCHERS);
    for task in tasks {
        all.push(task.await??);
    }
    for (number, (called, acknowledged)) in called.iter().zip(&acknowledged).enumerate() {
        let arrivals: Vec<_> = all.iter().filter_map(|arrivals| arrivals.get(number)).collect();
        let first = arrivals.iter().min().ok_or("nobody watches")?;
        for arrived in &arrivals {
            from_call.record(micros(arrived.saturating_sub(*called)))?;
            from_first.record(micros(arrived.saturating_sub(**first)))?;
            from_ack.record(micros(arrived.saturating_sub(*acknowledged)))?;
        }
    }
    let sent = WATCHERS * EVENTS;
    assert_eq!(
        from_call.len(),
        u64::try_from(sent)?,
        "every event reaches every watcher"
    );
    for (name, histogram) in [
        ("the call", &from_call),
        ("the first delivery", &from_first),
        ("the acknowledgement", &from_ack),
    ] {
        println!(
            "{WATCHERS} watchers of one key, from {name}: p50 {} us, p99 {} us, p99.9 {} us, max {} us",
            histogram.value_at_quantile(0.5),
            histogram.value_at_quantile(0.99),
            histogram.value_at_quantile(0.999),
            histogram.max()
        );
    }
    Ok(())
}

/// When each event came. Fails if one is missing, doubled or out of order.
async fn arrivals(mut watcher: Watcher, began: Instant) -> Result<Vec<Duration>, Failure> {
    let mut arrivals = Vec::with_capacity(EVENTS);
    while arrivals.len() < EVENTS {
        let batch = watcher.next().await.ok_or("the watch ended")??;
        for event in &batch.events {
            let number = event.record.as_ref().and_then(|record| record.value.as_text());
            if number != Some(arrivals.len().to_string().as_str()) {
                return Err(format!("{number:?} came as number {}", arrivals.len()).into());
            }
            arrivals.push(began.elapsed());
        }
    }
    Ok(arrivals)
}

async fn idleness(db: &Concord) -> Result<(), Failure> {
    // In turns, because the machine may have other work at times.
    for _ in 0..3 {
        report("no watches", writes(db).await?);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        for number in 0..IDLE {
            let mut watcher = db.watch().key(format!("idle:{number:08}")).await?;
            let mut stopped = stopped.clone();
            tasks.push(tokio::spawn(async move {
                tokio::select! {
                    biased;
                    // The end of the measurement before whatever should not come.
                    _ = stopped.wait_for(|stop| *stop) => Ok(()),
                    item = watcher.next() => Err(format!("an idle watch was told of {item:?}")),
                }
            }));
        }
        report(&format!("{IDLE} idle watches"), writes(db).await?);
        let before = cpu_seconds()?;
        // tidy-allow(sleep): what a time without work costs is what is measured.
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!(
            "{IDLE} idle watches, no writes: {:.2} % of a core",
            (cpu_seconds()? - before) / 2.0 * 100.0
        );
        stop.send(true)?;
        for task in tasks {
            task.await??;
        }
    }
    Ok(())
}

struct Load {
    writes: f64,
    seconds: f64,
    cpu_seconds: f64,
}

fn report(name: &str, load: Load) {
    println!(
        "{name}: {:.0} writes/s, {:.2} us of processor a write",
        load.writes / load.seconds,
        load.cpu_seconds / load.writes * 1e6
    );
}

async fn writes(db: &Concord) -> Result<Load, Failure> {
    let (began, before) = (Instant::now(), cpu_seconds()?);
    let value = Arc::new(vec![7_u8; 100]);
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let (db, value) = (db.clone(), Arc::clone(&value));
        callers.push(tokio::spawn(async move {
            for number in 0..WRITES_EACH {
                db.put(format!("busy:{caller:04}:{number:08}"), value.as_slice())
                    .await?;
            }
            Ok::<_, concord_server::Error>(())
        }));
    }
    for caller in callers {
        caller.await??;
    }
    let count = u32::try_from(CALLERS * WRITES_EACH)?;
    Ok(Load {
        writes: f64::from(count),
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds()? - before,
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Processor time of this process.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks =
        |place: usize| -> Result<f64, Failure> { Ok(fields.get(place).ok_or("short stat")?.parse::<f64>()?) };
    // utime and stime, the 14th and 15th of all, in ticks of 10 ms.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
