//! How long a node with a million keys takes until it is ready again after `kill -9`, in a process of its own, under load
//! when it is killed. Each time it has another length of log behind its snapshot.
//!
//! `cargo run --release -p concord-benches --example start_cost`. Linux only.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use concord_benches::million::{Failure, KEYS, Writers, load, median};
use concord_server::{Concord, Config};

const ROUNDS: u64 = 9;
const CALLERS: usize = 64;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("node"), Some(data)) => node(&data),
        _ => measure(),
    }
}

/// The node: serves until it is killed, and writes once it is told to.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn node(data: &str) -> Result<(), Failure> {
    let db = Concord::open(Config::at(data).http("127.0.0.1:0")).await?;
    println!("{}", db.http_address().ok_or("it serves HTTP")?);
    let mut order = String::new();
    std::io::stdin().read_line(&mut order)?;
    if db.statistics()?.usage.keys == 0 {
        load(&db, KEYS).await?;
    }
    assert_eq!(
        db.statistics()?.usage.keys,
        u64::try_from(KEYS)?,
        "nothing is lost"
    );
    println!("loaded");
    let writers = Writers::start(&db, KEYS, CALLERS, None);
    std::future::pending::<()>().await;
    writers.end().await
}

fn measure() -> Result<(), Failure> {
    let directory = tempfile::Builder::new().prefix("concord-bench-").tempdir()?;
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let (mut child, took) = start(directory.path())?;
        if round > 0 {
            times.push(took.as_secs_f64());
            println!(
                "ready after {took:.2?}, {} MB of log",
                log_bytes(directory.path())? / 1_000_000
            );
        }
        let mut lines = BufReader::new(child.stdout.take().ok_or("it has an output")?).lines();
        child.stdin.take().ok_or("it has an input")?.write_all(b"go\n")?;
        assert_eq!(lines.next().transpose()?.as_deref(), Some("loaded"));
        // tidy-allow(sleep): some more log each time, across a few snapshots.
        std::thread::sleep(Duration::from_millis(700 + 450 * round));
        child.kill()?;
        child.wait()?;
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    println!("median {:.2} s, slowest {slowest:.2} s", median(times));
    Ok(())
}

/// Starts the node, and gives how long it took until it was ready.
fn start(data: &Path) -> Result<(Child, Duration), Failure> {
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("node")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = BufReader::with_capacity(1, child.stdout.take().ok_or("it has an output")?);
    let mut address = String::new();
    output.read_line(&mut address)?;
    while !is_ready(address.trim())? {
        // tidy-allow(sleep): a probe asks again and again.
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    child.stdout = Some(output.into_inner());
    Ok((child, took))
}

fn is_ready(address: &str) -> Result<bool, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    Ok(status.contains(" 200 "))
}

fn log_bytes(data: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for file in std::fs::read_dir(data.join("log"))? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}
