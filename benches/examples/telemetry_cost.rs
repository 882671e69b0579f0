//! What watching a node costs it: metrics that are scraped every second, and one request in a hundred traced. Two nodes in
//! this process, fsync on, the same callers in turns, so that other work on the machine meets both: one that nobody
//! watches, one that is.
//!
//! `cargo run --release -p concord-benches --example telemetry_cost`

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use concord_benches::load::cpu_seconds;
use concord_benches::million::{Failure, key, load, median, value};
use concord_benches::random::Random;
use concord_server::{Concord, Config, SpanSink, TraceExporter, TracesConfig};

const ROUNDS: usize = 31;
const KEYS: usize = 100_000;
const CALLERS: usize = 256;
const WRITES_A_CALLER: usize = 150;
const READS_A_CALLER: usize = 2_000;
const TENANTS: usize = 10_000;
const SCRAPED_EVERY: Duration = Duration::from_secs(1);

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy)]
enum Work {
    Writes,
    Reads,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let spans = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&spans);
    let sink = SpanSink::new(move |all| {
        counted.fetch_add(u64::try_from(all.len()).unwrap_or_default(), Ordering::Relaxed);
    });
    let dirs = (tempfile::tempdir()?, tempfile::tempdir()?);
    let plain = Concord::open(Config::at(dirs.0.path())).await?;
    let traces = TracesConfig::new(TraceExporter::Sink(sink)).sample(0.01);
    let config = Config::at(dirs.1.path()).metrics("127.0.0.1:0").traces(traces);
    let watched = Concord::open(config).await?;
    for db in [&plain, &watched] {
        load(db, KEYS).await?;
    }
    let ends = Arc::new(AtomicBool::new(false));
    let address = watched.metrics_address().ok_or("it serves metrics")?;
    let stops = Arc::clone(&ends);
    let scraper = std::thread::spawn(move || scrape(address, &stops));
    for (what, work) in [("writes", Work::Writes), ("eventual reads", Work::Reads)] {
        compare(what, work, &plain, &watched).await?;
    }
    ends.store(true, Ordering::Relaxed);
    let scrapes = scraper.join().map_err(|_| "the scraper panicked")??;
    tenants(&watched, address).await?;
    plain.shutdown().await?;
    watched.shutdown().await?;
    let spans = spans.load(Ordering::Relaxed);
    assert!(spans > 0, "some requests were traced");
    println!("{scrapes} scrapes, {spans} spans");
    Ok(())
}

/// How long a scrape takes of a node with many tenants: the first looks through them, the next may show what that found.
async fn tenants(db: &Concord, address: SocketAddr) -> Result<(), Failure> {
    let one = |number: usize| {
        let db = db.clone();
        async move {
            let name = format!("tenant-{number:05}");
            db.tenants().create(&name).await?;
            db.put(format!("{name}:key"), value(number)).await?;
            Ok::<_, Failure>(())
        }
    };
    for number in 0..TENANTS {
        one(number).await?;
    }
    let (mut first, mut next) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        // tidy-allow(sleep): what was found is forgotten by then.
        tokio::time::sleep(Duration::from_secs(5)).await;
        for times in [&mut first, &mut next] {
            let began = Instant::now();
            tokio::task::spawn_blocking(move || scrape_once(address)).await??;
            times.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    println!(
        "a scrape with {TENANTS} tenants: {:.1} ms, and {:.1} ms behind it",
        median(first),
        median(next)
    );
    Ok(())
}

/// Pairs of rounds, of which the medians of the ratios count.
async fn compare(what: &str, work: Work, plain: &Concord, watched: &Concord) -> Result<(), Failure> {
    let (mut times, mut used) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        // Neither always has the other's work behind it.
        let (one, other) = if number % 2 == 0 {
            let one = round(plain, work).await?;
            (one, round(watched, work).await?)
        } else {
            let other = round(watched, work).await?;
            (round(plain, work).await?, other)
        };
        times.push(other.0 / one.0);
        used.push(other.1 / one.1);
    }
    println!(
        "{what}: time of a round {:.3}, processor {:.3} of those without (medians of {ROUNDS} pairs)",
        median(times),
        median(used)
    );
    Ok(())
}

/// Seconds that the callers took, and seconds of processor.
async fn round(db: &Concord, work: Work) -> Result<(f64, f64), Failure> {
    let (began, used) = (Instant::now(), cpu_seconds().ok_or("no processor time")?);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let db = db.clone();
            tokio::spawn(async move { calls(&db, caller, work).await })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let used = cpu_seconds().ok_or("no processor time")? - used;
    Ok((began.elapsed().as_secs_f64(), used))
}

async fn calls(db: &Concord, caller: usize, work: Work) -> Result<(), Failure> {
    let mut random = Random::new(u64::try_from(caller)?);
    match work {
        Work::Writes => {
            for _ in 0..WRITES_A_CALLER {
                let number = random.below(KEYS);
                db.put(key(number), value(number)).await?;
            }
        }
        Work::Reads => {
            for _ in 0..READS_A_CALLER {
                let found = db.get(key(random.below(KEYS))).eventual().await?;
                assert!(found.is_some(), "the key was written");
            }
        }
    }
    Ok(())
}

fn scrape_once(address: SocketAddr) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    assert!(text.contains("concord_write_seconds_count"), "{text}");
    Ok(())
}

/// Scrapes until it is told to end; gives how often.
fn scrape(address: SocketAddr, ends: &AtomicBool) -> Result<u64, Failure> {
    let mut count = 0;
    while !ends.load(Ordering::Relaxed) {
        scrape_once(address)?;
        count += 1;
        // tidy-allow(sleep): a scrape comes at intervals.
        std::thread::sleep(SCRAPED_EVERY);
    }
    Ok(count)
}
